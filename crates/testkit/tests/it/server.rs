use std::process::{Command, Stdio};

use sqlx::Connection;
use sqlx::PgConnection;
use testkit::{eventually, server};

use crate::{LIMIT, is_empty, temporary_directory};

#[tokio::test]
async fn a_test_program_that_is_started_alone_leaves_nothing_behind() {
    let directory = temporary_directory();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "server::a_server_of_this_program_answers",
            "--ignored",
            "--nocapture",
        ])
        .env("TMPDIR", directory.path())
        .env_remove(server::VARIABLE)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    eventually("the child's server and its files are gone", LIMIT, async || {
        is_empty(directory.path()).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "run by the test above, in a process without the variable"]
async fn a_server_of_this_program_answers() {
    assert!(std::env::var_os(server::VARIABLE).is_none());
    let url = format!("{}/postgres", server::url().await);
    PgConnection::connect(&url).await.unwrap().ping().await.unwrap();
    assert!(!is_empty(&std::env::temp_dir()));
}
