//! A private PostgreSQL as a child process: found on this machine, on a free port of 127.0.0.1,
//! with its own data directory, and gone when Belay is.
//!
//! - `installation`: finding the programs.
//! - `account`: who runs them, since PostgreSQL refuses root.
//! - `home`: the data directory and `initdb`.
//! - `pid_file`: whether a server of an earlier process still runs.
//! - `guard`: the process that stops the server when Belay is gone.
//! - `error`: everything that can be in the way, with what to do about it.

mod account;
mod error;
mod guard;
mod home;
mod installation;
mod pid_file;

use std::{
    fmt, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::{sleep, timeout};

use self::{guard::Guard, home::Home};

pub use self::{
    error::PostgresError,
    installation::{Installation, OLDEST_MAJOR, find_installation},
};

/// The role that owns the private server. Its password is random and in the data directory.
pub const SUPERUSER: &str = "postgres";

/// How long a server may take until it accepts a connection: after a crash it replays its log
/// first.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How long one connection may take before another is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Pause between two tries to connect. A start takes about 100 ms.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// How often a start is tried when the port that was free is taken in between, or processes of a
/// killed server have not ended yet.
const START_ATTEMPTS: u32 = 5;

/// Pause after an attempt, longer with every one.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(200);

/// What [`Postgres::start`] needs to know.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The server's own directory, created if needed; nothing else may be kept in it.
    pub data_dir: PathBuf,
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Whether commits survive a power cut. Only tests do without. Then the commits of the last
    /// moments may also go with a server that is killed, unless the settings put
    /// `synchronous_commit` on.
    pub fsync: bool,
    /// The directory of `initdb` and `postgres`, instead of what [`find_installation`] finds.
    pub bin_dir: Option<PathBuf>,
    /// Further settings of the server, which win over the ones made here.
    pub settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// Durable, on a free port, with the programs that are found.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            port: 0,
            fsync: true,
            bin_dir: None,
            settings: Vec::new(),
        }
    }
}

/// A running private server.
///
/// [`Postgres::stop`] ends it in good order. Dropping it, or the end of this process by whatever
/// means, SIGKILL included, ends it shortly after (tests
/// `postgres::no_server_is_left_when_its_parent_is_killed` and
/// `postgres::a_dropped_server_gives_way_to_the_next`).
pub struct Postgres {
    guard: Guard,
    home: Home,
    port: u16,
    password: String,
    installation: Installation,
}

impl Postgres {
    /// Starts a server on the data in `options.data_dir`, making it the first time (1–2 s), and
    /// returns when it accepts connections. If this is cancelled the server is stopped.
    ///
    /// The server of an earlier process that was killed is waited for. One process at a time can
    /// use a directory.
    ///
    /// As root, the programs run as the user `postgres`, else `nobody` (existing data: as its
    /// owner). Then every directory above must let that user pass. Where one does not, as in
    /// root's home, new data is put into a directory of its own under `/var/lib/belay`, to which a
    /// link in the data directory leads; remove such data with [`Postgres::erase`].
    ///
    /// # Errors
    ///
    /// A [`PostgresError`] that says what to do.
    pub async fn start(options: PostgresOptions) -> Result<Self, PostgresError> {
        let mut home = Home::open(&options.data_dir).await?;
        let data_major = home.data_major()?;
        let installation = installed(options.bin_dir, data_major)?;
        let password = home.password()?;
        match data_major {
            None => home.initialize(&installation, &password, options.fsync).await?,
            Some(data) if data == installation.major => {}
            Some(data) => {
                let (installed, directory) = (installation.major, home.cluster());
                return Err(PostgresError::OtherMajor {
                    data,
                    installed,
                    directory,
                });
            }
        }
        home.rotate_log()?;
        for attempt in 1.. {
            home.wait_for_previous_server().await?;
            let port = match options.port {
                0 => free_port().map_err(PostgresError::io("find a free port of", "127.0.0.1"))?,
                port => port,
            };
            let cluster = home.cluster();
            let program = installation.bin_dir.join("postgres");
            let arguments = home::server_arguments(&cluster, port, options.fsync, &options.settings);
            let guard = Guard::spawn(&home.account, &program, &arguments, home.new_log()?)
                .map_err(PostgresError::io("run", &program))?;
            let mut postgres = Self {
                guard,
                home,
                port,
                password: password.clone(),
                installation: installation.clone(),
            };
            match postgres.ensure_ready().await {
                Ok(()) => return Ok(postgres),
                Err(error) => match Retry::after(&error, options.port) {
                    Retry::Never => return Err(error),
                    Retry::PortTaken => return Err(PostgresError::PortTaken { port }),
                    Retry::Worthwhile if attempt >= START_ATTEMPTS => return Err(error),
                    Retry::Worthwhile => {}
                },
            }
            home = postgres.home;
            sleep(ATTEMPT_PAUSE * attempt).await;
        }
        unreachable!("the last attempt returns")
    }

    /// Removes the data of a stopped server wherever it is kept, and `data_dir` itself.
    ///
    /// # Errors
    ///
    /// [`PostgresError::InUse`] or [`PostgresError::StillRunning`] while a server runs on it, and
    /// what the file system refuses.
    pub async fn erase(data_dir: &Path) -> Result<(), PostgresError> {
        if !data_dir.exists() {
            return Ok(());
        }
        let home = Home::open(data_dir).await?;
        home.wait_for_previous_server().await?;
        home.remove(data_dir)
    }

    /// Waits until a connection works, at most 30 s. [`Postgres::start`] has done so already.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Ended`] as soon as the server ends, [`PostgresError::NotReady`] when the
    /// time is over; both with the last lines of the log.
    pub async fn ensure_ready(&mut self) -> Result<(), PostgresError> {
        let options = self.options(SUPERUSER);
        let outcome = timeout(READY_LIMIT, async {
            // Both arms can be dropped at any point: waiting for a child and an unused connection.
            tokio::select! {
                biased;
                _ = self.guard.ended() => false,
                () = connection_works(&options) => true,
            }
        });
        match outcome.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.ended_error()),
            Err(_) => Err(PostgresError::NotReady {
                waited_s: READY_LIMIT.as_secs(),
                log: self.home.log_path(),
                last_lines: self.home.last_lines(),
            }),
        }
    }

    /// Waits until the server has ended without being asked to, and says why. Cancel-safe.
    pub async fn ended(&mut self) -> PostgresError {
        match self.guard.ended().await {
            Ok(_) => self.ended_error(),
            Err(source) => PostgresError::io("wait for", "postgres")(source),
        }
    }

    /// Stops the server: open connections are closed and the data is written out. After 5 s it is
    /// stopped without writing out, which the next start makes up for; after 10 s it is killed.
    /// If this is cancelled the server ends as after a drop.
    pub async fn stop(self) {
        self.guard.stop().await;
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The programs that run.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The address of a database for the superuser, password included: not for logs.
    pub fn url(&self, database: &str) -> String {
        let (port, password) = (self.port, &self.password);
        format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// How the superuser connects to a database; `postgres` always exists.
    pub fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(SUPERUSER)
            .password(&self.password)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    fn ended_error(&self) -> PostgresError {
        PostgresError::Ended {
            log: self.home.log_path(),
            last_lines: self.home.last_lines(),
        }
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Postgres")
            .field("port", &self.port)
            .field("home", &self.home)
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

/// What to do after a server ended before it was ready.
enum Retry {
    Worthwhile,
    PortTaken,
    Never,
}

impl Retry {
    fn after(error: &PostgresError, wanted_port: u16) -> Self {
        let PostgresError::Ended { last_lines, .. } = error else {
            return Self::Never;
        };
        if last_lines.contains("could not bind") {
            return if wanted_port == 0 {
                Self::Worthwhile
            } else {
                Self::PortTaken
            };
        }
        // Processes of a server that was killed alone end by themselves, a moment later. A server
        // whose parent was gone before it wrote its number down is waited for with the next attempt.
        let ending = ["pre-existing shared memory block", "lock file \"postmaster.pid\""];
        if ending.iter().any(|words| last_lines.contains(words)) {
            return Self::Worthwhile;
        }
        Self::Never
    }
}

/// The named installation, else the one in the variable, else the best found for the data.
fn installed(named: Option<PathBuf>, data_major: Option<u32>) -> Result<Installation, PostgresError> {
    let named = named.or_else(installation::named_directory);
    installation::find(named.as_deref(), data_major)
}

async fn connection_works(options: &PgConnectOptions) {
    loop {
        if let Ok(Ok(connection)) = timeout(CONNECT_LIMIT, PgConnection::connect_with(options)).await {
            // The server has answered; how the farewell goes does not matter.
            let _ = connection.close().await;
            return;
        }
        sleep(CONNECT_PAUSE).await;
    }
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
