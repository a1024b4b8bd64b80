//! The whole system in one process: the parts, embedded or given, and every service on them.
//!
//! The services get addresses by the same command-line flags as in production and cannot tell the difference.

mod parts;
mod probe;

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use contracts::calls;
use embedded::broker::Broker;
use host::{
    Running, ServiceConfig,
    config::OutboxArg,
    identity::{Known, PrivateKey},
    kafka::KafkaArgs,
    registry::RegistryArgs,
    service::Reads,
};
use saga::RetryPolicy;
use tokio_util::sync::CancellationToken;

use self::parts::Parts;
use crate::{cdc::Connector, data_dir::SystemInfo};

/// The audience of the embedded issuer's tokens.
pub const AUDIENCE: &str = "belay";

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
        let (mut info, connectors) = match Box::pin(parts.start(&options, &shutdown)).await {
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
