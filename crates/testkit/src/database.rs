//! A migrated database for one test.
//!
//! The first test that needs a set of services has a template made: a schema and a role per service, the mailbox's
//! tables, and the service's own. Every test gets a copy of it, which takes some 30 ms, and is dropped with its handle.
//! A template is known by the hash of its migrations, so a server that outlives a test run never serves an old one.

use std::{str::FromStr, time::Duration};

use host::database::{derived_password, schema};
use sha2::{Digest, Sha256};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio_util::sync::CancellationToken;

use crate::{background, server};

/// Connections of one pool. Tests of races need several; all tests together must stay below the server's limit.
const POOL_CONNECTIONS: u32 = 12;

/// The advisory lock under which roles and templates are made. Any number that nobody else uses.
const TEMPLATE_LOCK: i64 = 0x62_656c_6179;

/// The services whose roles exist in every test database, as they do in production.
const SERVICES: [&str; 7] = [
    "bff",
    "purchase-manager",
    "product-admin",
    "consolidator",
    "orders",
    "payments",
    "notifications",
];

/// A database for one test, dropped with this handle.
#[derive(Debug)]
pub struct Database {
    server: &'static str,
    name: String,
    service: &'static str,
    pool: PgPool,
}

impl Database {
    /// A database with the schema of one service: the mailbox's tables and those of `migrator`.
    ///
    /// # Panics
    /// When there is no server or a migration fails.
    pub async fn create(service: &'static str, migrator: &Migrator) -> Self {
        Self::of(&[(service, Some(migrator))]).await
    }

    /// A database that several services share, migrated in this order, as product-admin and consolidator do.
    /// [`Database::pool`] and [`Database::url`] are the first one's.
    ///
    /// # Panics
    /// As [`Database::create`].
    pub async fn create_shared(services: &[(&'static str, &Migrator)]) -> Self {
        let services: Vec<_> = services
            .iter()
            .map(|(service, migrator)| (*service, Some(*migrator)))
            .collect();
        Self::of(&services).await
    }

    /// A database with the empty schema `service`.
    ///
    /// # Panics
    /// When there is no server.
    pub async fn empty(service: &'static str) -> Self {
        Self::of(&[(service, None)]).await
    }

    async fn of(services: &[(&'static str, Option<&Migrator>)]) -> Self {
        let server = server::url().await;
        let template = template_name(services);
        let service = services
            .first()
            .expect("a database belongs to at least one service")
            .0;
        let name = format!("belay_test_{}", contracts::ids::fresh().simple());
        let mut admin = connect(server, "postgres").await;
        ensure_template(&mut admin, server, &template, services).await;
        execute(&mut admin, format!("create database {name} template {template}")).await;
        drop(admin.close().await);
        let pool = pool(server, &name, service);
        Self {
            server,
            name,
            service,
            pool,
        }
    }

    /// A pool of the service's role in the service's schema.
    #[must_use]
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// The same for another service that shares the database.
    #[must_use]
    pub fn pool_of(&self, service: &'static str) -> PgPool {
        pool(self.server, &self.name, service)
    }

    /// The database's address for the service's role: a service's `--database-url`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(self.service)
    }

    /// The same for another service that shares the database.
    #[must_use]
    pub fn url_of(&self, service: &str) -> String {
        service_options(self.server, &self.name, service)
            .to_url_lossy()
            .to_string()
    }

    /// How the service's role connects, with its schema as search path: what a relay takes.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        host::database::options(&self.url(), self.service).expect("the address is ours")
    }

    /// The database's address for the superuser.
    #[must_use]
    pub fn admin_url(&self) -> String {
        admin_options(self.server, &self.name).to_url_lossy().to_string()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server, std::mem::take(&mut self.name));
        // The server may be gone already, and a database that is left over disturbs no other test.
        background::block_on(async move {
            let options = admin_options(server, "postgres");
            let connected = PgConnection::connect_with(&options);
            if let Ok(Ok(mut admin)) = tokio::time::timeout(Duration::from_secs(5), connected).await {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "an identifier cannot be a parameter; the name is ours"
                )]
                let statement = sqlx::query(AssertSqlSafe(format!(
                    "drop database if exists {name} with (force)"
                )));
                drop(statement.execute(&mut admin).await);
                drop(admin.close().await);
            }
        });
    }
}

/// The role of a service.
#[must_use]
pub fn role(service: &str) -> String {
    format!("belay_{}", schema(service))
}

/// Named by what is in it.
fn template_name(services: &[(&'static str, Option<&Migrator>)]) -> String {
    let mut hash = Sha256::new();
    for (service, migrator) in services {
        hash.update(service.as_bytes());
        for migration in migrator
            .iter()
            .flat_map(|own| mailbox::MIGRATOR.iter().chain(own.iter()))
        {
            hash.update(migration.version.to_be_bytes());
            hash.update(&migration.checksum);
        }
        hash.update([0]);
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("belay_template_{hex}")
}

async fn ensure_template(
    admin: &mut PgConnection,
    server: &'static str,
    template: &str,
    services: &[(&'static str, Option<&Migrator>)],
) {
    execute(admin, format!("select pg_advisory_lock({TEMPLATE_LOCK})")).await;
    #[expect(
        clippy::disallowed_methods,
        reason = "the catalogue is asked, in the tests' own server"
    )]
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(template)
        .fetch_one(&mut *admin)
        .await
        .expect("the server answers about its databases");
    if !exists {
        // Under another name until it is complete, so that an interrupted run leaves no half template.
        let draft = format!("{template}_draft");
        execute(admin, format!("drop database if exists {draft} with (force)")).await;
        execute(admin, format!("create database {draft}")).await;
        // Every role before any table: a migration may grant a right to the role of another service.
        let own = services.iter().map(|(service, _)| *service);
        for service in SERVICES.into_iter().chain(own) {
            create_role(admin, server, service).await;
        }
        for (service, migrator) in services {
            prepare(server, &draft, service, *migrator).await;
        }
        execute(admin, format!("alter database {draft} rename to {template}")).await;
    }
    execute(admin, format!("select pg_advisory_unlock({TEMPLATE_LOCK})")).await;
}

/// Makes a service's role, which may log in.
async fn create_role(admin: &mut PgConnection, server: &'static str, service: &'static str) {
    let role = role(service);
    // Roles belong to the server: an earlier template or another program may have made this one.
    execute(
        admin,
        format!(
            "do $$ begin
                 if not exists (select from pg_roles where rolname = '{role}') then create role {role}; end if;
             end $$"
        ),
    )
    .await;
    execute(
        admin,
        format!(
            "alter role {role} login password '{}'",
            derived_password(server, &role)
        ),
    )
    .await;
}

/// Makes a service's schema, and brings its tables up to date as the service itself does when it starts.
async fn prepare(server: &'static str, database: &str, service: &'static str, migrator: Option<&Migrator>) {
    let (role, schema) = (role(service), schema(service));
    let mut inside = connect(server, database).await;
    execute(
        &mut inside,
        format!("create schema {schema} authorization {role}"),
    )
    .await;
    drop(inside.close().await);
    if let Some(migrator) = migrator {
        let url = service_options(server, database, service)
            .to_url_lossy()
            .to_string();
        let pool = host::database::open(&url, service, 2, migrator, &CancellationToken::new())
            .await
            .unwrap_or_else(|error| {
                panic!(
                    "the tables of {service} cannot be made: {:#}",
                    anyhow::Error::new(error)
                )
            });
        // A database with connections cannot be copied or renamed.
        pool.close().await;
    }
}

fn admin_options(server: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(server)
        .unwrap_or_else(|error| {
            panic!(
                "{} must be postgres://superuser:password@host:port: {error}",
                server::VARIABLE
            )
        })
        .database(database)
}

fn service_options(server: &str, database: &str, service: &str) -> PgConnectOptions {
    admin_options(server, database)
        .username(&role(service))
        .password(&derived_password(server, &role(service)))
}

fn pool(server: &str, database: &str, service: &str) -> PgPool {
    let url = service_options(server, database, service)
        .to_url_lossy()
        .to_string();
    let options = host::database::options(&url, service).expect("the address is ours");
    PgPoolOptions::new()
        .max_connections(POOL_CONNECTIONS)
        .acquire_timeout(Duration::from_secs(30))
        .connect_lazy_with(options)
}

async fn connect(server: &str, database: &str) -> PgConnection {
    PgConnection::connect_with(&admin_options(server, database))
        .await
        .unwrap_or_else(|error| panic!("the tests' PostgreSQL does not answer: {error}"))
}

async fn execute(connection: &mut PgConnection, statement: String) {
    #[expect(
        clippy::disallowed_methods,
        reason = "identifiers cannot be parameters; all of them are ours"
    )]
    let query = sqlx::query(AssertSqlSafe(statement));
    query
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("a test database cannot be prepared: {error}"));
}
