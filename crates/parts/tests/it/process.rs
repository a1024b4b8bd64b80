//! No part outlives the process that started it.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use testkit::eventually;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `with-parts mail` with a command that writes its environment to a file and then waits.
fn started(directory: &tempfile::TempDir) -> (std::process::Child, PathBuf) {
    let told = directory.path().join("told");
    let script = format!(
        "echo \"$BELAY_PART_MAIL\" > {0}.partial && mv {0}.partial {0} && exec sleep 600",
        told.display()
    );
    let child = Command::new(env!("CARGO_BIN_EXE_with-parts"))
        .args(["mail", "--", "sh", "-c", &script])
        .env("TMPDIR", directory.path())
        .env_remove("BELAY_PART_LOGS")
        .stdout(Stdio::null())
        .spawn()
        .expect("the program can be run");
    (child, told)
}

async fn address(told: &PathBuf) -> String {
    let url = eventually("the command is told an address", LIMIT, async || {
        std::fs::read_to_string(told).ok()
    })
    .await;
    url.trim().trim_start_matches("http://").to_owned()
}

async fn is_gone(address: &str, directory: &tempfile::TempDir) {
    eventually("the part is gone", LIMIT, async || {
        tokio::net::TcpStream::connect(address).await.err()
    })
    .await;
    eventually("its directory is gone", LIMIT, async || {
        let mut entries = std::fs::read_dir(directory.path()).unwrap();
        let left = entries.any(|entry| {
            let name = entry.unwrap().file_name();
            name.to_string_lossy().starts_with("belay-mail-")
        });
        (!left).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "starts a real part: make test-real"]
async fn no_part_is_left_when_its_parent_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, told) = started(&directory);
    let address = address(&told).await;
    assert!(tokio::net::TcpStream::connect(&address).await.is_ok());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    is_gone(&address, &directory).await;
}

#[tokio::test]
#[ignore = "starts a real part: make test-real"]
async fn no_part_is_left_after_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, told) = started(&directory);
    let address = address(&told).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    is_gone(&address, &directory).await;
}

#[test]
fn a_part_that_nobody_knows_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_with-parts"))
        .args(["teapot", "--", "true"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        said.trim(),
        "with-parts: there is no part teapot: kafka, registry, keycloak, mail"
    );
}
