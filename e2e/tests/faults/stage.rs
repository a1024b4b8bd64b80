//! PostgreSQL, Kafka, registry and issuer, and the wires between them and the services.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use anyhow::Context;
use embedded::{
    issuer::{Claims, Issuer},
    postgres::{Postgres, PostgresOptions, SUPERUSER},
    registry::Registry,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parts::{Kafka, KafkaOptions};
use sqlx::{Connection, PgConnection, postgres::PgPoolOptions};
use testkit::Proxy;
use tokio_util::sync::CancellationToken;

/// Longer than the longest run.
const TOKEN_LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// Everything that the services stand on. Services reach PostgreSQL and Kafka through a wire each, which can be cut, fall
/// silent, or lead to another server.
#[derive(Debug)]
pub struct Stage {
    /// The wire to PostgreSQL.
    pub database_wire: Proxy,
    /// The wire to Kafka.
    pub kafka_wire: Proxy,
    /// Every service's database, by way of the wire.
    pub databases: BTreeMap<String, String>,
    postgres: Option<Postgres>,
    kafka: Option<Kafka>,
    registry: Registry,
    issuer: Issuer,
    pub directory: tempfile::TempDir,
    _shutdown: CancellationToken,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(loopback(0))?.local_addr()?.port())
}

impl Stage {
    /// Starts everything.
    pub async fn start() -> anyhow::Result<Self> {
        // PostgreSQL's account must be able to pass when this runs as root.
        let directory = tempfile::Builder::new()
            .prefix("belay-faults-")
            .permissions(std::fs::Permissions::from_mode(0o711))
            .tempdir()?;
        let shutdown = CancellationToken::new();
        let postgres = Postgres::start(options(&directory)).await?;
        let database_wire = Proxy::start(loopback(postgres.port())).await;
        let admin_url = format!(
            "postgres://{SUPERUSER}:{}@{}/postgres?sslmode=disable",
            postgres.password(),
            database_wire.address()
        );
        let databases = belay::provision::provision(&admin_url, "faults_").await?;
        let kafka_wire = Proxy::start(loopback(1)).await;
        let kafka = broker(&kafka_wire).await?;
        let pool = PgPoolOptions::new()
            .max_connections(3)
            .connect(&databases["registry"])
            .await?;
        let registry = Registry::start(pool, loopback(0), &shutdown).await?;
        let issuer = Issuer::start(&directory.path().join("issuer"), loopback(0), &shutdown).await?;
        Ok(Self {
            database_wire,
            kafka_wire,
            databases,
            postgres: Some(postgres),
            kafka: Some(kafka),
            registry,
            issuer,
            directory,
            _shutdown: shutdown,
        })
    }

    pub fn registry(&self) -> &str {
        self.registry.url()
    }

    pub fn issuer(&self) -> &str {
        self.issuer.url()
    }

    /// Kafka's bootstrap servers, by way of the wire.
    pub fn bootstrap(&self) -> String {
        self.kafka_wire.address().to_string()
    }

    /// A token of somebody with a role.
    pub fn token(&self, name: &str, role: &str) -> anyhow::Result<String> {
        let claims = Claims {
            issuer: self.issuer.url().to_owned(),
            audience: belay::system::AUDIENCE.to_owned(),
            subject: name.to_owned(),
            name: name.to_owned(),
            email: format!("{name}@example.com"),
            roles: vec![role.to_owned()],
            lifetime: TOKEN_LIFETIME,
        };
        #[expect(clippy::disallowed_methods, reason = "a token is valid from now")]
        let now = chrono::Utc::now();
        embedded::issuer::mint(&self.directory.path().join("issuer"), &claims, now)
    }

    /// A connection to a service's database, in its schema.
    pub async fn database(&self, service: &str) -> anyhow::Result<PgConnection> {
        let options = host::database::options(&self.databases[service], service)?;
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// Ends the broker as a power cut would.
    pub async fn kill_broker(&mut self) {
        if let Some(kafka) = &mut self.kafka {
            kafka.kill().await;
        }
    }

    /// Starts the killed broker again, on its data.
    pub async fn restart_broker(&mut self) -> anyhow::Result<()> {
        self.kafka.as_mut().context("there is a broker")?.restart().await
    }

    /// Puts a broker in the old one's place that has never heard of anything.
    pub async fn forget_everything(&mut self) -> anyhow::Result<()> {
        if let Some(mut old) = self.kafka.take() {
            old.kill().await;
        }
        self.kafka_wire.cut();
        self.kafka = Some(broker(&self.kafka_wire).await?);
        Ok(())
    }

    /// Stops PostgreSQL as `pg_ctl stop -m immediate` does: no farewell, no checkpoint. Then it recovers.
    pub async fn restart_database(&mut self) -> anyhow::Result<()> {
        let mut postgres = self.postgres.take().context("there is a PostgreSQL")?;
        let file = self.directory.path().join("postgres/cluster/postmaster.pid");
        let text = std::fs::read_to_string(&file).context("PostgreSQL's process id cannot be read")?;
        let pid = text
            .lines()
            .next()
            .context("the file begins with it")?
            .trim()
            .parse()?;
        kill(Pid::from_raw(pid), Signal::SIGQUIT)?;
        let _ = postgres.ended().await;
        drop(postgres);
        let again = Postgres::start(options(&self.directory)).await?;
        self.database_wire.redirect(loopback(again.port()));
        self.postgres = Some(again);
        Ok(())
    }

    pub async fn stop(mut self) {
        if let Some(mut kafka) = self.kafka.take() {
            kafka.kill().await;
        }
        self.registry.stop().await;
        self.issuer.stop().await;
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await;
        }
    }
}

fn options(directory: &tempfile::TempDir) -> PostgresOptions {
    PostgresOptions {
        // Processes die here, not machines: what the kernel has is safe. So a commit has to have come that far.
        fsync: false,
        settings: [("max_connections", "300"), ("synchronous_commit", "on")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..PostgresOptions::new(directory.path().join("postgres"))
    }
}

async fn broker(wire: &Proxy) -> anyhow::Result<Kafka> {
    let port = free_port()?;
    wire.redirect(loopback(port));
    Box::pin(Kafka::start(KafkaOptions {
        plain_port: Some(port),
        advertised_port: Some(wire.address().port()),
        ..KafkaOptions::default()
    }))
    .await
}
