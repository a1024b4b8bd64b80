//! What every service is told, from the command line or the environment.

use std::net::SocketAddr;

use mailbox::{KafkaSettings, codec::RegistryMode};

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
    /// A further librdkafka property, name=value; may be repeated.
    #[arg(long = "kafka-property", env = "BELAY_KAFKA_PROPERTIES", value_delimiter = ';', value_parser = parse_property, hide_env_values = true)]
    pub kafka_properties: Vec<(String, String)>,
    /// The schema registry: http://host:port
    #[arg(long, env = "BELAY_REGISTRY")]
    pub registry: String,
    /// Whether missing schemas are registered at start, or insisted upon.
    #[arg(long, env = "BELAY_REGISTRY_MODE", value_enum, default_value_t = RegistryModeArg::Register)]
    pub registry_mode: RegistryModeArg,
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

impl ServiceConfig {
    /// The broker's part of the settings.
    #[must_use]
    pub fn kafka_settings(&self) -> KafkaSettings {
        KafkaSettings {
            bootstrap: self.kafka.clone(),
            fetch_wait_ms: self.kafka_fetch_wait_ms,
            properties: self.kafka_properties.clone(),
        }
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        Some(_) | None => Err(format!(
            "`{text}` is not of the form name=value, such as security.protocol=ssl"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_a_name_and_a_value() {
        assert_eq!(
            parse_property("a.b=c=d"),
            Ok(("a.b".to_owned(), "c=d".to_owned()))
        );
        assert!(parse_property("nothing").is_err());
        assert!(parse_property("=x").is_err());
    }
}
