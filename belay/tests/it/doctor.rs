//! Goal: what is missing is told with what to do, and nothing else fails the examination.
//! Method: the program itself with a poorer environment than this machine's.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use crate::commands::stdout;

fn doctor(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belay"));
    command
        .args(["doctor", "--data", data.to_str().unwrap()])
        .env_remove("BELAY_DATA");
    command
}

/// The words about a part, when it stands like this.
fn row(output: &Output, part: &str, standing: &str) -> String {
    let table = stdout(output);
    let row = table
        .lines()
        .find(|line| line.starts_with(part))
        .unwrap_or_else(|| panic!("no {part} in {table}"));
    assert!(row[part.len()..].trim_start().starts_with(standing), "{row}");
    row.to_owned()
}

#[test]
fn a_machine_that_builds_this_lacks_nothing() {
    let data = tempfile::tempdir().unwrap();
    let output = doctor(data.path())
        .args(["--http", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stdout(&output));
    row(&output, "PostgreSQL", "ok");
    row(&output, "data directory", "ok");
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let output = doctor(data.path())
        .args(["--http", "127.0.0.1:0"])
        .env("PATH", empty.path())
        .env("BELAY_POSTGRES_BIN", empty.path())
        .env_remove("CARGO")
        .env_remove("CC")
        .env_remove("CXX")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(row(&output, "PostgreSQL", "missing").contains("BELAY_POSTGRES_BIN"));
    assert!(row(&output, "C compiler", "missing").contains("build-essential"));
    assert!(row(&output, "make", "missing").contains("build-essential"));
    row(&output, "Java", "optional");
    row(&output, "Chromium", "optional");
}

#[test]
fn a_port_in_use_is_told() {
    let data = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = doctor(data.path()).args(["--http", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(row(&output, "address", "missing").contains("taken by another program"));
}

#[test]
fn a_data_directory_that_cannot_be_used_is_told() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = doctor(&file).args(["--http", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    row(&output, "data directory", "missing");

    std::fs::write(temporary.path().join("belay.json"), r#"{"format":999}"#).unwrap();
    let output = doctor(temporary.path())
        .args(["--http", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(row(&output, "data directory", "missing").contains("newer version"));
}
