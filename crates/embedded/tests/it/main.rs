//! The parts as their users meet them: real processes, real connections, real requests.

#![expect(
    clippy::disallowed_methods,
    reason = "tests ask the server with statements of their own and compare with this machine's clock"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod broker;
mod issuer;
mod postgres;
mod registry;

use std::{fs::Permissions, net::SocketAddr, os::unix::fs::PermissionsExt, time::Duration};

use embedded::postgres::{Postgres, PostgresOptions};
use tempfile::TempDir;
use tokio::time::{interval, timeout};

/// Long enough for a busy machine; nothing waits this long when all is well.
const LIMIT: Duration = Duration::from_secs(30);

/// A free port of the loopback interface.
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Waits until the condition holds, and fails the test when it does not within [`LIMIT`].
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        let mut tick = interval(Duration::from_millis(10));
        while !condition().await {
            tick.tick().await;
        }
    };
    timeout(LIMIT, holds)
        .await
        .unwrap_or_else(|_| panic!("within {LIMIT:?} it must hold that {what}"));
}

/// A directory that the account of a server may pass through, also when the tests run as root:
/// the usual temporary directory would be closed to it.
fn passable_directory() -> TempDir {
    tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o711))
        .tempdir()
        .unwrap()
}

/// A server on `directory/postgres` that does not wait for the disk.
async fn start_postgres(directory: &TempDir) -> Postgres {
    Postgres::start(options(directory)).await.unwrap()
}

fn options(directory: &TempDir) -> PostgresOptions {
    PostgresOptions {
        fsync: false,
        ..PostgresOptions::new(directory.path().join("postgres"))
    }
}
