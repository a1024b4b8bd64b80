//! The whole system in one process: the parts, embedded or given, and every service on them.
//!
//! The services get addresses by the same command-line flags as in production and cannot tell the difference.

mod probe;

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use contracts::{calls, topics};
use embedded::{
    broker::Broker,
    issuer::Issuer,
    postgres::{Postgres, PostgresOptions},
    registry::Registry,
};
use host::{
    Running, ServiceConfig,
    config::OutboxArg,
    identity::{Known, PrivateKey},
    kafka::KafkaArgs,
    registry::RegistryArgs,
    service::Reads,
};
use mailbox::codec::RegistryMode;
use saga::RetryPolicy;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::{
    cdc::{self, Connector},
    data_dir::SystemInfo,
    provision::{checkpoint, provision},
};

/// The audience of the embedded issuer's tokens.
pub const AUDIENCE: &str = "belay";

/// Longest wait for the parts that stop after the services.
const PART_STOP: Duration = Duration::from_secs(3);

/// How long a fetch of those waits who only look: librdkafka's own default.
const FETCH_WAIT_MS: u32 = 500;

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
    /// How to log in at a given broker.
    pub connection: KafkaArgs,
    /// Who carries messages from the outboxes to Kafka. Capture needs a given broker.
    pub outbox: OutboxArg,
    /// Where the connectors of captured outboxes are written.
    pub cdc_dir: PathBuf,
    /// Services that log in at the broker otherwise than [`Options::connection`] says, by name: a broker may give each
    /// service its rights alone.
    pub logins: BTreeMap<&'static str, KafkaArgs>,
    /// A schema registry.
    pub registry: Option<String>,
    /// How to log in at a given registry.
    pub registry_connection: RegistryArgs,
    /// A token issuer.
    pub issuer: Option<String>,
    /// The audience that tokens must name.
    pub audience: String,
    /// A mail server.
    pub smtp: Option<String>,
    /// Where mails are written when no mail server is given.
    pub mail_dir: PathBuf,
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
    connectors: BTreeMap<String, Connector>,
    /// Of everyone who asks a service over HTTP. In memory alone, new with every start.
    keys: BTreeMap<&'static str, PrivateKey>,
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
        let keys: BTreeMap<_, _> = calls::callers()
            .map(|caller| (caller, PrivateKey::fresh()))
            .collect();
        let (mut info, connectors) = match Box::pin(start_parts(&options, &mut parts, &shutdown)).await {
            Ok(started) => started,
            Err(error) => {
                parts.stop().await;
                return Err(error);
            }
        };
        info.identity_key = keys[calls::COMMAND_LINE].reveal();
        let mut system = Self {
            options,
            parts,
            services: BTreeMap::new(),
            info,
            connectors,
            keys,
            shutdown,
        };
        match Box::pin(system.start_services()).await {
            Ok(()) => Ok(system),
            Err(error) => {
                system.stop().await;
                Err(error)
            }
        }
    }

    async fn start_services(&mut self) -> anyhow::Result<()> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let starts = PARTICIPANTS.map(|name| self.spawn_service(name, listen, &[]));
        let started = futures::future::join_all(starts).await;
        for running in started {
            self.add(running?);
        }
        // The edge and notifications each ask the other, so that one of them has to be known before it listens. The port is held
        // until the service itself takes it.
        let held = std::net::TcpListener::bind(listen).context("no port is free")?;
        let reserved = held.local_addr()?;
        self.info
            .services
            .insert("notifications".to_owned(), format!("http://{reserved}"));
        let bff = self.spawn_service("bff", self.options.http, &[]).await?;
        self.info.http = format!("http://{}", bff.address());
        self.add(bff);
        drop(held);
        let notifications = self.spawn_service("notifications", reserved, &[]).await?;
        self.add(notifications);
        Ok(())
    }

    fn add(&mut self, running: Running) {
        if let Some(address) = running.internal_address() {
            self.info.contacts = format!("http://{address}");
        }
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

    /// The connectors that have to run for messages to be sent, by service: none unless the outboxes are captured.
    #[must_use]
    pub fn connectors(&self) -> &BTreeMap<String, Connector> {
        &self.connectors
    }

    /// What every service reads at the broker, by its name.
    #[must_use]
    pub fn reads(&self) -> BTreeMap<&'static str, &[Reads]> {
        let services = self.services.iter();
        services.map(|(name, running)| (*name, running.reads())).collect()
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
        let running = self.spawn_service(name, address, &[]).await?;
        self.add(running);
        Ok(())
    }

    /// Starts one more instance of a service beside the one that the system knows, at a free port, with further flags of its
    /// own. Whoever asked for it stops it.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub async fn start_instance(&self, name: &str, further: &[&str]) -> anyhow::Result<Running> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        self.spawn_service(name, listen, further).await
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

    async fn spawn_service(
        &self,
        name: &str,
        listen: SocketAddr,
        further: &[&str],
    ) -> anyhow::Result<Running> {
        let mut flags = self.flags(name, listen)?;
        flags.extend(further.iter().map(OsString::from));
        let shutdown = self.shutdown.child_token();
        // Handed over rather than written into a command line: it may hold passwords.
        let connect = |service: &mut ServiceConfig| {
            if self.parts.broker.is_none() {
                let own = self.options.logins.get(name);
                service.connection = own.unwrap_or(&self.options.connection).clone();
            }
            if self.parts.registry.is_none() {
                service.registry_connection = self.options.registry_connection.clone();
            }
        };
        match name {
            "purchase-manager" => {
                let mut config = purchase_manager::Config::try_parse_from(flags)?;
                config.retry = self.options.retry;
                connect(&mut config.service);
                purchase_manager::start(config, shutdown).await
            }
            "product-admin" => {
                let mut config = product_admin::Config::try_parse_from(flags)?;
                connect(&mut config.service);
                product_admin::start(config, shutdown).await
            }
            "consolidator" => {
                let mut config = consolidator::Config::try_parse_from(flags)?;
                connect(&mut config.service);
                consolidator::start(config, shutdown).await
            }
            "orders" => {
                let mut config = orders::Config::try_parse_from(flags)?;
                connect(&mut config.service);
                orders::start(config, shutdown).await
            }
            "payments" => {
                let mut config = payments::Config::try_parse_from(flags)?;
                connect(&mut config.service);
                payments::start(config, shutdown).await
            }
            "notifications" => {
                let mut config = notifications::Config::try_parse_from(flags)?;
                connect(&mut config.service);
                notifications::start(config, shutdown).await
            }
            "bff" => {
                let mut config = bff::Config::try_parse_from(flags)?;
                connect(&mut config.service);
                bff::start(config, shutdown).await
            }
            other => anyhow::bail!("{other} is not a service"),
        }
    }

    fn address_of(&self, service: &str) -> anyhow::Result<&str> {
        let address = self.info.services.get(service);
        address
            .map(String::as_str)
            .with_context(|| format!("{service} does not run"))
    }

    /// The command line that the service would have as a program of its own.
    ///
    /// # Errors
    /// When it is no service, or one that it asks does not run.
    pub fn flags(&self, name: &str, listen: SocketAddr) -> anyhow::Result<Vec<OsString>> {
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
            format!("--outbox={}", self.options.outbox.name()),
            format!("--http={listen}"),
        ];
        flags.extend(self.keys.iter().map(|(caller, key)| {
            let known = Known {
                caller: (*caller).to_owned(),
                key: key.public(),
            };
            format!("--caller={known}")
        }));
        if let Some(key) = self.keys.get(name) {
            flags.push(format!("--identity-key={}", key.reveal()));
        }
        if self.parts.broker.is_some() {
            // The mock broker answers a fetch at the end of its wait only, and lets a group wait for its session timeout
            // when a member comes back.
            flags.push("--kafka-fetch-wait-ms=8".to_owned());
            flags.push("--kafka-property=session.timeout.ms=3000".to_owned());
            flags.push("--kafka-property=heartbeat.interval.ms=500".to_owned());
        }
        if name == "payments" {
            flags.push("--provider=simulated".to_owned());
        }
        if name == "bff" {
            flags.push(format!("--issuer={}", self.info.issuer));
            // This is a laptop: who runs it may look at everything.
            flags.push("--introspection=everyone".to_owned());
            // And load it as they like.
            flags.push("--max-open-purchases=1000000".to_owned());
            flags.push("--viewer-cost-limit=10000000".to_owned());
            flags.push("--viewer-cost-per-second=10000000".to_owned());
            flags.push(format!("--audience={}", self.info.audience));
            // Where it was before, because notifications knows it by that; a free port at first.
            let internal = self
                .info
                .contacts
                .strip_prefix("http://")
                .unwrap_or("127.0.0.1:0");
            flags.push(format!("--internal-http={internal}"));
            for service in [
                "purchase-manager",
                "product-admin",
                "orders",
                "payments",
                "consolidator",
                "notifications",
            ] {
                flags.push(format!("--{service}={}", self.address_of(service)?));
            }
        }
        if name == "notifications" {
            flags.push(format!("--contacts={}", self.info.contacts));
            flags.push(format!(
                "--purchase-manager={}",
                self.address_of("purchase-manager")?
            ));
            flags.push(match &self.options.smtp {
                Some(smtp) => format!("--smtp={smtp}"),
                None => format!("--mail-directory={}", self.options.mail_dir.display()),
            });
        }
        Ok(flags.into_iter().map(OsString::from).collect())
    }
}

async fn start_parts(
    options: &Options,
    parts: &mut Parts,
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
            parts.postgres.insert(postgres).url("postgres")
        }
    };
    let databases = provision(&admin_url, &options.database_prefix).await?;
    let connectors = if captured {
        cdc::make_directory(&options.cdc_dir).context("the connectors cannot be written")?;
        let connectors = cdc::prepare(&admin_url, &databases).await?;
        cdc::write(&options.cdc_dir, &connectors).context("the connectors cannot be written")?;
        connectors
    } else {
        cdc::release(&admin_url, &databases, parts.postgres.is_some()).await?;
        // Gone already unless the run before captured.
        drop(std::fs::remove_dir_all(&options.cdc_dir));
        BTreeMap::new()
    };
    if parts.postgres.is_some() {
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
            let declared: Vec<(&str, i32)> = topics::TOPICS.iter().map(|t| (t.name, t.partitions)).collect();
            let broker = Broker::start(&declared).context("the embedded broker does not start")?;
            parts.broker.insert(broker).bootstrap().to_owned()
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
