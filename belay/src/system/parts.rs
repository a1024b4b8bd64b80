//! What the services run on: each part given, or embedded in this process.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Context;
use contracts::topics;
use embedded::{
    broker::Broker,
    issuer::Issuer,
    postgres::{Postgres, PostgresOptions},
    registry::Registry,
};
use host::config::OutboxArg;
use mailbox::codec::RegistryMode;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use super::{Options, probe};
use crate::{
    cdc::{self, Connector},
    data_dir::SystemInfo,
    provision::{checkpoint, provision},
};

/// Longest wait for the parts that stop after the services.
const PART_STOP: Duration = Duration::from_secs(3);

/// How long a fetch of those waits who only look: librdkafka's own default.
const FETCH_WAIT_MS: u32 = 500;

/// What PostgreSQL has to write when it is stopped is what came since its last checkpoint: often enough that Ctrl-C stays quick.
const CHECKPOINT_EVERY: &str = "60s";

/// The embedded parts, as far as they are.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub postgres: Option<Postgres>,
    pub broker: Option<Broker>,
    pub registry: Option<Registry>,
    issuer: Option<Issuer>,
}

impl Parts {
    /// Starts what is not given, asks a given broker and registry whether they will do, and provisions the databases. With captured
    /// outboxes the connectors are written, else what an earlier run left of them goes. When it fails, what was started is in
    /// `self`, to be stopped.
    ///
    /// What services alone can say (their addresses, the command line's key) is still empty in the answer.
    ///
    /// # Errors
    /// What keeps a part from starting or answering.
    pub async fn start(
        &mut self,
        options: &Options,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<(SystemInfo, BTreeMap<String, Connector>)> {
        let captured = options.outbox == OutboxArg::Cdc;
        if captured && options.kafka.is_none() {
            anyhow::bail!(
                "--outbox cdc needs a broker that Kafka Connect can reach and that outlives this process: give one with --kafka host:port, or leave --outbox out"
            );
        }
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let admin_url = match &options.database_url {
            Some(url) => url.clone(),
            None => {
                let mut settings = vec![("checkpoint_timeout", CHECKPOINT_EVERY)];
                // Once more after the last capture too: a server that has slots does not start with a plainer log.
                if captured || options.cdc_dir.exists() {
                    settings.extend(cdc::SERVER_SETTINGS);
                }
                let settings = settings
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()));
                let postgres = Postgres::start(PostgresOptions {
                    settings: settings.collect(),
                    ..PostgresOptions::new(&options.postgres_dir)
                })
                .await?;
                self.postgres.insert(postgres).url("postgres")
            }
        };
        let databases = provision(&admin_url, &options.database_prefix).await?;
        let connectors = if captured {
            cdc::make_directory(&options.cdc_dir).context("the connectors cannot be written")?;
            let connectors = cdc::prepare(&admin_url, &databases).await?;
            cdc::write(&options.cdc_dir, &connectors).context("the connectors cannot be written")?;
            connectors
        } else {
            cdc::release(&admin_url, &databases, self.postgres.is_some()).await?;
            // Gone already unless the run before captured.
            drop(std::fs::remove_dir_all(&options.cdc_dir));
            BTreeMap::new()
        };
        if self.postgres.is_some() {
            // New databases are written out now, beside the start, rather than when somebody waits for the stop.
            tokio::spawn(checkpoint(admin_url));
        }
        let kafka = match &options.kafka {
            Some(bootstrap) => {
                let settings = options.connection.settings(bootstrap, FETCH_WAIT_MS)?;
                crate::topics::prepare(settings, probe::LIMIT).await?;
                bootstrap.clone()
            }
            None => {
                let declared: Vec<(&str, i32)> =
                    topics::TOPICS.iter().map(|t| (t.name, t.partitions)).collect();
                let broker = Broker::start(&declared).context("the embedded broker does not start")?;
                self.broker.insert(broker).bootstrap().to_owned()
            }
        };
        let registry = match &options.registry {
            Some(url) => {
                let settings = options
                    .registry_connection
                    .settings(url, RegistryMode::Register)?;
                probe::registry(&settings).await?;
                url.clone()
            }
            None => {
                let pool = PgPoolOptions::new()
                    .max_connections(3)
                    .connect(&databases["registry"])
                    .await?;
                let registry = Registry::start(pool, loopback, shutdown).await?;
                self.registry.insert(registry).url().to_owned()
            }
        };
        let issuer = match &options.issuer {
            Some(url) => url.clone(),
            None => {
                let issuer = Issuer::start(&options.issuer_dir, loopback, shutdown).await?;
                self.issuer.insert(issuer).url().to_owned()
            }
        };
        let info = SystemInfo {
            pid: std::process::id(),
            http: String::new(),
            databases,
            kafka,
            registry,
            issuer,
            audience: options.audience.clone(),
            contacts: String::new(),
            mail: options
                .smtp
                .clone()
                .unwrap_or_else(|| options.mail_dir.display().to_string()),
            services: BTreeMap::new(),
            identity_key: String::new(),
        };
        Ok((info, connectors))
    }

    /// Stops what runs, the database last.
    pub async fn stop(self) {
        if let Some(registry) = self.registry {
            let _ = tokio::time::timeout(PART_STOP, registry.stop()).await;
        }
        if let Some(issuer) = self.issuer {
            let _ = tokio::time::timeout(PART_STOP, issuer.stop()).await;
        }
        // Ending the mock cluster joins its threads.
        let _ = tokio::task::spawn_blocking(move || drop(self.broker)).await;
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
    }
}
