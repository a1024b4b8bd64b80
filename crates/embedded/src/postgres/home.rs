//! The directory of a private PostgreSQL: what is in it, who may use it, and how it begins.
//!
//! | in the data directory | |
//! |---|---|
//! | `cluster/` | PostgreSQL's own files; belong to the server's account |
//! | `password` | the superuser's, mode 0600 |
//! | `server.log`, `server.log.previous` | what this run and the last one said |
//! | `lock` | held while a process runs a server here |
//! | `elsewhere` | a link to where all but the lock is, if the server's account cannot come here |

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    PostgresError, SUPERUSER,
    account::Account,
    installation::Installation,
    pid_file::{Named, pid_file},
};
use crate::secret_file;

/// Where data goes that root keeps in a place that no other account can enter. Only root can
/// write to its parent, so nobody else can prepare it.
const SUBSTITUTE_PARENT: &str = "/var/lib/belay";

/// How long the server of a process that was killed may take to stop: its guard turns to the
/// immediate shutdown after ten seconds.
const PREVIOUS_LIMIT: Duration = Duration::from_secs(15);

/// Enough for a person to see why a server ended.
const LOG_LINES_SHOWN: usize = 10;

/// A data directory that this process has for itself.
#[derive(Debug)]
pub(super) struct Home {
    root: PathBuf,
    pub(super) account: Account,
    /// Released by the system however this process ends. While the process lives, dropping this unlocks rather than merely closes: a
    /// child that another thread has just forked has a copy of every file until its `exec`, and would go on holding the directory
    /// (test `tests::a_directory_is_free_although_a_child_still_has_a_copy_of_its_lock`).
    _lock: Flock<File>,
}

impl Home {
    /// Creates the directory if needed, takes its lock, and makes sure that the server's account
    /// can come to it.
    pub(super) async fn open(data_dir: &Path) -> Result<Self, PostgresError> {
        let (data_dir, lock) = locked(data_dir)?;
        let link = data_dir.join("elsewhere");
        let root = match fs::canonicalize(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound && !link.is_symlink() => data_dir,
            Err(source) => return Err(PostgresError::io("follow the link", link)(source)),
        };
        let account = Account::choose(&root.join("cluster"))?;
        let mut home = Self {
            root,
            account,
            _lock: lock,
        };
        home.open_for_account(&link).await?;
        Ok(home)
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// The major version that made the data, if there is data.
    pub(super) fn data_major(&self) -> Result<Option<u32>, PostgresError> {
        let path = self.cluster().join("PG_VERSION");
        match fs::read_to_string(&path) {
            // Versions before 10 have two numbers; the first tells that they do not fit.
            Ok(version) => Ok(version
                .trim()
                .split('.')
                .next()
                .and_then(|major| major.parse().ok())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PostgresError::io("read", path)(source)),
        }
    }

    /// The superuser's password: made with the data, then only read.
    pub(super) fn password(&self) -> Result<String, PostgresError> {
        let path = self.root.join("password");
        if !self.cluster().exists() {
            return secret_file::read_or_create(&path, || secret_file::random_hex(24))
                .map_err(PostgresError::io("make the password file", path));
        }
        secret_file::read(&path).map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                PostgresError::PasswordLost {
                    directory: self.cluster(),
                    path,
                }
            } else {
                PostgresError::io("use the password file", path)(error)
            }
        })
    }

    /// Runs `initdb` beside the final place and moves the result there, so that a run that is
    /// interrupted leaves nothing that looks like data.
    pub(super) async fn initialize(
        &self,
        installation: &Installation,
        password: &str,
        fsync: bool,
    ) -> Result<(), PostgresError> {
        self.remove_drafts();
        let draft = self.root.join(format!("draft-{}", secret_file::random_hex(4)));
        let password_file = draft.with_extension("password");
        let outcome = self
            .run_initdb(installation, password, fsync, &draft, &password_file)
            .await;
        // Without these the next start is no worse: it removes drafts too.
        let _ = fs::remove_file(&password_file);
        if outcome.is_err() {
            let _ = fs::remove_dir_all(&draft);
        }
        outcome
    }

    async fn run_initdb(
        &self,
        installation: &Installation,
        password: &str,
        fsync: bool,
        draft: &Path,
        password_file: &Path,
    ) -> Result<(), PostgresError> {
        // `initdb` runs as the server's account, which cannot read the file that is kept, and it
        // takes no pipe.
        write_new(password_file, password)
            .and_then(|()| self.account.own(password_file))
            .map_err(PostgresError::io("write", password_file))?;
        let mut refusal = String::new();
        // C.UTF-8 sorts by code point like C but knows letters beyond ASCII; not every system has
        // it under this name.
        for locale in ["C.UTF-8", "C"] {
            make_directory(draft, 0o700)
                .and_then(|()| self.account.own(draft))
                .map_err(PostgresError::io("create", draft))?;
            let program = installation.bin_dir.join("initdb");
            let mut command = self.account.command(&program);
            command
                .args([
                    "--username",
                    SUPERUSER,
                    "--auth",
                    "scram-sha-256",
                    "--encoding",
                    "UTF8",
                ])
                .args(["--locale", locale, "--pwfile"])
                .arg(password_file)
                .arg("--pgdata")
                .arg(draft)
                .stdin(Stdio::null())
                .kill_on_drop(true);
            if !fsync {
                command.arg("--no-sync");
            }
            let output = command
                .output()
                .await
                .map_err(PostgresError::io("run", &program))?;
            if output.status.success() {
                let cluster = self.cluster();
                return fs::rename(draft, &cluster).map_err(PostgresError::io("create", cluster));
            }
            refusal = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            fs::remove_dir_all(draft).map_err(PostgresError::io("remove", draft))?;
            if !refusal.contains("locale") {
                break;
            }
        }
        Err(PostgresError::Initialization {
            directory: self.root.clone(),
            stderr: refusal,
        })
    }

    /// Waits until the server of an earlier process is gone: the guard of one that was killed is
    /// stopping it just now.
    pub(super) async fn wait_for_previous_server(&self) -> Result<(), PostgresError> {
        let cluster = self.cluster();
        let mut tick = interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let settled = async {
            while let Named::Server(_) = Named::in_pid_file(&cluster) {
                tick.tick().await;
            }
        };
        // Whether the time was over does not matter, only what is there now.
        let _ = timeout(PREVIOUS_LIMIT, settled).await;
        match Named::in_pid_file(&cluster) {
            Named::Nobody => Ok(()),
            Named::Server(pid) => {
                let waited_s = PREVIOUS_LIMIT.as_secs();
                Err(PostgresError::StillRunning {
                    pid,
                    directory: cluster,
                    waited_s,
                })
            }
            // PostgreSQL would take it for a server and refuse to start.
            Named::AnotherProgram => {
                let path = pid_file(&cluster);
                fs::remove_file(&path).map_err(PostgresError::io("remove", path))
            }
        }
    }

    /// Keeps the last run's log under another name: two runs are kept, so logs do not grow for ever.
    pub(super) fn rotate_log(&self) -> Result<(), PostgresError> {
        let log = self.log_path();
        match fs::rename(&log, self.root.join("server.log.previous")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(PostgresError::io("rename", log)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// An empty log for one attempt to start.
    pub(super) fn new_log(&self) -> Result<File, PostgresError> {
        let path = self.log_path();
        OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(PostgresError::io("write", path))
    }

    /// The end of the log.
    pub(super) fn last_lines(&self) -> String {
        let Ok(log) = fs::read(self.log_path()) else {
            return String::new();
        };
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Removes everything, wherever it is. Only without a running server.
    pub(super) fn remove(self, data_dir: &Path) -> Result<(), PostgresError> {
        fs::remove_dir_all(&self.root).map_err(PostgresError::io("remove", &self.root))?;
        match fs::remove_dir_all(data_dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(PostgresError::io("remove", data_dir)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// As root: lets the server's account pass through to `cluster`, or moves to a place where it
    /// can, when nothing is here yet.
    async fn open_for_account(&mut self, link: &Path) -> Result<(), PostgresError> {
        let Account::Other { name, .. } = &self.account else {
            return Ok(());
        };
        // Others may pass, not look around; what is secret has a mode of its own.
        allow_passing(&self.root).map_err(PostgresError::io("open for passing", &self.root))?;
        let Some(parent) = self.closed_parent(&self.root).await? else {
            return Ok(());
        };
        let unreachable = || PostgresError::Unreachable {
            account: name.clone(),
            parent,
        };
        if self.cluster().exists() {
            return Err(unreachable());
        }
        let common = Path::new(SUBSTITUTE_PARENT);
        let substitute = common.join(format!("postgres-{}", secret_file::random_hex(8)));
        let made = make_directory(common, 0o711)
            .and_then(|()| allow_passing(common))
            .and_then(|()| make_directory(&substitute, 0o711))
            .and_then(|()| allow_passing(&substitute));
        if made.is_err() || self.closed_parent(&substitute).await?.is_some() {
            let _ = fs::remove_dir(&substitute);
            return Err(unreachable());
        }
        symlink(&substitute, link).map_err(PostgresError::io("create the link", link))?;
        tracing::info!(
            directory = %substitute.display(),
            "the user {name} that PostgreSQL runs as cannot enter the data directory; its files are kept elsewhere"
        );
        self.root = substitute;
        Ok(())
    }

    async fn closed_parent(&self, directory: &Path) -> Result<Option<PathBuf>, PostgresError> {
        let closed = self.account.first_closed_parent(directory).await;
        closed.map_err(PostgresError::io("try to enter", directory))
    }

    /// Removes what interrupted runs of `initdb` left. One may still be writing, so a draft that
    /// cannot be removed is left for the next time.
    fn remove_drafts(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("draft-") {
                let path = entry.path();
                let _ = if path.is_dir() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                };
            }
        }
    }
}

/// The arguments that make `postgres` private: one address, no socket file, and no more memory
/// than a laptop can spare.
pub(super) fn server_arguments(
    cluster: &Path,
    port: u16,
    fsync: bool,
    settings: &[(String, String)],
) -> Vec<OsString> {
    let port = port.to_string();
    let mut all = vec![
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        ("unix_socket_directories", ""),
        // Six services with pools of their own, and tests that run in parallel.
        ("max_connections", "200"),
        ("shared_buffers", "64MB"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        // Errors are recognized by their English words.
        ("lc_messages", "C"),
        // Details quote the rows that an error is about, which may be personal data.
        ("log_error_verbosity", "terse"),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
    ];
    if !fsync {
        all.extend([
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
        ]);
    }
    all.extend(
        settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let mut arguments = vec![OsString::from("-D"), cluster.into()];
    for (name, value) in all {
        arguments.extend(["-c".into(), format!("{name}={value}").into()]);
    }
    arguments
}

/// Makes the directory, gives its absolute name, and takes its lock.
fn locked(data_dir: &Path) -> Result<(PathBuf, Flock<File>), PostgresError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(PostgresError::io("create", data_dir))?;
    let data_dir = fs::canonicalize(data_dir).map_err(PostgresError::io("find", data_dir))?;
    let path = data_dir.join("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(PostgresError::io("open", &path))?;
    match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok((data_dir, lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(PostgresError::InUse { directory: data_dir }),
        Err((_, errno)) => Err(PostgresError::io("lock", path)(errno.into())),
    }
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome,
    }
}

fn allow_passing(directory: &Path) -> io::Result<()> {
    let mode = fs::metadata(directory)?.permissions().mode();
    fs::set_permissions(directory, Permissions::from_mode(mode | 0o011))
}

fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As between the fork and the `exec` of a process that another thread starts.
    #[test]
    fn a_directory_is_free_although_a_child_still_has_a_copy_of_its_lock() {
        let directory = tempfile::tempdir().unwrap();
        let (_, lock) = locked(directory.path()).unwrap();
        assert!(matches!(
            locked(directory.path()),
            Err(PostgresError::InUse { .. })
        ));
        let copy = lock.try_clone().unwrap();
        drop(lock);
        locked(directory.path()).unwrap();
        drop(copy);
    }
}
