//! A service on its way up ([`Host`]) and at work ([`Running`]).

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use mailbox::{
    Carrier, Codec, Handler, KafkaSettings, Outbox, backlog, capture,
    consumer::Consumer,
    relay::Relay,
    report,
    retention::{self, Retention},
    tail::Tail,
};
use sqlx::{PgPool, migrate::Migrator, postgres::PgConnectOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    ServiceConfig, database, http,
    identity::{Callers, Guard},
    parked,
};

/// How long a drain may take before what is left is cut off. Below the 5 s that `belay up` promises; nothing is lost by
/// the cut, because every piece of work is a transaction.
const DRAIN: Duration = Duration::from_secs(3);
/// How long the relay may take after that, and the pool after the relay.
const RELAY_DRAIN: Duration = Duration::from_secs(1);
const CLOSE: Duration = Duration::from_millis(500);

/// The version of every program of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A service that has its parts and is given its work.
#[derive(Debug)]
pub struct Host {
    service: &'static str,
    pool: PgPool,
    codec: Codec,
    outbox: Outbox,
    kafka: KafkaSettings,
    relay_options: PgConnectOptions,
    front: http::Front,
    /// Before everything that is not for the public.
    guard: Guard,
    address: SocketAddr,
    /// Where it answers other services alone.
    internal_address: Option<SocketAddr>,
    /// Asked for from outside.
    shutdown: CancellationToken,
    /// Tasks that take in work.
    intake: JoinSet<anyhow::Result<()>>,
    reads: Vec<Reads>,
    /// Before each message, when the service is to be slow.
    delay: Duration,
    retention: Retention,
}

/// What a service reads at the broker: a group and its topics, or a live feed under the name that the broker knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// The group's name.
    pub group: String,
    /// Whether offsets are kept.
    pub keeps_offsets: bool,
    /// Its topics.
    pub topics: Vec<&'static str>,
}

impl Host {
    /// Binds the address, answers probes, then waits for the database and the registry.
    ///
    /// `service` names the schema, the consumer group and the metrics.
    ///
    /// # Errors
    /// A taken port, a database that refuses, tables from a newer version, a schema that the registry refuses. Parts that
    /// are merely away are waited for, until `shutdown`.
    pub async fn start(
        service: &'static str,
        config: &ServiceConfig,
        migrator: &Migrator,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        crate::telemetry::metrics();
        if config.delay_ms > 0 {
            tracing::warn!(
                service,
                delay_ms = config.delay_ms,
                "slow on purpose: BELAY_DELAY_MS is for demonstrations"
            );
        }
        // Before anything is waited for: what cannot work is said at once.
        let kafka = config.kafka_settings()?;
        let listener = http::bind(config.http).await?;
        let address = listener.local_addr()?;
        let front = http::Front::default();
        let mut intake = JoinSet::new();
        intake.spawn(http::serve(listener, front.clone(), shutdown.clone()));
        front.waits_for("the database");
        let pool = database::open(
            &config.database_url,
            service,
            config.database_connections,
            migrator,
            &shutdown,
        )
        .await?;
        front.waits_for("the schema registry");
        let codec = Codec::start(&config.registry, config.registry_mode.into(), service, &shutdown).await?;
        codec.check_same_registry(&pool).await?;
        let outbox = Outbox::carried_by(config.outbox.into());
        if outbox.carrier() == Carrier::Capture {
            front.waits_for("the replication slot of its outbox");
            capture::begin(&pool, service, &shutdown).await?;
        }
        front.waits_for("the token for Kafka");
        kafka.log_in(&shutdown).await?;
        front.waits_for("its own preparations");
        Ok(Self {
            service,
            pool,
            codec,
            outbox,
            kafka,
            relay_options: database::options(&config.database_url, service)?,
            front,
            guard: Guard::new(Callers::new(service, &config.callers)),
            address,
            internal_address: None,
            shutdown,
            intake,
            reads: Vec::new(),
            delay: Duration::from_millis(config.delay_ms.into()),
            retention: config.retention.into(),
        })
    }

    /// The service's pool; its search path is the service's schema.
    #[must_use]
    pub fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// Encodes and decodes messages.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec.clone()
    }

    /// Writes the outbox and wakes its relay.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Adds the service's consumer group, named `belay.<service>`.
    pub fn consume(&mut self, topics: &[&'static str], handler: impl Handler) {
        self.add_consumer(
            &format!("belay.{}", self.service),
            topics,
            self.kafka.clone(),
            handler,
        );
    }

    /// Adds a consumer group that nobody waits for, named `belay.<service>.<part>`.
    pub fn consume_in_background(&mut self, part: &str, topics: &[&'static str], handler: impl Handler) {
        self.add_consumer(
            &format!("belay.{}.{part}", self.service),
            topics,
            self.kafka.relaxed(),
            handler,
        );
    }

    fn add_consumer(
        &mut self,
        group: &str,
        topics: &[&'static str],
        kafka: KafkaSettings,
        handler: impl Handler,
    ) {
        let consumer = Consumer::new(
            self.service,
            group,
            topics,
            kafka,
            self.pool(),
            self.codec(),
            self.outbox(),
            handler,
        )
        .with_delay(self.delay);
        self.reads.push(Reads {
            group: group.to_owned(),
            keeps_offsets: true,
            topics: topics.to_vec(),
        });
        self.intake.spawn(consumer.run(self.shutdown.clone()));
    }

    /// Adds a live feed of `topic` for this process alone.
    pub fn tail(&mut self, topic: &'static str, each: impl Fn(mailbox::Received) + Send + Sync + 'static) {
        let name = format!("belay.{}.live", self.service);
        let tail = Tail::new(&name, topic, self.kafka.clone(), self.codec());
        match self.reads.iter_mut().find(|reads| reads.group == name) {
            Some(reads) => reads.topics.push(topic),
            None => self.reads.push(Reads {
                group: name,
                keeps_offsets: false,
                topics: vec![topic],
            }),
        }
        let shutdown = self.shutdown.clone();
        self.intake.spawn(async move { tail.run(shutdown, each).await });
    }

    /// Adds a task. It ends soon after its token is cancelled; an error or a panic of it ends the service.
    pub fn spawn<F>(&mut self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.intake.spawn(task(self.shutdown.clone()));
    }

    /// Serves `routes`, and those of parked messages, at an address of their own, to known callers and never to the public.
    ///
    /// # Errors
    /// A taken port.
    pub async fn serve_internally(&mut self, address: SocketAddr, routes: Router) -> anyhow::Result<()> {
        let routes = http::limited_as_usual(routes.merge(self.operator_routes()));
        let routes = self.guard.before(routes);
        let listener = http::bind(address).await?;
        self.internal_address = Some(listener.local_addr()?);
        let shutdown = self.shutdown.clone();
        self.intake.spawn(async move {
            axum::serve(listener, routes)
                .with_graceful_shutdown(shutdown.cancelled_owned())
                .await?;
            Ok(())
        });
        Ok(())
    }

    /// What operators need of every service. Not for the public.
    fn operator_routes(&self) -> Router {
        parked::routes(self.service, self.pool(), self.codec(), self.outbox())
            .merge(crate::report::routes(self.service, self.pool()))
    }

    /// Opens the routes and those of parked messages to known callers, starts the relay, and lets the service work.
    #[must_use]
    pub fn run(self, routes: Router) -> Running {
        let guarded = self.guard.before(routes.merge(self.operator_routes()));
        self.run_in_public(guarded)
    }

    /// Like [`Host::run`], for a service that the public reaches: `routes` are all that it has at its address, and they have to
    /// know by themselves who asks.
    #[must_use]
    pub fn run_in_public(self, routes: Router) -> Running {
        let Self {
            service,
            pool,
            outbox,
            kafka,
            relay_options,
            front,
            address,
            internal_address,
            shutdown,
            mut intake,
            reads,
            retention,
            ..
        } = self;
        front.open(service, pool.clone(), routes);
        intake.spawn(backlog::watch(pool.clone(), service, shutdown.clone()));
        intake.spawn(retention::run(pool.clone(), service, retention, shutdown.clone()));
        let groups = reads
            .iter()
            .filter(|reads| reads.keeps_offsets)
            .flat_map(|reads| {
                reads
                    .topics
                    .iter()
                    .map(move |topic| (reads.group.clone(), *topic))
            })
            .collect();
        intake.spawn(report::keep(
            pool.clone(),
            service,
            VERSION,
            groups,
            shutdown.clone(),
        ));
        let relay_shutdown = CancellationToken::new();
        let carrier = outbox.carrier();
        let watched = pool.clone();
        let relay = Relay::new(service, relay_options, kafka, outbox);
        let relay_token = relay_shutdown.clone();
        let stop = shutdown.clone();
        let supervisor = tokio::spawn(async move {
            let mut relay_task = tokio::spawn(async move {
                match carrier {
                    Carrier::Relay => relay.run(relay_token).await,
                    Carrier::Capture => capture::watch(watched, service, relay_token).await,
                }
            });
            let mut relay_ended = false;
            let result = tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = &mut relay_task => {
                    relay_ended = true;
                    Err(anyhow::anyhow!("the carrier of {service}'s outbox ended by itself: {ended:?}"))
                }
                // Every task runs until shutdown, so one that ends earlier has failed.
                ended = intake.join_next() => match ended {
                    Some(Ok(result)) if !stop.is_cancelled() => {
                        Err(result.err().unwrap_or_else(|| anyhow::anyhow!("a task of {service} ended by itself")))
                    }
                    Some(Err(error)) => Err(anyhow::anyhow!("a task of {service} failed: {error}")),
                    Some(Ok(_)) | None => Ok(()),
                },
            };
            // Drain: stop the intake, finish what is under way, then let the relay send what that wrote.
            front.drain();
            stop.cancel();
            let drained =
                tokio::time::timeout(DRAIN, async { while intake.join_next().await.is_some() {} }).await;
            if drained.is_err() {
                tracing::warn!(service, "tasks are cut off: they did not finish within {DRAIN:?}");
                intake.abort_all();
            }
            relay_shutdown.cancel();
            if !relay_ended && tokio::time::timeout(RELAY_DRAIN, &mut relay_task).await.is_err() {
                relay_task.abort();
            }
            // A connection that hangs in a statement must not hold up the end.
            let _ = tokio::time::timeout(CLOSE, pool.close()).await;
            result
        });
        tracing::info!(service, %address, "ready");
        Running {
            service,
            address,
            internal_address,
            shutdown,
            supervisor: Some(supervisor),
            reads,
        }
    }
}

/// A service at work.
#[derive(Debug)]
pub struct Running {
    service: &'static str,
    address: SocketAddr,
    internal_address: Option<SocketAddr>,
    shutdown: CancellationToken,
    /// None once its end has been told.
    supervisor: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
    reads: Vec<Reads>,
}

impl Running {
    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// What it reads at the broker.
    #[must_use]
    pub fn reads(&self) -> &[Reads] {
        &self.reads
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers other services alone, if it does.
    #[must_use]
    pub fn internal_address(&self) -> Option<SocketAddr> {
        self.internal_address
    }

    /// Drains and waits for the end.
    ///
    /// # Errors
    /// What made a task fail, if one did and [`Running::ended`] has not said so already.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.ended().await
    }

    /// Waits until the service has ended, by shutdown or by failure. Cancel-safe; once it has answered, it answers at once
    /// and without error.
    ///
    /// # Errors
    /// What made a task fail.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        let Some(supervisor) = &mut self.supervisor else {
            return Ok(());
        };
        let result = supervisor.await;
        self.supervisor = None;
        match result {
            Ok(result) => result,
            Err(error) => Err(anyhow::anyhow!("{} failed: {error}", self.service)),
        }
    }
}
