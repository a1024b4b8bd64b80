//! Databases and roles: one role per service, one database per service, but for product-admin and consolidator, which
//! share one with a schema each.

pub mod command;

use std::{collections::BTreeMap, str::FromStr};

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

/// A service, its role and its database (after the prefix).
struct Place {
    service: &'static str,
    role: &'static str,
    database: &'static str,
}

const PLACES: [Place; 8] = [
    Place {
        service: "bff",
        role: "belay_bff",
        database: "bff",
    },
    Place {
        service: "purchase-manager",
        role: "belay_purchase_manager",
        database: "purchase_manager",
    },
    // First of the two that share a database: the first one owns it.
    Place {
        service: "product-admin",
        role: "belay_product_admin",
        database: "inventory",
    },
    Place {
        service: "consolidator",
        role: "belay_consolidator",
        database: "inventory",
    },
    Place {
        service: "orders",
        role: "belay_orders",
        database: "orders",
    },
    Place {
        service: "payments",
        role: "belay_payments",
        database: "payments",
    },
    Place {
        service: "notifications",
        role: "belay_notifications",
        database: "notifications",
    },
    Place {
        service: "registry",
        role: "belay_registry",
        database: "registry",
    },
];

/// Makes what is missing on the server that `admin_url` administers, and gives the URL of each service's database with
/// its own role. Every name begins with `prefix`, so that several systems can share a server.
///
/// The administrator need not be a superuser: a role with CREATEROLE and CREATEDB can do it, such as Cloud SQL's `postgres`
/// (test `an_administrator_that_is_no_superuser_provisions_twice`). It becomes a member of every service's role.
///
/// The roles' passwords are derived from the administrator's, so that nothing has to be kept, and a second run gives the
/// same ones.
///
/// # Errors
/// When the server cannot be reached or the administrator may not make roles and databases.
pub async fn provision(admin_url: &str, prefix: &str) -> anyhow::Result<BTreeMap<String, String>> {
    provision_with(admin_url, prefix, |service| {
        host::database::derived_password(admin_url, role_of(service))
    })
    .await
}

/// Like [`provision`], with the password that `password` gives for each service. It needs no escaping in SQL or in a URL.
///
/// # Errors
/// Like [`provision`].
pub async fn provision_with(
    admin_url: &str,
    prefix: &str,
    password: impl Fn(&str) -> String,
) -> anyhow::Result<BTreeMap<String, String>> {
    if !prefix
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        || prefix.len() > 40
    {
        anyhow::bail!(
            "the database prefix `{prefix}` may hold up to 40 lower-case letters, digits and underscores only"
        );
    }
    let options = PgConnectOptions::from_str(admin_url)
        .context("the database URL cannot be read: write postgres://role:password@host:port/database")?;
    let mut admin = PgConnection::connect_with(&options).await.with_context(|| {
        format!(
            "PostgreSQL at {}:{} cannot be used",
            options.get_host(),
            options.get_port()
        )
    })?;
    // Two systems that start at once on one server would trip over each other's `create`.
    execute(
        &mut admin,
        "select pg_advisory_lock(hashtextextended('belay provision', 0))",
    )
    .await?;
    let mut urls = BTreeMap::new();
    let mut made: Vec<&str> = Vec::new();
    for place in &PLACES {
        let database = format!("{prefix}{}", place.database);
        let password = password(place.service);
        make_role(&mut admin, place.role, &password)
            .await
            .with_context(|| {
                format!(
                    "the role {} cannot be made: use an administrator's URL (CREATEROLE and CREATEDB)",
                    place.role
                )
            })?;
        if !made.contains(&place.database) {
            make_database(&mut admin, &database, place.role).await?;
            made.push(place.database);
        } else {
            let service_options = options.clone().database(&database);
            make_schema(&service_options, &database, place).await?;
        }
        let url = format!(
            "postgres://{}:{password}@{}:{}/{database}",
            place.role,
            options.get_host(),
            options.get_port()
        );
        urls.insert(place.service.to_owned(), url);
    }
    admin.close().await?;
    Ok(urls)
}

/// The role of the continuous audit.
pub const AUDIT_ROLE: &str = "belay_audit";

/// Makes the role of the audit on a server that [`provision_with`] has prepared: it may read what every service keeps, also in
/// tables that come later, and make temporary tables in purchase-manager's database. It may write nothing (test
/// `the_role_of_the_audit_reads_everything_and_writes_nothing`). Gives the URL of each service's database for it.
///
/// # Errors
/// Like [`provision_with`].
pub async fn provision_audit(
    admin_url: &str,
    prefix: &str,
    password: &str,
) -> anyhow::Result<BTreeMap<String, String>> {
    let options = PgConnectOptions::from_str(admin_url)
        .context("the database URL cannot be read: write postgres://role:password@host:port/database")?;
    let mut admin = PgConnection::connect_with(&options).await?;
    execute(
        &mut admin,
        "select pg_advisory_lock(hashtextextended('belay provision', 0))",
    )
    .await?;
    make_role(&mut admin, AUDIT_ROLE, password)
        .await
        .with_context(|| format!("the role {AUDIT_ROLE} cannot be made"))?;
    let mut urls = BTreeMap::new();
    for place in PLACES.iter().filter(|place| place.service != "registry") {
        let database = format!("{prefix}{}", place.database);
        let mut inside = PgConnection::connect_with(&options.clone().database(&database)).await?;
        let granted = grant_reading(&mut inside, &database, place).await;
        granted.with_context(|| format!("{AUDIT_ROLE} cannot be given the right to read {database}"))?;
        inside.close().await?;
        let url = format!(
            "postgres://{AUDIT_ROLE}:{password}@{}:{}/{database}",
            options.get_host(),
            options.get_port()
        );
        urls.insert(place.service.to_owned(), url);
    }
    admin.close().await?;
    Ok(urls)
}

/// What is there, and what the service will make.
async fn grant_reading(
    connection: &mut PgConnection,
    database: &str,
    place: &Place,
) -> Result<(), sqlx::Error> {
    let (schema, owner) = (host::database::schema(place.service), place.role);
    execute(
        connection,
        &format!("grant connect on database {database} to {AUDIT_ROLE}"),
    )
    .await?;
    for what in ["usage on schemas", "select on tables"] {
        let later = format!("alter default privileges for role {owner} grant {what} to {AUDIT_ROLE}");
        execute(connection, &later).await?;
    }
    if exists(
        connection,
        &format!("select from pg_namespace where nspname = '{schema}'"),
    )
    .await?
    {
        for what in ["usage on schema", "select on all tables in schema"] {
            execute(connection, &format!("grant {what} {schema} to {AUDIT_ROLE}")).await?;
        }
    }
    // The audit compares what it has read in temporary tables there.
    if place.service == "purchase-manager" {
        execute(
            connection,
            &format!("grant temporary on database {database} to {AUDIT_ROLE}"),
        )
        .await?;
    }
    Ok(())
}

fn role_of(service: &str) -> &'static str {
    let place = PLACES.iter().find(|place| place.service == service);
    place.expect("asked of the services in the list only").role
}

/// Has the server write out what it holds in memory. Failing changes nothing but how long the next stop takes.
pub async fn checkpoint(admin_url: String) {
    let Ok(mut admin) = PgConnection::connect(&admin_url).await else {
        return;
    };
    if let Err(error) = execute(&mut admin, "checkpoint").await {
        tracing::debug!("no checkpoint: {error}");
    }
}

async fn make_role(admin: &mut PgConnection, role: &str, password: &str) -> Result<(), sqlx::Error> {
    if !exists(admin, &format!("select from pg_roles where rolname = '{role}'")).await? {
        execute(admin, &format!("create role {role}")).await?;
    }
    execute(
        admin,
        &format!("alter role {role} login nocreatedb nocreaterole password '{password}'"),
    )
    .await?;
    // Only a superuser may even say `nosuperuser`, and only a superuser can have made such a role.
    let powerful = format!("select from pg_roles where rolname = '{role}' and rolsuper");
    if exists(admin, &powerful).await? {
        execute(admin, &format!("alter role {role} nosuperuser")).await?;
    }
    // An administrator that is no superuser gives databases, schemas and rights to tables only in the name of roles that it
    // belongs to. From PostgreSQL 16 on, having made a role is not yet that: it is the right to join.
    execute(admin, &format!("grant {role} to current_user")).await
}

async fn make_database(admin: &mut PgConnection, database: &str, owner: &str) -> Result<(), sqlx::Error> {
    if exists(
        admin,
        &format!("select from pg_database where datname = '{database}'"),
    )
    .await?
    {
        return Ok(());
    }
    execute(admin, &format!("create database {database} owner {owner}")).await?;
    execute(
        admin,
        &format!("revoke connect, temporary on database {database} from public"),
    )
    .await
}

/// The second service of a shared database: its role may connect and owns its schema, and nothing else.
async fn make_schema(options: &PgConnectOptions, database: &str, place: &Place) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect_with(options).await?;
    let (schema, role) = (host::database::schema(place.service), place.role);
    execute(
        &mut connection,
        &format!("grant connect on database {database} to {role}"),
    )
    .await?;
    execute(
        &mut connection,
        &format!("create schema if not exists {schema} authorization {role}"),
    )
    .await?;
    connection.close().await?;
    Ok(())
}

async fn exists(connection: &mut PgConnection, query: &str) -> Result<bool, sqlx::Error> {
    let query = format!("select exists ({query})");
    #[expect(
        clippy::disallowed_methods,
        reason = "catalogue look-ups by constant names of ours"
    )]
    let found = sqlx::query_scalar(AssertSqlSafe(query));
    found.fetch_one(connection).await
}

async fn execute(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "identifiers cannot be parameters; every one is a constant or checked above"
    )]
    let statement = sqlx::query(AssertSqlSafe(statement.to_owned()));
    statement.execute(connection).await?;
    Ok(())
}
