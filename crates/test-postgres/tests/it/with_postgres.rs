use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};
use testkit::{eventually, server};

use crate::{LIMIT, is_empty, temporary_directory};

fn with_postgres(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    command
        .env("TMPDIR", directory)
        .env_remove(server::VARIABLE)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

#[tokio::test]
async fn the_command_finds_a_server_and_its_exit_code_is_handed_on() {
    let directory = temporary_directory();
    let output = with_postgres(directory.path())
        .args(["sh", "-c", "echo $BELAY_TEST_POSTGRES; exit 7"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("postgres://postgres:") && said.contains("@127.0.0.1:"),
        "{said}"
    );
    assert!(
        is_empty(directory.path()),
        "the server's files are removed before the wrapper ends"
    );
}

#[tokio::test]
async fn a_server_that_was_given_is_used() {
    let directory = temporary_directory();
    let output = with_postgres(directory.path())
        .env(server::VARIABLE, "postgres://given")
        .args(["sh", "-c", "echo $BELAY_TEST_POSTGRES"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "postgres://given\n");
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_said_and_leaves_nothing() {
    let directory = temporary_directory();
    let output = with_postgres(directory.path())
        .arg("/no/such/program")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(is_empty(directory.path()));
}

#[tokio::test]
async fn an_interrupt_ends_the_command_and_the_server() {
    let (status, directory) = signalled(Signal::SIGINT).await;
    assert_eq!(status, Some(130));
    assert!(is_empty(directory.path()));
}

#[tokio::test]
async fn a_termination_ends_the_command_and_the_server() {
    let (status, directory) = signalled(Signal::SIGTERM).await;
    assert_eq!(status, Some(143));
    assert!(is_empty(directory.path()));
}

#[tokio::test]
async fn a_killed_wrapper_leaves_no_server() {
    let (status, directory) = signalled(Signal::SIGKILL).await;
    assert_eq!(status, None);
    eventually("the server and its files are gone", LIMIT, async || {
        is_empty(directory.path()).then_some(())
    })
    .await;
}

/// Signals the wrapper while its command runs, and gives its exit code and its directory for temporary files.
async fn signalled(signal: Signal) -> (Option<i32>, tempfile::TempDir) {
    let directory = temporary_directory();
    // `cat` ends with this test's end of the pipe, even when nobody else ends it.
    let mut wrapper: Child = with_postgres(directory.path())
        .stdin(Stdio::piped())
        .args(["sh", "-c", "echo $BELAY_TEST_POSTGRES; exec cat"])
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(wrapper.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let url = format!("{}/postgres", url.trim());
    PgConnection::connect(&url).await.unwrap().close().await.unwrap();
    let stdin = wrapper.stdin.take();
    kill(Pid::from_raw(wrapper.id().try_into().unwrap()), signal).unwrap();
    let status = tokio::task::spawn_blocking(move || wrapper.wait().unwrap())
        .await
        .unwrap();
    drop(stdin);
    eventually("the server is gone", LIMIT, async || {
        PgConnection::connect(&url).await.err()
    })
    .await;
    (status.code(), directory)
}
