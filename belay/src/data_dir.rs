//! The data directory: what `belay up` keeps, and how the other commands find the running system.
//!
//! | entry | holds |
//! |---|---|
//! | `belay.json` | the format of the directory |
//! | `lock` | held by the process that runs on the directory |
//! | `running.json` | addresses of the running system, readable by its owner only |
//! | `postgres/` | the private PostgreSQL |
//! | `cdc/` | the connectors of the outboxes, when they are captured |
//! | `issuer/` | the signing key of the development token issuer |
//! | `mail/` | the mails to customers, where no mail server is given |

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use serde::{Deserialize, Serialize};

/// The format that this program writes. Raised when an older program could not read the directory.
const FORMAT: u32 = 1;

/// How often the directory is asked for before it counts as held by a system.
const HOLD_TRIES: usize = 1000;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The file system said no.
    #[error("the data directory {path} cannot be used: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A newer program made it.
    #[error(
        "the data directory {path} was made by a newer version of belay (format {found}, this one knows {FORMAT}): use that version, or another directory with --data"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// One of the files is not what it should be.
    #[error(
        "{path} is damaged ({reason}): nothing but this file is lost. Delete it, and start the system again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing runs on it.
    #[error("no system is running on {path}: start one with `belay up --data {path}`")]
    NotRunning {
        /// The directory.
        path: PathBuf,
    },
    /// Something else runs on it.
    #[error("a system is running on {path} already: stop it, or use another directory with --data")]
    Running {
        /// The directory.
        path: PathBuf,
    },
}

/// Where a running system is found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SystemInfo {
    /// The process of `belay up`.
    pub pid: u32,
    /// `http://host:port` of the BFF.
    pub http: String,
    /// Database URLs by service, with the service's own role.
    pub databases: BTreeMap<String, String>,
    /// Kafka's bootstrap servers.
    pub kafka: String,
    /// The schema registry.
    pub registry: String,
    /// The token issuer, which is also the tokens' `iss`.
    pub issuer: String,
    /// The tokens' audience.
    pub audience: String,
    /// Where the edge tells the other services how to reach customers.
    #[serde(default)]
    pub contacts: String,
    /// The mail server, or the directory that stands in for one.
    #[serde(default)]
    pub mail: String,
    /// Addresses of the services' own HTTP, by service.
    pub services: BTreeMap<String, String>,
    /// The private key with which `belay parked` and `belay saga` ask them. A new one with every start.
    #[serde(default)]
    pub identity_key: String,
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

/// The directory belongs to this process as long as this lives.
#[derive(Debug)]
pub struct Hold {
    _lock: Flock<fs::File>,
}

/// A data directory of a format that this program knows.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Opens the directory, and makes it where it does not exist. Its files are its owner's alone, but the directory may
    /// be passed through, because PostgreSQL runs as another user when `belay` runs as root.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(path)
            .map_err(|source| io_error(path, source))?;
        let path = path.canonicalize().map_err(|source| io_error(path, source))?;
        let dir = Self { path };
        if !dir.format_file().exists() {
            dir.write(&dir.format_file(), &Format { format: FORMAT })?;
        }
        dir.check_format()?;
        Ok(dir)
    }

    /// Opens an existing directory.
    ///
    /// # Errors
    /// [`DataDirError::NotRunning`] when there is none, and the other ones.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let Ok(path) = path.canonicalize() else {
            return Err(DataDirError::NotRunning {
                path: path.to_owned(),
            });
        };
        let dir = Self { path };
        if !dir.format_file().exists() {
            return Err(DataDirError::NotRunning { path: dir.path });
        }
        dir.check_format()?;
        Ok(dir)
    }

    /// The running system.
    ///
    /// # Errors
    /// [`DataDirError::NotRunning`] when there is none: no announcement, or nobody holds the directory any more.
    pub fn system(&self) -> Result<SystemInfo, DataDirError> {
        let not_running = || DataDirError::NotRunning {
            path: self.path.clone(),
        };
        let text = match fs::read(self.running_file()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_running()),
            Err(source) => return Err(io_error(&self.running_file(), source)),
        };
        let info: SystemInfo =
            serde_json::from_slice(&text).map_err(|error| damaged(&self.running_file(), &error))?;
        if self.is_held()? {
            Ok(info)
        } else {
            Err(not_running())
        }
    }

    /// Holds the directory for this process, until what is returned is dropped or the process ends by whatever means.
    ///
    /// # Errors
    /// [`DataDirError::Running`] when another process holds it.
    pub fn hold(&self) -> Result<Hold, DataDirError> {
        let mut file = self.lock_file()?;
        for _ in 0..HOLD_TRIES {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Hold { _lock: lock }),
                Err((file, Errno::EWOULDBLOCK)) => file,
                Err((_, errno)) => return Err(io_error(&self.lock_path(), errno.into())),
            };
            // Somebody may just be asking whether the directory is held, which takes some microseconds.
            std::thread::yield_now();
        }
        Err(DataDirError::Running {
            path: self.path.clone(),
        })
    }

    /// Whether a process holds the directory. Asking disturbs nobody: a shared lock is taken and given back.
    fn is_held(&self) -> Result<bool, DataDirError> {
        match Flock::lock(self.lock_file()?, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, errno)) => Err(io_error(&self.lock_path(), errno.into())),
        }
    }

    fn lock_file(&self) -> Result<fs::File, DataDirError> {
        let path = self.lock_path();
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).map_err(|source| io_error(&path, source))
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Says where the system is found.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn announce(&self, info: &SystemInfo) -> Result<(), DataDirError> {
        self.write(&self.running_file(), info)
    }

    /// Takes the announcement back.
    pub fn withdraw(&self) {
        // A file that stays behind names a process that is gone, which `system` notices.
        drop(fs::remove_file(self.running_file()));
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The private PostgreSQL's data.
    #[must_use]
    pub fn postgres(&self) -> PathBuf {
        self.path.join("postgres")
    }

    /// Where the connectors of the outboxes are written.
    #[must_use]
    pub fn cdc(&self) -> PathBuf {
        self.path.join("cdc")
    }

    /// The token issuer's key.
    #[must_use]
    pub fn issuer(&self) -> PathBuf {
        self.path.join("issuer")
    }

    /// The mails to customers.
    #[must_use]
    pub fn mail(&self) -> PathBuf {
        self.path.join("mail")
    }

    fn format_file(&self) -> PathBuf {
        self.path.join("belay.json")
    }

    fn running_file(&self) -> PathBuf {
        self.path.join("running.json")
    }

    fn check_format(&self) -> Result<(), DataDirError> {
        let file = self.format_file();
        let text = fs::read(&file).map_err(|source| io_error(&file, source))?;
        let format: Format = serde_json::from_slice(&text).map_err(|error| damaged(&file, &error))?;
        if format.format > FORMAT {
            return Err(DataDirError::Newer {
                path: self.path.clone(),
                found: format.format,
            });
        }
        Ok(())
    }

    /// Writes a file whole or not at all, readable by its owner only.
    fn write(&self, file: &Path, value: &impl Serialize) -> Result<(), DataDirError> {
        let failed = |source| io_error(file, source);
        let text = serde_json::to_vec_pretty(value).map_err(|e| failed(io::Error::other(e)))?;
        let partial = file.with_extension("partial");
        let mut options = fs::OpenOptions::new();
        let mut target = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .map_err(failed)?;
        io::Write::write_all(&mut target, &text).map_err(failed)?;
        // The name is given to a file that is wholly on the disk.
        target.sync_all().map_err(failed)?;
        fs::rename(&partial, file).map_err(failed)
    }
}

fn io_error(path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io {
        path: path.to_owned(),
        source,
    }
}

fn damaged(path: &Path, error: &serde_json::Error) -> DataDirError {
    DataDirError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
