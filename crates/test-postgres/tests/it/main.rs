//! `with-postgres` leaves nothing behind, however it ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod with_postgres;

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
