//! The whole system in one process: the parts, embedded or given, and every service on them.
//!
//! The services get addresses by the same command-line flags as in production and cannot tell the difference.

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use contracts::topics;
use embedded::{
    broker::Broker,
    issuer::Issuer,
    postgres::{Postgres, PostgresOptions},
    registry::Registry,
};
use host::Running;
use mailbox::KafkaSettings;
use saga::RetryPolicy;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::{
    data_dir::SystemInfo,
    provision::{checkpoint, provision},
};

/// The audience of the embedded issuer's tokens.
pub const AUDIENCE: &str = "belay";

/// Longest wait for the parts that stop after the services.
const PART_STOP: Duration = Duration::from_secs(3);

/// How long a part that is given may take to answer at the start.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// What PostgreSQL has to write when it is stopped is what came since its last checkpoint: often enough that Ctrl-C stays quick.
const CHECKPOINT_EVERY: &str = "60s";

/// What the system runs on. What is none is embedded.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the BFF listens.
    pub http: SocketAddr,
    /// An administrator's URL of a PostgreSQL server.
    pub database_url: Option<String>,
    /// Every database's name begins with it.
    pub database_prefix: String,
    /// Connections per service at most.
    pub database_connections: u32,
    /// Kafka's bootstrap servers.
    pub kafka: Option<String>,
    /// Further librdkafka properties, name=value, for a given broker.
    pub kafka_properties: Vec<String>,
    /// A schema registry.
    pub registry: Option<String>,
    /// A token issuer.
    pub issuer: Option<String>,
    /// The audience that tokens must name.
    pub audience: String,
    /// Data of the embedded PostgreSQL.
    pub postgres_dir: PathBuf,
    /// Key of the embedded issuer.
    pub issuer_dir: PathBuf,
    /// Pauses between re-sends of an unanswered command.
    pub retry: RetryPolicy,
}

/// The embedded parts, as far as they are.
#[derive(Debug, Default)]
struct Parts {
    postgres: Option<Postgres>,
    broker: Option<Broker>,
    registry: Option<Registry>,
    issuer: Option<Issuer>,
}

/// The running system.
#[derive(Debug)]
pub struct System {
    options: Options,
    parts: Parts,
    services: BTreeMap<&'static str, Running>,
    info: SystemInfo,
    shutdown: CancellationToken,
}

/// Services that the BFF reads from or that take commands: started before it, in parallel.
const PARTICIPANTS: [&str; 5] = [
    "purchase-manager",
    "product-admin",
    "consolidator",
    "orders",
    "payments",
];

impl System {
    /// Starts the parts that are not given, provisions the databases, and starts every service.
    ///
    /// # Errors
    /// What keeps a part or a service from starting. What was started by then is stopped again.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        let mut parts = Parts::default();
        let info = match start_parts(&options, &mut parts, &shutdown).await {
            Ok(info) => info,
            Err(error) => {
                parts.stop().await;
                return Err(error);
            }
        };
        let mut system = Self {
            options,
            parts,
            services: BTreeMap::new(),
            info,
            shutdown,
        };
        match system.start_services().await {
            Ok(()) => Ok(system),
            Err(error) => {
                system.stop().await;
                Err(error)
            }
        }
    }

    async fn start_services(&mut self) -> anyhow::Result<()> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let starts = PARTICIPANTS.map(|name| self.spawn_service(name, listen));
        let started = futures::future::join_all(starts).await;
        for running in started {
            self.add(running?);
        }
        let bff = self.spawn_service("bff", self.options.http).await?;
        self.info.http = format!("http://{}", bff.address());
        self.add(bff);
        Ok(())
    }

    fn add(&mut self, running: Running) {
        self.info.services.insert(
            running.service().to_owned(),
            format!("http://{}", running.address()),
        );
        self.services.insert(running.service(), running);
    }

    /// Where everything is.
    #[must_use]
    pub fn info(&self) -> &SystemInfo {
        &self.info
    }

    /// The embedded broker, if there is one.
    #[must_use]
    pub fn broker(&self) -> Option<&Broker> {
        self.parts.broker.as_ref()
    }

    /// Drains and stops one service.
    ///
    /// # Errors
    /// When it does not run, or had failed.
    pub async fn stop_service(&mut self, name: &str) -> anyhow::Result<()> {
        let running = self
            .services
            .remove(name)
            .with_context(|| format!("{name} does not run"))?;
        running.stop().await
    }

    /// Starts a service that was stopped, at the address where it listened before.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub async fn start_service(&mut self, name: &str) -> anyhow::Result<()> {
        let known = self
            .info
            .services
            .get(name)
            .with_context(|| format!("{name} is not a service"))?;
        let address = known.trim_start_matches("http://").parse()?;
        let running = self.spawn_service(name, address).await?;
        self.add(running);
        Ok(())
    }

    /// Waits until a service or the embedded PostgreSQL fails, and says which. Cancel-safe.
    pub async fn failed(&mut self) -> anyhow::Error {
        let ends = self.services.values_mut().map(|running| {
            Box::pin(async move {
                let name = running.service();
                match running.ended().await {
                    Ok(()) => anyhow::anyhow!("{name} ended by itself"),
                    Err(error) => error.context(format!("{name} failed")),
                }
            })
        });
        let first = futures::future::select_all(ends);
        match self.parts.postgres.as_mut() {
            // Both arms only wait; whichever comes first ends the system.
            Some(postgres) => tokio::select! {
                (error, ..) = first => error,
                error = postgres.ended() => error.into(),
            },
            None => first.await.0,
        }
    }

    /// Drains every service, then stops the embedded parts. Takes 5 s at most in all but the worst case.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let services = std::mem::take(&mut self.services);
        let stops = services.into_values().map(Running::stop);
        for result in futures::future::join_all(stops).await {
            if let Err(error) = result {
                tracing::warn!("while stopping: {error:#}");
            }
        }
        self.parts.stop().await;
    }

    async fn spawn_service(&self, name: &str, listen: SocketAddr) -> anyhow::Result<Running> {
        let flags = self.flags(name, listen)?;
        let shutdown = self.shutdown.child_token();
        match name {
            "purchase-manager" => {
                let mut config = purchase_manager::Config::try_parse_from(flags)?;
                config.retry = self.options.retry;
                purchase_manager::start(config, shutdown).await
            }
            "product-admin" => {
                product_admin::start(product_admin::Config::try_parse_from(flags)?, shutdown).await
            }
            "consolidator" => {
                consolidator::start(consolidator::Config::try_parse_from(flags)?, shutdown).await
            }
            "orders" => orders::start(orders::Config::try_parse_from(flags)?, shutdown).await,
            "payments" => payments::start(payments::Config::try_parse_from(flags)?, shutdown).await,
            "bff" => bff::start(bff::Config::try_parse_from(flags)?, shutdown).await,
            other => anyhow::bail!("{other} is not a service"),
        }
    }

    /// The command line that the service would have as a program of its own.
    fn flags(&self, name: &str, listen: SocketAddr) -> anyhow::Result<Vec<OsString>> {
        let database = self
            .info
            .databases
            .get(name)
            .with_context(|| format!("{name} has no database"))?;
        let mut flags = vec![
            name.to_owned(),
            format!("--database-url={database}"),
            format!("--database-connections={}", self.options.database_connections),
            format!("--kafka={}", self.info.kafka),
            format!("--registry={}", self.info.registry),
            format!("--http={listen}"),
        ];
        if self.parts.broker.is_some() {
            // The mock broker answers a fetch at the end of its wait only, and lets a group wait for its session timeout
            // when a member comes back.
            flags.push("--kafka-fetch-wait-ms=8".to_owned());
            flags.push("--kafka-property=session.timeout.ms=3000".to_owned());
            flags.push("--kafka-property=heartbeat.interval.ms=500".to_owned());
        }
        flags.extend(
            self.options
                .kafka_properties
                .iter()
                .map(|property| format!("--kafka-property={property}")),
        );
        if name == "bff" {
            flags.push(format!("--issuer={}", self.info.issuer));
            flags.push(format!("--audience={}", self.info.audience));
            for service in ["purchase-manager", "product-admin", "orders", "payments"] {
                let address = self
                    .info
                    .services
                    .get(service)
                    .with_context(|| format!("{service} does not run"))?;
                flags.push(format!("--{service}={address}"));
            }
        }
        Ok(flags.into_iter().map(OsString::from).collect())
    }
}

async fn start_parts(
    options: &Options,
    parts: &mut Parts,
    shutdown: &CancellationToken,
) -> anyhow::Result<SystemInfo> {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let admin_url = match &options.database_url {
        Some(url) => url.clone(),
        None => {
            let postgres = Postgres::start(PostgresOptions {
                settings: vec![("checkpoint_timeout".to_owned(), CHECKPOINT_EVERY.to_owned())],
                ..PostgresOptions::new(&options.postgres_dir)
            })
            .await?;
            parts.postgres.insert(postgres).url("postgres")
        }
    };
    let databases = provision(&admin_url, &options.database_prefix).await?;
    if parts.postgres.is_some() {
        // New databases are written out now, beside the start, rather than when somebody waits for the stop.
        tokio::spawn(checkpoint(admin_url));
    }
    let kafka = match &options.kafka {
        Some(bootstrap) => {
            probe_kafka(bootstrap, &options.kafka_properties).await?;
            bootstrap.clone()
        }
        None => {
            let declared: Vec<(&str, i32)> = topics::TOPICS.iter().map(|t| (t.name, t.partitions)).collect();
            let broker = Broker::start(&declared).context("the embedded broker does not start")?;
            parts.broker.insert(broker).bootstrap().to_owned()
        }
    };
    let registry = match &options.registry {
        Some(url) => {
            probe_registry(url).await?;
            url.clone()
        }
        None => {
            let pool = PgPoolOptions::new()
                .max_connections(3)
                .connect(&databases["registry"])
                .await?;
            let registry = Registry::start(pool, loopback, shutdown).await?;
            parts.registry.insert(registry).url().to_owned()
        }
    };
    let issuer = match &options.issuer {
        Some(url) => url.clone(),
        None => {
            let issuer = Issuer::start(&options.issuer_dir, loopback, shutdown).await?;
            parts.issuer.insert(issuer).url().to_owned()
        }
    };
    Ok(SystemInfo {
        pid: std::process::id(),
        http: String::new(),
        databases,
        kafka,
        registry,
        issuer,
        audience: options.audience.clone(),
        services: BTreeMap::new(),
    })
}

/// A service waits for a broker that is away. Whoever starts a system by hand wants to know at once.
async fn probe_kafka(bootstrap: &str, properties: &[String]) -> anyhow::Result<()> {
    let properties = properties.iter().filter_map(|p| p.split_once('='));
    let settings = KafkaSettings {
        bootstrap: bootstrap.to_owned(),
        fetch_wait_ms: 500,
        properties: properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    tokio::task::spawn_blocking(move || settings.probe(PROBE_LIMIT))
        .await?
        .with_context(|| {
            format!(
                "Kafka at {bootstrap} does not answer: start it, or leave --kafka out for the embedded broker"
            )
        })
}

/// The same for a schema registry.
async fn probe_registry(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(PROBE_LIMIT).build()?;
    let subjects = format!("{}/subjects", url.trim_end_matches('/'));
    let answer = client
        .get(&subjects)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    answer.map(|_| ()).with_context(|| {
        format!("the schema registry at {url} does not answer: start it, or leave --registry out for the embedded one")
    })
}

impl Parts {
    async fn stop(self) {
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
