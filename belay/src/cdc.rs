//! What `belay up --outbox cdc` adds: a publication and a replication slot for every outbox, and the configurations with
//! which Kafka Connect runs Debezium on them. The statements and the configuration are the files of `cdc/`, which are for
//! every other deployment too (docs/cdc.md).

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    str::FromStr,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// The role with which Debezium reads all outboxes.
pub const READER: &str = "belay_cdc";

const PUBLICATION: &str = include_str!("../../cdc/publication.sql");
const SLOT: &str = include_str!("../../cdc/slot.sql");
const CONNECTOR: &str = include_str!("../../cdc/connector.json");

/// Settings of an embedded PostgreSQL from whose log outboxes are captured: a slot and a sender for each service.
pub const SERVER_SETTINGS: [(&str, &str); 3] = [
    ("wal_level", "logical"),
    ("max_replication_slots", "20"),
    ("max_wal_senders", "20"),
];

/// One connector, as Kafka Connect takes it: by file in standalone mode, by `POST /connectors` otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connector {
    /// Its name, which is also that of its slot and its publication.
    pub name: String,
    /// Its configuration. Holds the reader's password.
    pub config: BTreeMap<String, String>,
}

/// Makes what is missing on the server that `admin_url` administers, for every service of `databases`, and gives their
/// connectors by service.
///
/// # Errors
/// When the server's log is not `logical`, or the administrator may not make replication slots.
pub async fn prepare(
    admin_url: &str,
    databases: &BTreeMap<String, String>,
) -> anyhow::Result<BTreeMap<String, Connector>> {
    let mut admin = PgConnection::connect(admin_url)
        .await
        .context("PostgreSQL cannot be used")?;
    let level = text(&mut admin, "select current_setting('wal_level')").await?;
    if level != "logical" {
        bail!(
            "PostgreSQL runs with wal_level = {level}, and --outbox cdc needs logical: set wal_level = logical there and restart it, or use --outbox relay"
        );
    }
    let password = host::database::derived_password(admin_url, READER);
    let known = format!("select count(*)::text from pg_roles where rolname = '{READER}'");
    if text(&mut admin, &known).await? == "0" {
        execute(&mut admin, format!("create role {READER}")).await?;
    }
    execute(
        &mut admin,
        format!("alter role {READER} login replication password '{password}'"),
    )
    .await
    .with_context(|| format!("the role {READER} cannot be made: use a superuser's URL"))?;
    admin.close().await?;
    let mut connectors = BTreeMap::new();
    for (service, url) in databases.iter().filter(|(service, _)| *service != "registry") {
        let connector = prepare_service(admin_url, service, url, &password)
            .await
            .with_context(|| format!("the outbox of {service} cannot be made ready for capture"))?;
        connectors.insert(service.clone(), connector);
    }
    Ok(connectors)
}

async fn prepare_service(
    admin_url: &str,
    service: &str,
    url: &str,
    password: &str,
) -> anyhow::Result<Connector> {
    let own = PgConnectOptions::from_str(url)?;
    let database = own
        .get_database()
        .context("the URL names no database")?
        .to_owned();
    let schema = host::database::schema(service);
    let mut admin =
        PgConnection::connect_with(&PgConnectOptions::from_str(admin_url)?.database(&database)).await?;
    execute(
        &mut admin,
        format!(
            "create schema if not exists {schema} authorization {}",
            own.get_username()
        ),
    )
    .await?;
    // The slot has to be there before the service begins, and the table before the publication.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(host::database::options(url, service)?)
        .await?;
    mailbox::migrate(&pool).await?;
    let slot = mailbox::capture::slot(&pool).await?.name;
    pool.close().await;
    for statements in [PUBLICATION, SLOT] {
        let statements = statements
            .replace(":'schema'", &format!("'{schema}'"))
            .replace(":'reader'", &format!("'{READER}'"));
        execute(&mut admin, statements).await?;
    }
    admin.close().await?;
    connector(&[
        ("slot", &slot),
        ("host", own.get_host()),
        ("port", &own.get_port().to_string()),
        ("user", READER),
        ("password", password),
        ("database", &database),
        ("schema", &schema),
    ])
}

/// Looks for slots that an earlier run with `--outbox cdc` has left, for which the server would keep its log for ever. Those of
/// a private server are dropped; of another's server a warning says so, for another system may still read them.
///
/// # Errors
/// When the server cannot be asked, or a slot is still read.
pub async fn release(
    admin_url: &str,
    databases: &BTreeMap<String, String>,
    is_private: bool,
) -> anyhow::Result<()> {
    let mut names = Vec::new();
    for (service, url) in databases {
        let options = PgConnectOptions::from_str(url)?;
        let database = options.get_database().context("the URL names no database")?;
        names.push(format!("{database}_{}", host::database::schema(service)));
    }
    let mut admin = PgConnection::connect(admin_url)
        .await
        .context("PostgreSQL cannot be used")?;
    #[expect(clippy::disallowed_methods, reason = "the catalogue is asked")]
    let left = sqlx::query_scalar::<_, String>(
        "select slot_name::text from pg_replication_slots where slot_name = any($1) order by 1",
    );
    for slot in left.bind(&names).fetch_all(&mut admin).await? {
        if is_private {
            execute(&mut admin, format!("select pg_drop_replication_slot('{slot}')")).await?;
            tracing::info!(
                slot,
                "the replication slot of an earlier run with --outbox cdc is dropped"
            );
        } else {
            tracing::warn!(
                slot,
                "an outbox was captured before, and PostgreSQL keeps its log for the slot: if no connector needs it, select pg_drop_replication_slot('{slot}')"
            );
        }
    }
    admin.close().await?;
    Ok(())
}

/// The template with its places filled in.
fn connector(places: &[(&str, &str)]) -> anyhow::Result<Connector> {
    let mut text = CONNECTOR.to_owned();
    for (place, value) in places {
        let quoted = serde_json::to_string(value)?;
        text = text.replace(&format!("@{place}@"), quoted.trim_matches('"'));
    }
    serde_json::from_str(&text).context("cdc/connector.json is not a connector")
}

/// Makes the directory of the connectors. Before there are slots, because its being there says that there may be some.
///
/// # Errors
/// What the file system refuses.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Writes the connectors, one file each, readable by their owner only.
///
/// # Errors
/// What the file system refuses.
pub fn write(directory: &Path, connectors: &BTreeMap<String, Connector>) -> io::Result<()> {
    for (service, connector) in connectors {
        let path = directory.join(format!("{service}.json"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(serde_json::to_string_pretty(connector)?.as_bytes())?;
    }
    Ok(())
}

async fn text(connection: &mut PgConnection, query: &str) -> Result<String, sqlx::Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "settings and catalogue by names of ours"
    )]
    let found = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
    found.fetch_one(connection).await
}

async fn execute(connection: &mut PgConnection, statements: String) -> Result<(), sqlx::Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "identifiers cannot be parameters; every one is ours or comes from a URL that we made"
    )]
    let statements = sqlx::raw_sql(AssertSqlSafe(statements));
    statements.execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contracts::{envelope::header, topics::TOPICS};

    use super::*;

    fn filled() -> Connector {
        let places = ["slot", "host", "port", "user", "database", "schema"].map(|place| (place, place));
        connector(&[&places[..], &[("password", "with \" and \\")]].concat()).unwrap()
    }

    #[test]
    fn every_place_of_the_template_is_filled_in() {
        let connector = filled();
        assert_eq!(connector.name, "slot");
        assert_eq!(connector.config["database.password"], "with \" and \\");
        let left: Vec<_> = connector
            .config
            .values()
            .filter(|value| value.contains('@'))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The relay and the connector write the same headers.
    #[test]
    fn every_header_of_the_contract_is_written() {
        let config = filled().config;
        let placed = &config["transforms.outbox.table.fields.additional.placement"];
        let placed = placed.split(',').filter_map(|place| place.split(':').nth(2));
        let others =
            ["transforms.header.headers", "transforms.content.header"].map(|key| config[key].as_str());
        let written: BTreeSet<&str> = placed.chain(others).collect();
        let expected = BTreeSet::from([
            header::SPEC_VERSION,
            header::ID,
            header::TYPE,
            header::SOURCE,
            header::SUBJECT,
            header::TIME,
            header::CONTENT_TYPE,
            header::TRACEPARENT,
            header::TRACESTATE,
            header::COMMAND_ID,
            header::CAUSATION_ID,
            header::REPLY_TO,
            header::SEQUENCE,
        ]);
        assert_eq!(written, expected);
        assert_eq!(
            config["transforms.version.static.value"],
            contracts::envelope::SPEC_VERSION
        );
        assert_eq!(
            config["transforms.content.value.literal"],
            contracts::envelope::CONTENT_TYPE
        );
    }

    /// Kafka Connect makes a topic that is missing, and a keyed one must have its partitions from the beginning.
    #[test]
    fn a_topic_that_connect_makes_has_the_partitions_of_the_declaration() {
        let partitions = &filled().config["topic.creation.default.partitions"];
        for topic in TOPICS {
            assert_eq!(&topic.partitions.to_string(), partitions, "{}", topic.name);
        }
    }
}
