//! Goal: every command says clearly what is in its way, and leaves standard output to results.
//! Method: the program itself, on directories as they may be found.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::databases::{Databases, plant};

/// Runs the program.
pub fn belay<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_belay"))
        .args(arguments)
        .env_remove("BELAY_DATA")
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The commands that need a running system, with the exit code of "could not".
fn commands(data: &Path) -> Vec<(Vec<String>, i32)> {
    let with = |line: &str| {
        let mut arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        arguments.extend(["--data".to_owned(), data.to_str().unwrap().to_owned()]);
        arguments
    };
    vec![
        (with("audit"), 2),
        (with("load --in-flight 1 --duration 1"), 1),
        (with("token --role customer --subject alice"), 1),
    ]
}

fn expect_refusal(data: &Path, words: &str) {
    for (arguments, code) in commands(data) {
        let output = belay(&arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(words),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_directory_on_which_nothing_runs_is_told() {
    let data = tempfile::tempdir().unwrap();
    expect_refusal(&data.path().join("nowhere"), "no system is running on");
    expect_refusal(data.path(), "belay up --data");
}

#[test]
fn a_system_that_is_gone_is_told() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("belay.json"), r#"{"format":1}"#).unwrap();
    // The process exists, but is another one: ids are used again.
    let pid = std::process::id();
    let system = format!(
        r#"{{"pid":{pid},"http":"http://127.0.0.1:1","databases":{{}},"kafka":"","registry":"","issuer":"","audience":"","services":{{}}}}"#
    );
    fs::write(data.path().join("running.json"), system).unwrap();
    expect_refusal(data.path(), "no system is running on");
}

#[test]
fn a_directory_of_a_newer_version_is_told() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("belay.json"), r#"{"format":999}"#).unwrap();
    expect_refusal(data.path(), "was made by a newer version of belay");
}

#[test]
fn a_damaged_directory_is_told() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("belay.json"), "no JSON").unwrap();
    expect_refusal(data.path(), "is damaged");
    fs::write(data.path().join("belay.json"), r#"{"format":1}"#).unwrap();
    fs::write(data.path().join("running.json"), r#"{"pid":"x"}"#).unwrap();
    expect_refusal(data.path(), "is damaged");
}

#[test]
fn an_argument_that_makes_no_sense_is_told() {
    for line in [
        "load --duration 1",
        "load --in-flight 0 --duration 1",
        "load --in-flight 1 --rate 1 --duration 1",
        "load --rate 1 --duration 1 --refuse-share 101",
        "audit --database-url nothing=postgres://x",
        "token --role king --subject alice",
        "token --role customer --subject alice --lifetime-seconds 0",
    ] {
        let output = belay(line.split_whitespace());
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(stderr(&output).contains("error: "), "{line}: {}", stderr(&output));
    }
}

fn audit_line(databases: &Databases) -> Vec<String> {
    let urls = databases.urls();
    let given = urls
        .iter()
        .flat_map(|(service, url)| ["--database-url".to_owned(), format!("{service}={url}")]);
    std::iter::once("audit".to_owned()).chain(given).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_of_given_databases_needs_no_running_system() {
    let databases = Databases::create().await;
    databases.completed().await;
    let mut line = audit_line(&databases);
    let output = belay(&line);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(
        stdout(&output).contains("clean: every invariant holds"),
        "{}",
        stdout(&output)
    );

    plant(&databases.payments(), "delete from payment").await;
    line.push("--json".to_owned());
    let output = belay(&line);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["clean"], false);
    assert_eq!(report["invariants"][4]["id"], "I5");
    assert_eq!(report["invariants"][4]["violations"], 1);
}
