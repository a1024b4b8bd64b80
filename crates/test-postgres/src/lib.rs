//! A private PostgreSQL for tests, and the program `with-postgres` that runs a command with one.
//!
//! A crate of its own, because it is needed before the crates with checked queries can be built: their queries are
//! checked against a database that it starts (`scripts/sqlx-prepare`).
//!
//! A private server does not wait for the disk, lives in a temporary directory, and leaves nothing behind, however its
//! process ends (tests `with_postgres::…` of this crate and `server::…` of testkit).

use std::{
    fs::Permissions,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use embedded::postgres::{Postgres, PostgresOptions, SUPERUSER};

/// Where tests find a PostgreSQL that runs already: `postgres://superuser:password@host:port`, without a database. It has
/// to be one for tests alone: roles and databases are made and removed there.
pub const VARIABLE: &str = "BELAY_TEST_POSTGRES";

/// Connections that the test programs of one `make test` may hold together.
const MAX_CONNECTIONS: &str = "400";

/// Removes the directory when its standard input ends, which is when the process that started it ends by whatever means:
/// nothing can run in a process that was killed. The server's guard notices the same and stops the server; until that is
/// done its pid file exists.
const REAPER: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
tries=0
while [ -e "$1/postgres/cluster/postmaster.pid" ] && [ "$tries" -lt 300 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
elsewhere=$(readlink "$1/postgres/elsewhere") && rm -rf -- "$elsewhere"
rm -rf -- "$1"
"#;

/// A private server in a temporary directory.
#[derive(Debug)]
pub struct PrivateServer {
    postgres: Postgres,
    reaper: Reaper,
}

impl PrivateServer {
    /// Starts a server on a free port of 127.0.0.1, in about 2 s.
    ///
    /// # Errors
    /// No PostgreSQL on this machine, or a directory that cannot be used; the message says what to do.
    pub async fn start() -> anyhow::Result<Self> {
        // PostgreSQL's account must be able to pass when the tests run as root.
        let directory = tempfile::Builder::new()
            .prefix("belay-test-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .context("a temporary directory cannot be made")?
            .keep();
        let reaper = Reaper::watch(&directory)?;
        let postgres = Postgres::start(PostgresOptions {
            fsync: false,
            settings: vec![("max_connections".to_owned(), MAX_CONNECTIONS.to_owned())],
            ..PostgresOptions::new(directory.join("postgres"))
        })
        .await?;
        Ok(Self { postgres, reaper })
    }

    /// The value for [`VARIABLE`]. Holds the password.
    #[must_use]
    pub fn url(&self) -> String {
        let (port, password) = (self.postgres.port(), self.postgres.password());
        format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}")
    }

    /// Where the server keeps its files, until it is stopped.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.reaper.directory
    }

    /// Stops the server and removes its files.
    pub async fn stop(self) {
        self.postgres.stop().await;
        let removed = tokio::task::spawn_blocking(move || self.reaper.finish()).await;
        drop(removed);
    }
}

/// The process that removes the directory.
#[derive(Debug)]
struct Reaper {
    shell: Child,
    directory: PathBuf,
}

impl Reaper {
    fn watch(directory: &Path) -> anyhow::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", REAPER, "belay-test-reaper"])
            .arg(directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            // Whoever reads this program's output must not have to wait for the reaper.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A terminal's Ctrl-C is for the tests.
            .process_group(0)
            .spawn()
            .context("/bin/sh cannot be run")?;
        Ok(Self {
            shell,
            directory: directory.to_owned(),
        })
    }

    /// Waits until the directory is gone.
    fn finish(mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}
