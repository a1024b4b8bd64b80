//! The pool, the schema, the migrations.

use std::{str::FromStr, time::Duration};

use sha2::{Digest, Sha256};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio_util::sync::CancellationToken;

/// The oldest PostgreSQL that is supported, as `server_version_num`.
const OLDEST_VERSION: i32 = 140_000;

/// How long a session may idle in a transaction before the server ends it. Nothing of ours does: whoever works in a transaction
/// gives up after half of it (`mailbox::limit`). A process that hangs would keep its locks, and keep every outbox of the server
/// from being vacuumed. Tests: `bloat::…` of the mailbox.
pub const IDLE_IN_TRANSACTION: &str = "60s";

/// How long a connection that is given back to the pool may take to answer. One that does not has fallen silent, and would keep
/// its place until TCP gives up.
///
/// The pool asks once more by itself, without a limit: a connection that falls silent between the two answers keeps its place all
/// the same, until TCP gives up. What goes by `mailbox::limit::on_connection` (consumers, timers, most background tasks) has a limit for
/// that too. HTTP handlers and `mailbox::limit::within` leave it to the pool, which loses one of its places then.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL is malformed.
    #[error("the database URL cannot be read: write postgres://role:password@host:port/database")]
    Url(#[source] sqlx::Error),
    /// The server answered, and said no: wrong password, no such database.
    #[error("the database refuses {service}: {reason}")]
    Refused {
        /// The service that asked.
        service: String,
        /// The server's words.
        reason: String,
    },
    /// The server is too old.
    #[error("PostgreSQL {version} is too old: version 14 or newer is needed")]
    TooOld {
        /// What the server says of itself.
        version: String,
    },
    /// The tables come from a newer program.
    #[error(
        "the tables of {service} come from a newer version of this program ({source}): start that version, or restore a backup"
    )]
    Newer {
        /// The service.
        service: String,
        /// What the migrator said.
        source: sqlx::migrate::MigrateError,
    },
    /// A migration failed.
    #[error("the tables of {service} could not be brought up to date")]
    Migration {
        /// The service.
        service: String,
        /// What the migrator said.
        source: sqlx::migrate::MigrateError,
    },
    /// Any other answer of the database.
    #[error("the database failed while {service} started")]
    Other {
        /// The service.
        service: String,
        /// What the driver said.
        source: sqlx::Error,
    },
    /// Shutdown was asked for while the database was away.
    #[error("stopped while waiting for the database")]
    Stopped,
}

/// Connection options with the service's schema as the whole search path, so that no statement names a schema.
///
/// # Errors
/// [`DatabaseError::Url`].
pub fn options(url: &str, service: &str) -> Result<PgConnectOptions, DatabaseError> {
    let options = PgConnectOptions::from_str(url).map_err(DatabaseError::Url)?;
    let search_path = schema(service);
    Ok(options
        .options([
            ("search_path", search_path.as_str()),
            // Every statement of a service is meant to go by an index. A table that has grown since its last analyze would
            // have the planner read it whole, thousands of times a second.
            ("enable_seqscan", "off"),
            // Compiling a statement takes hundreds of milliseconds, which pays for reports, not for statements of one.
            ("jit", "off"),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
        ])
        .application_name(&format!("belay {service}")))
}

/// The schema of a service: its name with underscores.
#[must_use]
pub fn schema(service: &str) -> String {
    service.replace('-', "_")
}

/// The password of a role where nobody has given it one: a function of the administrator's credentials, so that nothing has
/// to be kept, and whoever administers the server comes to the same. Hexadecimal, so it needs no quoting anywhere.
#[must_use]
pub fn derived_password(admin_url: &str, role: &str) -> String {
    let credentials = admin_url.split('@').next().unwrap_or_default();
    let digest = Sha256::digest(format!("{role} {credentials}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Connects, waits for a server that is away, and brings the service's tables up to date.
///
/// Ends at once with [`DatabaseError::Stopped`] when `shutdown` comes, whatever it waits for then: an unanswered connection
/// attempt, a statement, a lock. A migration that is cut off so is rolled back by the server, and made by the next start.
/// Tests: `tests::a_shutdown_ends_the_wait_for_…`.
///
/// # Errors
/// [`DatabaseError`]; an unreachable server is not an error but waited for, until `shutdown`.
pub async fn open(
    url: &str,
    service: &str,
    connections: u32,
    migrator: &Migrator,
    shutdown: &CancellationToken,
) -> Result<PgPool, DatabaseError> {
    let opened = open_whatever_it_takes(url, service, connections, migrator);
    shutdown
        .run_until_cancelled(opened)
        .await
        .unwrap_or(Err(DatabaseError::Stopped))
}

async fn open_whatever_it_takes(
    url: &str,
    service: &str,
    connections: u32,
    migrator: &Migrator,
) -> Result<PgPool, DatabaseError> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .after_release(|connection, _| Box::pin(answers(connection)))
        .connect_lazy_with(options(url, service)?);
    let other = |source| DatabaseError::Other {
        service: service.to_owned(),
        source,
    };
    wait_until_reachable(&pool, service).await?;
    let version = sqlx::query!(
        r#"select current_setting('server_version_num')::integer as "number!", current_setting('server_version') as "name!""#
    )
    .fetch_one(&pool)
    .await
    .map_err(other)?;
    if version.number < OLDEST_VERSION {
        return Err(DatabaseError::TooOld {
            version: version.name,
        });
    }
    create_schema(&pool, service).await.map_err(other)?;
    let migration = |source| match source {
        sqlx::migrate::MigrateError::VersionMissing(_) => DatabaseError::Newer {
            service: service.to_owned(),
            source,
        },
        source => DatabaseError::Migration {
            service: service.to_owned(),
            source,
        },
    };
    mailbox::migrate(&pool).await.map_err(migration)?;
    migrator.run(&pool).await.map_err(migration)?;
    Ok(pool)
}

/// Asks a connection whose work was given up, or is done, whether it is still there. An error has the pool close it without a
/// word. Test: `a_request_to_a_silent_database_is_given_up_and_the_next_one_answered`.
async fn answers(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(PING_LIMIT, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(sqlx::Error::Protocol(
            "the connection has fallen silent".to_owned(),
        )),
    }
}

async fn wait_until_reachable(pool: &PgPool, service: &str) -> Result<(), DatabaseError> {
    let mut pause = Duration::from_millis(200);
    loop {
        let error = match pool.acquire().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if let Some(answer) = error.as_database_error()
            && !answer.code().is_some_and(|state| speaks_of_itself(&state))
        {
            return Err(DatabaseError::Refused {
                service: service.to_owned(),
                reason: answer.message().to_owned(),
            });
        }
        tracing::warn!(
            service,
            retry_in_ms = pause.as_millis(),
            "the database is away: {error}"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// SQLSTATEs by which a server speaks of its own state and not of who asks: it is away in all but name. 57P01: it is being
/// shut down. 57P02: it crashed and recovers. 57P03: it is starting up or shutting down. 53300: too many connections at the
/// moment. (PostgreSQL 15, appendix A.)
fn speaks_of_itself(state: &str) -> bool {
    matches!(state, "57P01" | "57P02" | "57P03" | "53300")
}

/// Creates the schema where the role may; where an administrator made it beforehand, the role needs no such right.
async fn create_schema(pool: &PgPool, service: &str) -> Result<(), sqlx::Error> {
    let name = schema(service);
    let exists = sqlx::query_scalar!(
        r#"select exists (select from pg_namespace where nspname = $1) as "exists!""#,
        name
    )
    .fetch_one(pool)
    .await?;
    if !exists {
        #[expect(
            clippy::disallowed_methods,
            reason = "an identifier cannot be a parameter; the name is a constant of ours"
        )]
        let statement = sqlx::query(AssertSqlSafe(format!("create schema if not exists {name}")));
        statement.execute(pool).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::atomic::AtomicUsize, sync::atomic::Ordering};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn migrator() -> Migrator {
        Migrator::with_migrations(Vec::new())
    }

    fn url(address: SocketAddr) -> String {
        format!("postgres://orders:secret@{address}/orders?sslmode=disable")
    }

    async fn opened_and_stopped(address: SocketAddr, reached: impl AsyncFn() -> bool) -> DatabaseError {
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let opening =
            tokio::spawn(async move { open(&url(address), "orders", 1, &migrator(), &token).await });
        testkit::eventually("it tries to connect", LIMIT, async || {
            reached().await.then_some(())
        })
        .await;
        shutdown.cancel();
        tokio::time::timeout(LIMIT / 2, opening)
            .await
            .expect("it ends at once, not after the ten seconds of a connection attempt")
            .unwrap()
            .unwrap_err()
    }

    #[tokio::test]
    async fn a_shutdown_ends_the_wait_for_a_server_that_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Accepts, and says nothing.
        let silent = tokio::sync::Mutex::new(None);
        let reached = async || {
            let mut kept = silent.lock().await;
            if kept.is_none() {
                *kept = listener.accept().await.ok();
            }
            kept.is_some()
        };
        let error = opened_and_stopped(address, reached).await;
        assert!(matches!(error, DatabaseError::Stopped), "{error}");
    }

    /// A server that is shut down, recovers or starts says so with an error, and is away all the same.
    #[tokio::test]
    async fn a_server_that_is_not_ready_is_waited_for() {
        for state in ["57P01", "57P02", "57P03", "53300"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let tries = std::sync::Arc::new(AtomicUsize::new(0));
            let counted = tries.clone();
            let server = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream.write_all(&error_response(state)).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            });
            let error = opened_and_stopped(address, async || tries.load(Ordering::SeqCst) >= 2).await;
            assert!(matches!(error, DatabaseError::Stopped), "{state}: {error}");
            server.abort();
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&error_response("28P01")).await;
        });
        let error = open(&url(address), "orders", 1, &migrator(), &CancellationToken::new())
            .await
            .unwrap_err();
        assert!(matches!(error, DatabaseError::Refused { .. }), "{error}");
    }

    /// PostgreSQL's ErrorResponse: `E`, the length, and fields that end in a zero byte each.
    fn error_response(state: &str) -> Vec<u8> {
        let fields = format!("SFATAL\0VFATAL\0C{state}\0Mnot now\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap();
        [b"E", length.to_be_bytes().as_slice(), fields.as_bytes()].concat()
    }
}
