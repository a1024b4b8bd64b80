//! What every service is told, from the command line or the environment.

use std::net::SocketAddr;

use mailbox::{
    Carrier, KafkaSettings,
    codec::RegistryMode,
    retention::{self, Retention},
};

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
    /// How long what was handled is remembered.
    #[command(flatten)]
    pub retention: RetentionArgs,
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

/// How long what was handled is remembered, in days. The least of each is what duplicates, late commands and repeated requests need
/// to be known for (`mailbox::retention`; test `a_memory_that_is_too_short_is_refused`).
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct RetentionArgs {
    /// Days for which a handled message is known, so that it is not handled twice: more than the broker keeps it.
    #[arg(long, env = "BELAY_RETENTION_INBOX_DAYS", default_value_t = 14, value_parser = days(retention::LEAST_INBOX_DAYS))]
    pub retention_inbox_days: u32,
    /// Days for which it is known what was done for a command.
    #[arg(long, env = "BELAY_RETENTION_OPERATION_DAYS", default_value_t = 180, value_parser = days(retention::LEAST_OPERATION_DAYS))]
    pub retention_operation_days: u32,
    /// Days for which the idempotency key of an HTTP write is known.
    #[arg(long, env = "BELAY_RETENTION_REQUEST_DAYS", default_value_t = 7, value_parser = days(retention::LEAST_REQUEST_DAYS))]
    pub retention_request_days: u32,
    /// Days for which a parked message is kept after it was replayed or discarded.
    #[arg(long, env = "BELAY_RETENTION_PARKED_DAYS", default_value_t = 365, value_parser = days(retention::LEAST_PARKED_DAYS))]
    pub retention_parked_days: u32,
}

impl From<RetentionArgs> for Retention {
    fn from(args: RetentionArgs) -> Self {
        Self::new(
            args.retention_inbox_days,
            args.retention_operation_days,
            args.retention_request_days,
            args.retention_parked_days,
        )
    }
}

/// Days on the command line: `least` or more, and at most a hundred years.
#[must_use]
pub fn days(least: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(least)..=36_500)
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Sample {
        #[command(flatten)]
        retention: RetentionArgs,
    }

    #[test]
    fn a_memory_that_is_too_short_is_refused() {
        let default = Sample::try_parse_from(["sample"]).unwrap().retention;
        assert_eq!(Retention::from(default), Retention::default());
        for (flag, least) in [
            ("--retention-inbox-days", retention::LEAST_INBOX_DAYS),
            ("--retention-operation-days", retention::LEAST_OPERATION_DAYS),
            ("--retention-request-days", retention::LEAST_REQUEST_DAYS),
            ("--retention-parked-days", retention::LEAST_PARKED_DAYS),
        ] {
            let given = |days: u32| Sample::try_parse_from(["sample", flag, &days.to_string()]);
            assert!(given(least).is_ok(), "{flag} {least}");
            assert!(given(least - 1).is_err(), "{flag} {} was taken", least - 1);
        }
        // Nor does anything else bring it below.
        let least = Retention::new(0, 0, 0, 0);
        assert_eq!(least.inbox_days(), retention::LEAST_INBOX_DAYS);
        assert_eq!(least.operation_days(), retention::LEAST_OPERATION_DAYS);
        assert_eq!(least.request_days(), retention::LEAST_REQUEST_DAYS);
        assert_eq!(least.parked_days(), retention::LEAST_PARKED_DAYS);
    }
}
