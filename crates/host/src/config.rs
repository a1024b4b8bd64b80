//! What every service is told, from the command line or the environment.

use std::net::SocketAddr;

use mailbox::{Carrier, KafkaSettings, codec::RegistryMode};

use crate::{
    identity::Known,
    kafka::{KafkaArgs, Refusal},
};

/// Settings that every service has. Each is a flag and an environment variable.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceConfig {
    /// PostgreSQL of this service: postgres://role:password@host:port/database
    #[arg(long, env = "BELAY_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Connections to PostgreSQL at most, beside the relay's own.
    #[arg(long, env = "BELAY_DATABASE_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=200))]
    pub database_connections: u32,
    /// Kafka's bootstrap servers: host:port[,host:port]
    #[arg(long, env = "BELAY_KAFKA")]
    pub kafka: String,
    /// How long a fetch waits at the broker for messages, in milliseconds.
    #[arg(long, env = "BELAY_KAFKA_FETCH_WAIT_MS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub kafka_fetch_wait_ms: u32,
    /// How to log in there.
    #[command(flatten)]
    pub connection: KafkaArgs,
    /// The schema registry: http://host:port
    #[arg(long, env = "BELAY_REGISTRY")]
    pub registry: String,
    /// Whether missing schemas are registered at start, or insisted upon.
    #[arg(long, env = "BELAY_REGISTRY_MODE", value_enum, default_value_t = RegistryModeArg::Register)]
    pub registry_mode: RegistryModeArg,
    /// Who carries messages from the outbox to Kafka: this service's own relay, or change data capture beside it (docs/cdc.md).
    #[arg(long, env = "BELAY_OUTBOX", value_enum, default_value_t = OutboxArg::Relay)]
    pub outbox: OutboxArg,
    /// Makes this service slow: it takes messages one at a time, each after this many milliseconds. To show how instances are
    /// added under a backlog (docs/quality-scenarios.md); 0 is off.
    #[arg(long, env = "BELAY_DELAY_MS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub delay_ms: u16,
    /// Who may ask this service over HTTP: CALLER=PUBLIC_KEY, separated by commas or repeated; `belay identity` makes them. Nobody
    /// else is let in.
    #[arg(
        long = "caller",
        env = "BELAY_CALLERS",
        value_delimiter = ',',
        required = true
    )]
    pub callers: Vec<Known>,
    /// Where this service listens for HTTP. Loopback by default; port 0 takes a free one.
    #[arg(long, env = "BELAY_HTTP", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
}

/// [`RegistryMode`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RegistryModeArg {
    /// Register what is missing.
    Register,
    /// Insist that everything is registered already.
    Check,
}

impl From<RegistryModeArg> for RegistryMode {
    fn from(mode: RegistryModeArg) -> Self {
        match mode {
            RegistryModeArg::Register => Self::Register,
            RegistryModeArg::Check => Self::Check,
        }
    }
}

/// [`Carrier`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutboxArg {
    /// The service's own relay.
    Relay,
    /// Debezium, from PostgreSQL's write-ahead log.
    Cdc,
}

impl OutboxArg {
    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Cdc => "cdc",
        }
    }
}

impl From<OutboxArg> for Carrier {
    fn from(outbox: OutboxArg) -> Self {
        match outbox {
            OutboxArg::Relay => Self::Relay,
            OutboxArg::Cdc => Self::Capture,
        }
    }
}

impl ServiceConfig {
    /// The broker's part of the settings.
    ///
    /// # Errors
    /// When the options of the connection do not fit together, with what to do.
    pub fn kafka_settings(&self) -> Result<KafkaSettings, Refusal> {
        self.connection.settings(&self.kafka, self.kafka_fetch_wait_ms)
    }
}
