use std::{
    env, fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
    time::Duration,
};

use embedded::postgres::{Postgres, PostgresError, PostgresOptions, find_installation};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, Uid, getpgid},
};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{LIMIT, eventually, options, passable_directory, start_postgres};

/// Tells the child of the kill test where to hold a server.
const HOLD_VARIABLE: &str = "BELAY_TEST_HOLD_POSTGRES";

#[tokio::test]
async fn data_survives_a_stop_and_a_start() {
    let directory = passable_directory();
    let postgres = start_postgres(&directory).await;
    execute(&postgres, "create table kept as select 42 as answer").await;
    let pid = server_pid(&directory);
    postgres.stop().await;
    assert!(is_gone(pid), "stop returns when the server is gone");

    let postgres = start_postgres(&directory).await;
    assert_eq!(number(&postgres, "select answer from kept").await, 42);
    postgres.stop().await;
}

#[tokio::test]
async fn a_dropped_server_gives_way_to_the_next() {
    let directory = passable_directory();
    let postgres = start_postgres(&directory).await;
    execute(&postgres, "create table kept as select 42 as answer").await;
    let pid = server_pid(&directory);
    drop(postgres);

    let postgres = start_postgres(&directory).await;
    assert!(is_gone(pid));
    assert_eq!(number(&postgres, "select answer from kept").await, 42);
    postgres.stop().await;
}

#[tokio::test]
async fn no_server_is_left_when_its_parent_is_killed() {
    let directory = passable_directory();
    let mut parent = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "postgres::holds_a_server_until_it_is_killed",
            "--ignored",
        ])
        .env(HOLD_VARIABLE, directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ready = directory.path().join("ready");
    eventually("the parent holds a server", async || {
        assert!(parent.try_wait().unwrap().is_none(), "the parent ended");
        ready.exists()
    })
    .await;
    let pid = server_pid(&directory);
    let group = getpgid(Some(pid)).unwrap();
    assert_ne!(
        group,
        Pid::from_raw(parent.id().try_into().unwrap()),
        "a Ctrl-C must not reach the server"
    );

    parent.kill().unwrap();
    parent.wait().unwrap();

    eventually("the server and its guard are gone", async || {
        is_gone(pid) && killpg(group, None) == Err(Errno::ESRCH)
    })
    .await;
    // What was committed is there, and nothing has to be cleaned up first.
    let postgres = start_postgres(&directory).await;
    assert_eq!(number(&postgres, "select answer from kept").await, 42);
    postgres.stop().await;
}

#[tokio::test]
#[ignore = "the parent that `no_server_is_left_when_its_parent_is_killed` starts and kills"]
async fn holds_a_server_until_it_is_killed() {
    let Some(directory) = env::var_os(HOLD_VARIABLE).map(PathBuf::from) else {
        return;
    };
    let options = PostgresOptions {
        fsync: false,
        ..PostgresOptions::new(directory.join("postgres"))
    };
    let postgres = Postgres::start(options).await.unwrap();
    execute(&postgres, "create table kept as select 42 as answer").await;
    fs::write(directory.join("ready"), "").unwrap();
    std::future::pending().await
}

/// A server does not listen to signals in its first milliseconds.
#[tokio::test]
async fn a_start_that_is_given_up_at_any_moment_leaves_no_server() {
    let directory = passable_directory();
    start_postgres(&directory).await.stop().await;
    let program = directory.path().join("postgres/cluster");
    for milliseconds in [0, 1, 2, 5, 10, 20, 40, 60, 80] {
        let start = Postgres::start(options(&directory));
        let _ = timeout(Duration::from_millis(milliseconds), start).await;
    }
    eventually("no process works on the data", async || {
        processes_naming(&program) == 0
    })
    .await;
    start_postgres(&directory).await.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_is_noticed_and_starts_again() {
    let directory = passable_directory();
    let mut postgres = start_postgres(&directory).await;
    kill(server_pid(&directory), Signal::SIGKILL).unwrap();
    let error = timeout(LIMIT, postgres.ended()).await.unwrap();
    assert!(matches!(error, PostgresError::Ended { .. }), "{error}");
    drop(postgres);

    start_postgres(&directory).await.stop().await;
}

#[tokio::test]
async fn a_stop_ends_open_connections() {
    let directory = passable_directory();
    let postgres = start_postgres(&directory).await;
    let mut connection = PgConnection::connect_with(&postgres.options("postgres"))
        .await
        .unwrap();
    timeout(Duration::from_secs(4), postgres.stop())
        .await
        .expect("a fast stop does not wait for clients");
    assert!(connection.ping().await.is_err());
}

#[tokio::test]
async fn a_second_process_is_told_that_the_directory_is_in_use() {
    let directory = passable_directory();
    let postgres = start_postgres(&directory).await;
    let error = Postgres::start(options(&directory)).await.unwrap_err();
    assert!(matches!(error, PostgresError::InUse { .. }), "{error}");
    let error = Postgres::erase(&options(&directory).data_dir).await.unwrap_err();
    assert!(matches!(error, PostgresError::InUse { .. }), "{error}");
    postgres.stop().await;
}

#[tokio::test]
async fn a_process_number_that_is_used_again_is_no_server() {
    let directory = passable_directory();
    start_postgres(&directory).await.stop().await;
    // As after the restart of a container: the file names a live process, this one.
    let cluster = directory.path().join("postgres/cluster");
    let own = std::process::id();
    let content = format!("{own}\n{}\n1700000000\n5432\n\n127.0.0.1\n", cluster.display());
    fs::write(cluster.join("postmaster.pid"), content).unwrap();

    start_postgres(&directory).await.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let directory = passable_directory();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = PostgresOptions {
        port,
        ..options(&directory)
    };
    let error = Postgres::start(options).await.unwrap_err();
    assert!(
        matches!(error, PostgresError::PortTaken { port: named } if named == port),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_refuses_to_start_shows_why() {
    let directory = passable_directory();
    let settings = vec![("shared_buffers".to_owned(), "a lot".to_owned())];
    let options = PostgresOptions {
        settings,
        ..options(&directory)
    };
    let error = Postgres::start(options).await.unwrap_err();
    assert!(
        matches!(&error, PostgresError::Ended { last_lines, .. } if last_lines.contains("shared_buffers")),
        "{error}"
    );
}

#[tokio::test]
async fn programs_that_are_missing_or_too_old_are_named() {
    let directory = passable_directory();
    let bin_dir = directory.path().join("bin");
    let options = PostgresOptions {
        bin_dir: Some(bin_dir.clone()),
        ..options(&directory)
    };
    let error = Postgres::start(options.clone()).await.unwrap_err();
    assert!(matches!(error, PostgresError::NotThere { .. }), "{error}");

    fs::create_dir(&bin_dir).unwrap();
    program(&bin_dir.join("postgres"), "echo 'postgres (PostgreSQL) 13.22'");
    program(&bin_dir.join("initdb"), "exit 1");
    let error = Postgres::start(options.clone()).await.unwrap_err();
    assert!(
        matches!(&error, PostgresError::TooOld { version, .. } if version == "13.22"),
        "{error}"
    );

    program(&bin_dir.join("postgres"), "echo 'postgres (PostgreSQL) 17.2'");
    program(&bin_dir.join("initdb"), "echo 'no room left' >&2; exit 1");
    let error = Postgres::start(options).await.unwrap_err();
    assert!(
        matches!(&error, PostgresError::Initialization { stderr, .. } if stderr == "no room left"),
        "{error}"
    );
}

#[tokio::test]
async fn data_of_another_major_version_is_not_touched() {
    let directory = passable_directory();
    start_postgres(&directory).await.stop().await;
    let version = directory.path().join("postgres/cluster/PG_VERSION");
    fs::write(&version, "99\n").unwrap();
    let error = Postgres::start(options(&directory)).await.unwrap_err();
    assert!(
        matches!(error, PostgresError::OtherMajor { data: 99, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn data_without_its_password_is_not_made_anew() {
    let directory = passable_directory();
    start_postgres(&directory).await.stop().await;
    let password = directory.path().join("postgres/password");
    assert_eq!(
        fs::metadata(&password).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::remove_file(password).unwrap();
    let error = Postgres::start(options(&directory)).await.unwrap_err();
    assert!(matches!(error, PostgresError::PasswordLost { .. }), "{error}");
}

#[tokio::test]
async fn the_server_is_private() {
    let directory = passable_directory();
    let postgres = start_postgres(&directory).await;
    let show = async |setting: &str| -> String {
        let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
        sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    assert_eq!(show("listen_addresses").await, "127.0.0.1");
    assert_eq!(show("unix_socket_directories").await, "");
    assert_eq!(show("fsync").await, "off");
    assert_eq!(show("server_encoding").await, "UTF8");

    let stranger = PgConnectOptions::from_str(&postgres.url("postgres"))
        .unwrap()
        .password("guess");
    let error = PgConnection::connect_with(&stranger).await.unwrap_err();
    assert!(
        error.to_string().contains("password authentication failed"),
        "{error}"
    );
    assert!(!format!("{postgres:?}").contains(postgres.password()));
    postgres.stop().await;
}

/// Root's home and the usual temporary directories are closed to the account that the server runs
/// as. For an ordinary user nothing is in the way, and the same must work.
#[tokio::test]
async fn data_under_a_closed_directory_works_and_is_erased_wholly() {
    let closed = tempfile::tempdir().unwrap();
    let data_dir = closed.path().join("data/postgres");
    let options = PostgresOptions {
        fsync: false,
        ..PostgresOptions::new(&data_dir)
    };
    let postgres = Postgres::start(options.clone()).await.unwrap();
    execute(&postgres, "create table kept as select 42 as answer").await;
    postgres.stop().await;
    let postgres = Postgres::start(options).await.unwrap();
    assert_eq!(number(&postgres, "select answer from kept").await, 42);
    postgres.stop().await;

    let elsewhere = fs::canonicalize(data_dir.join("elsewhere")).ok();
    assert_eq!(elsewhere.is_some(), Uid::effective().is_root());
    Postgres::erase(&data_dir).await.unwrap();
    assert!(!data_dir.exists());
    assert!(elsewhere.is_none_or(|substitute| !substitute.exists()));
}

#[test]
fn the_installation_of_this_machine_is_found() {
    let installation = find_installation().unwrap();
    assert!(installation.bin_dir.join("initdb").is_file());
    assert!(installation.version.starts_with(&installation.major.to_string()));
}

fn program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn server_pid(directory: &TempDir) -> Pid {
    let content = fs::read_to_string(directory.path().join("postgres/cluster/postmaster.pid")).unwrap();
    Pid::from_raw(content.lines().next().unwrap().trim().parse().unwrap())
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}

/// How many processes have the path on their command line: servers and their guards.
fn processes_naming(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    command_lines().iter().filter(|line| line.contains(path)).count()
}

/// From `/proc` where there is one: small Linux images have no `ps`.
fn command_lines() -> Vec<String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if let Ok(processes) = fs::read_dir("/proc") {
        let lines = processes
            .flatten()
            .filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        return lines.map(text).collect();
    }
    let output = Command::new("ps").args(["-A", "-o", "args="]).output().unwrap();
    text(output.stdout).lines().map(str::to_owned).collect()
}

async fn execute(postgres: &Postgres, statement: &'static str) {
    let mut connection = PgConnection::connect_with(&postgres.options("postgres"))
        .await
        .unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
}

async fn number(postgres: &Postgres, query: &'static str) -> i32 {
    let mut connection = PgConnection::connect_with(&postgres.options("postgres"))
        .await
        .unwrap();
    sqlx::query_scalar(query)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}
