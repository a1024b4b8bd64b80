//! The kit's own promises: databases apart from each other, waits with a bound, and nothing left behind.

#![expect(
    clippy::disallowed_methods,
    reason = "tests ask the server with statements of their own"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod database;
mod messages;
mod server;
mod wait;

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use tempfile::TempDir;

/// Long enough for a busy machine; nothing waits this long when all is well.
const LIMIT: Duration = Duration::from_secs(60);

/// A place for a child's temporary files that PostgreSQL's account may pass through.
fn temporary_directory() -> TempDir {
    tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o711))
        .tempdir()
        .unwrap()
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}
