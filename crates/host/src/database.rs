//! The pool, the schema, the migrations.

use std::{str::FromStr, time::Duration};

use sha2::{Digest, Sha256};
use sqlx::{
    AssertSqlSafe, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio_util::sync::CancellationToken;

/// The oldest PostgreSQL that is supported, as `server_version_num`.
const OLDEST_VERSION: i32 = 140_000;

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
/// # Errors
/// [`DatabaseError`]; an unreachable server is not an error but waited for, until `shutdown`.
pub async fn open(
    url: &str,
    service: &str,
    connections: u32,
    migrator: &Migrator,
    shutdown: &CancellationToken,
) -> Result<PgPool, DatabaseError> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .connect_lazy_with(options(url, service)?);
    let other = |source| DatabaseError::Other {
        service: service.to_owned(),
        source,
    };
    wait_until_reachable(&pool, service, shutdown).await?;
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

async fn wait_until_reachable(
    pool: &PgPool,
    service: &str,
    shutdown: &CancellationToken,
) -> Result<(), DatabaseError> {
    let mut pause = Duration::from_millis(200);
    loop {
        let error = match pool.acquire().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // 57P03: the server is starting up or shutting down. 53300: too many connections at the moment.
        if let Some(answer) = error.as_database_error()
            && !matches!(answer.code().as_deref(), Some("57P03" | "53300"))
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
        // Cancel-safe: nothing is under way while it waits.
        tokio::select! {
            () = shutdown.cancelled() => return Err(DatabaseError::Stopped),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
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
