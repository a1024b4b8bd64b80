//! Why a private PostgreSQL cannot be had, each with what to do about it.

use std::{io, path::PathBuf};

use super::installation::OLDEST_MAJOR;

/// Why a private PostgreSQL cannot be had. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// No directory with both programs was found.
    #[error(
        "PostgreSQL is not installed (no directory with `initdb` and `postgres` in pg_config, PATH or the usual \
         places). Install it (`apt-get install postgresql`, `brew install postgresql@17`), name its directory in \
         BELAY_POSTGRES_BIN, or give a running server with --database-url"
    )]
    Missing,
    /// A directory was named, but the programs are not in it.
    #[error(
        "`{}` holds no `initdb` and `postgres` that run. Point BELAY_POSTGRES_BIN at the directory of PostgreSQL's \
         programs (such as /usr/lib/postgresql/17/bin), or unset it to search for them",
        directory.display()
    )]
    NotThere {
        /// The directory that was named.
        directory: PathBuf,
    },
    /// Only versions before [`OLDEST_MAJOR`] were found.
    #[error(
        "PostgreSQL {version} in `{}` is too old: {OLDEST_MAJOR} is the oldest that will do. Install a newer one \
         (`apt-get install postgresql`) or name its directory in BELAY_POSTGRES_BIN",
        bin_dir.display()
    )]
    TooOld {
        /// The version found.
        version: String,
        /// Where it is.
        bin_dir: PathBuf,
    },
    /// The data was made by a major version that is not installed.
    #[error(
        "the data in `{}` was made by PostgreSQL {data}, and only {installed} is installed. Install PostgreSQL \
         {data}, or name its directory in BELAY_POSTGRES_BIN, or start with fresh data",
        directory.display()
    )]
    OtherMajor {
        /// The major version that made the data.
        data: u32,
        /// The major version that would be used.
        installed: u32,
        /// The data's directory.
        directory: PathBuf,
    },
    /// Running as root on a system without an account to run a server as.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as. Create one \
         (`useradd --system postgres`) or run as an ordinary user"
    )]
    NoAccount,
    /// Running as root, and the server's account can reach neither the directory nor a substitute.
    #[error(
        "PostgreSQL refuses to run as root, and the user `{account}` it is run as cannot enter `{}`. Choose a data \
         directory outside of it, allow entering it (`chmod o+x`), or run as an ordinary user",
        parent.display()
    )]
    Unreachable {
        /// Who cannot enter.
        account: String,
        /// The first parent that cannot be entered.
        parent: PathBuf,
    },
    /// The data belongs to another user.
    #[error(
        "the data in `{}` belongs to the user with id {owner}. Run as that user or as root, or choose another data \
         directory",
        directory.display()
    )]
    OtherOwner {
        /// The data's directory.
        directory: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// Another process runs a server on this directory.
    #[error(
        "`{}` is in use by another running process. Stop that one first, or choose another data directory",
        directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// A server whose parent is gone did not stop in time.
    #[error(
        "a PostgreSQL of an earlier run (process {pid}) still uses `{}` and has not stopped for {waited_s} s. Stop \
         it with `kill -INT {pid}` and try again",
        directory.display()
    )]
    StillRunning {
        /// The server's process.
        pid: i32,
        /// The data's directory.
        directory: PathBuf,
        /// How long it was waited for, in seconds.
        waited_s: u64,
    },
    /// `initdb` refused.
    #[error("`initdb` could not make a database in `{}`: {stderr}", directory.display())]
    Initialization {
        /// Where.
        directory: PathBuf,
        /// What it said.
        stderr: String,
    },
    /// The superuser's password is gone while the data is there.
    #[error(
        "the password of the data in `{}` is missing: the file `{}` was removed. Put it back or start with fresh data",
        directory.display(),
        path.display()
    )]
    PasswordLost {
        /// The data's directory.
        directory: PathBuf,
        /// The file that should be there.
        path: PathBuf,
    },
    /// The port that was asked for is taken.
    #[error("port {port} of 127.0.0.1 is taken. Give another port for PostgreSQL, or 0 for a free one")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The server ended by itself.
    #[error("PostgreSQL ended. The last lines of `{}`:\n{last_lines}", log.display())]
    Ended {
        /// Its log.
        log: PathBuf,
        /// The log's end.
        last_lines: String,
    },
    /// The server runs but takes no connection.
    #[error(
        "PostgreSQL runs but took no connection for {waited_s} s. The last lines of `{}`:\n{last_lines}",
        log.display()
    )]
    NotReady {
        /// How long it was waited for, in seconds.
        waited_s: u64,
        /// Its log.
        log: PathBuf,
        /// The log's end.
        last_lines: String,
    },
    /// A file or process operation failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or program.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl PostgresError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
