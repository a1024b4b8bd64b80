//! Files that only their owner may read.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use rand::{RngCore, rngs::OsRng};

/// Returns the content of the file at `path`, creating it with what `make` returns if there is
/// none.
///
/// The file appears under its name only when it is complete, and the first of two processes that
/// create it at once wins; the other gets the winner's content.
///
/// # Errors
///
/// Any I/O error, and `PermissionDenied` when the file can be read or written by others than its
/// owner: a secret that leaked once is not used again silently.
pub(crate) fn read_or_create(path: &Path, make: impl FnOnce() -> String) -> io::Result<String> {
    match read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    let draft = path.with_extension(format!("draft-{}", random_hex(4)));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file.write_all(make().as_bytes()).and_then(|()| file.sync_all());
    // A hard link fails when the name is taken, where a rename would replace the winner's file.
    let published = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match published {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => read(path),
    }
}

/// Reads a secret, refusing one that others than its owner can reach.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mode = fs::metadata(path)?.mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "{} can be reached by other users: run `chmod 600` on it, or delete it to have \
                 a new one made",
                path.display()
            ),
        ));
    }
    fs::read_to_string(path)
}

/// `bytes` random bytes from the operating system, in hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    OsRng.fill_bytes(&mut buffer);
    buffer.iter().map(|byte| format!("{byte:02x}")).collect()
}
