//! The connections of one audit: one to each service's database, and one with the temporary tables.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use futures::future::try_join_all;
use sqlx::{Connection, PgConnection};

use super::SERVICES;

/// The services are on the same network as their databases; what takes longer is away.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The longest that one statement may take, in milliseconds: five minutes, for tables of many millions of rows.
const STATEMENT_LIMIT_MS: &str = "300000";

/// The connections of one audit. Dropping them ends the temporary tables too.
#[derive(Debug)]
pub(super) struct Connections {
    /// By service, in the order of [`SERVICES`].
    pub sources: Vec<(&'static str, PgConnection)>,
    /// To purchase-manager's database, for the temporary tables.
    pub target: PgConnection,
}

impl Connections {
    /// Opens all of them at once.
    ///
    /// # Errors
    /// When a database is not named or cannot be reached; the message names the service.
    pub async fn open(databases: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let sources = SERVICES.map(async |service| anyhow::Ok((service, connect(databases, service).await?)));
        Ok(Self {
            sources: try_join_all(sources).await?,
            target: connect(databases, "purchase-manager").await?,
        })
    }

    /// The connection to a service's database.
    pub fn of(&mut self, service: &str) -> &mut PgConnection {
        let found = self.sources.iter_mut().find(|(name, _)| *name == service);
        &mut found.expect("one was opened for every service").1
    }

    /// Says goodbye to the servers.
    pub async fn close(self) {
        // A server that is gone needs no goodbye.
        for (_, connection) in self.sources {
            drop(connection.close().await);
        }
        drop(self.target.close().await);
    }
}

async fn connect(databases: &BTreeMap<String, String>, service: &str) -> anyhow::Result<PgConnection> {
    let url = databases
        .get(service)
        .with_context(|| format!("the database of {service} is not known"))?;
    let options = host::database::options(url, service)?
        .options([("statement_timeout", STATEMENT_LIMIT_MS)])
        .application_name("belay audit");
    let connected = tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(&options)).await;
    let connected = connected.with_context(|| format!("the database of {service} does not answer"))?;
    connected.with_context(|| format!("the database of {service} cannot be reached"))
}
