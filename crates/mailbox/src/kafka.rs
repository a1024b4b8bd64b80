//! Clients of the broker: what every producer and consumer of ours has in common, and why.
//!
//! | module | job |
//! |---|---|
//! | [`security`] | TLS and SASL |
//! | [`context`] | what librdkafka calls back: tokens |
//! | [`token`], [`token_source`] | tokens for OAUTHBEARER, renewed in the background |
//! | [`stall`] | noticing a consumer that gets nothing although there is something |
//! | [`secret`] | a text that is not printed |

pub mod context;
pub mod secret;
pub mod security;
pub(crate) mod stall;
pub mod token;
pub mod token_source;

use std::time::Duration;

use contracts::traffic::ASKING;
use rdkafka::{
    ClientConfig,
    admin::AdminClient,
    client::ClientContext,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, StreamConsumer},
    error::KafkaError,
    producer::{FutureProducer, Producer as _},
};
use tokio_util::sync::CancellationToken;

use crate::closing::Closing;
pub use context::Context;
pub use secret::Secret;
pub use security::Security;
use token::TokenError;

/// How long a broker may leave a request unanswered before its connection is given up: some times what one takes that is well.
const SOCKET_TIMEOUT_MS: &str = "10000";
/// How long a broker may wait for its replicas: shorter than [`SOCKET_TIMEOUT_MS`].
const ACKNOWLEDGEMENT_TIMEOUT_MS: &str = "8000";
/// How long a probe waits for one answer.
const PROBE_PART: Duration = Duration::from_millis(500);

/// The broker cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unusable {
    reason: String,
}

impl From<KafkaError> for Unusable {
    fn from(error: KafkaError) -> Self {
        Self {
            reason: error.to_string(),
        }
    }
}

/// The relay's producer.
pub(crate) type RelayProducer = FutureProducer<Context>;

/// How to reach the broker.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port` pairs, separated by commas.
    pub bootstrap: String,
    /// How long a fetch waits at the broker for something to come, in milliseconds. Apache Kafka answers as soon as
    /// a message is there, so a long wait costs nothing; the mock broker answers at the end of the wait only.
    pub fetch_wait_ms: u32,
    /// What protects the connection.
    pub security: Security,
    /// Further librdkafka properties. They win over ours.
    pub properties: Vec<(String, String)>,
}

impl KafkaSettings {
    /// For a consumer that nobody waits for, such as the one of acknowledgements: its fetches may wait 20 times as long,
    /// up to half a second. Apache Kafka answers a fetch as soon as a message is there, so this costs nothing there; at the
    /// mock broker it saves most of what an idle consumer costs.
    #[must_use]
    pub fn relaxed(&self) -> Self {
        Self {
            fetch_wait_ms: (self.fetch_wait_ms * 20).min(500).max(self.fetch_wait_ms),
            ..self.clone()
        }
    }

    /// Asks the broker for its metadata, to know early whether it is there. Blocks for up to `limit`; a refused login or
    /// certificate is told at once.
    ///
    /// # Errors
    /// When it does not answer, or the settings are not librdkafka's.
    pub fn probe(&self, limit: Duration) -> Result<(), Unusable> {
        let consumer = self.asking(ASKING)?;
        let mut left = limit;
        loop {
            let part = left.min(PROBE_PART);
            let Err(error) = consumer.fetch_metadata(None, part) else {
                return Ok(());
            };
            left = left.saturating_sub(part);
            // What librdkafka has to say of it comes as events.
            while consumer.poll(Duration::ZERO).is_some() {}
            let trouble = consumer.context().trouble();
            if left.is_zero() || trouble.as_ref().is_some_and(|trouble| trouble.lasting) {
                return Err(Unusable {
                    reason: trouble.map_or_else(|| error.to_string(), |trouble| trouble.reason),
                });
            }
        }
    }

    /// Waits for the first token, when the login needs one, and has a task renew it until `shutdown`. To be called before
    /// the first client is made; without it, clients that need a token are refused by the broker until there is one.
    ///
    /// # Errors
    /// When the issuer refuses, or `shutdown` comes first. An issuer that is away is waited for.
    pub async fn log_in(&self, shutdown: &CancellationToken) -> Result<(), TokenError> {
        if let Some(tokens) = self.security.tokens() {
            tokens.first(shutdown).await?;
            let (tokens, shutdown) = (tokens.clone(), shutdown.clone());
            tokio::spawn(async move { tokens.keep_fresh(shutdown).await });
        }
        Ok(())
    }

    /// A client that asks about the cluster, its topics, and the offsets that `group` has committed.
    ///
    /// # Errors
    /// When the settings are not librdkafka's.
    pub fn asking(&self, group: &str) -> Result<Closing<BaseConsumer<Context>>, KafkaError> {
        let consumer: BaseConsumer<Context> = self.create(&self.tail_consumer(group), self.context())?;
        consumer.context().hand_over(consumer.client());
        Ok(Closing::new(consumer))
    }

    /// A client of the administration interface.
    ///
    /// # Errors
    /// When the settings are not librdkafka's.
    pub fn admin(&self) -> Result<Closing<AdminClient<Context>>, KafkaError> {
        let mut config = self.base();
        // It is a producer to librdkafka, which would warn about properties of consumers.
        config.set("log_level", "2");
        let admin: AdminClient<Context> = self.create(&self.with_properties(config), self.context())?;
        admin.inner().context().hand_over(admin.inner());
        Ok(Closing::new(admin))
    }

    /// The relay's producer, ready for use.
    pub(crate) fn relay_producer(&self) -> Result<RelayProducer, KafkaError> {
        let producer: RelayProducer = self.create(&self.producer(), self.context())?;
        self.context().hand_over(producer.client());
        Ok(producer)
    }

    /// A consumer with a context that hands over to [`Context`], ready for use.
    pub(crate) fn stream<C: ConsumerContext + 'static>(
        &self,
        config: &ClientConfig,
        context: C,
    ) -> Result<Closing<StreamConsumer<C>>, KafkaError> {
        let consumer: StreamConsumer<C> = self.create(config, context)?;
        self.context().hand_over(consumer.client());
        Ok(Closing::new(consumer))
    }

    fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
        &self,
        config: &ClientConfig,
        context: C,
    ) -> Result<T, KafkaError> {
        // Without OpenSSL's clean-up when the process exits: it would take away under the client's threads what they still use,
        // and whoever ends while a client closes would end by a signal.
        openssl_sys::init();
        config.create_with_context(context)
    }

    /// What librdkafka calls back.
    pub(crate) fn context(&self) -> Context {
        Context::new(self.security.tokens().cloned())
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("socket.keepalive.enable", "true")
            // An idle connection whose other end is gone shows with the next request. A purchase passes several of them one after
            // the other, so librdkafka's minute for each would be minutes for it. Held by the fault suite: "half-open connections
            // to Kafka".
            .set("socket.timeout.ms", SOCKET_TIMEOUT_MS);
        // A dead broker is found again within a second of its return.
        config.set("reconnect.backoff.max.ms", "1000");
        self.security.apply(&mut config);
        config
    }

    fn with_properties(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// The relay's producer: every message acknowledged by all in-sync replicas, none given up, no gap within a
    /// partition, keys to partitions as Java's producer (and so Debezium) does it.
    #[must_use]
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0")
            // A broker that waits for its replicas says so before the connection is given up.
            .set("request.timeout.ms", ACKNOWLEDGEMENT_TIMEOUT_MS)
            .set("partitioner", "murmur2_random")
            // The relay hands over whole batches; waiting for more would only add latency.
            .set("linger.ms", "0");
        self.with_properties(config)
    }

    /// A consumer in the group `group`, which stores offsets by hand after each commit of the database.
    #[must_use]
    pub fn group_consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", group)
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "2000")
            .set("queued.max.messages.kbytes", "16384");
        self.fetching(&mut config);
        self.with_properties(config)
    }

    /// A consumer without a group, which reads all partitions from their ends.
    #[must_use]
    pub fn tail_consumer(&self, name: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", name)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest")
            .set("queued.max.messages.kbytes", "16384");
        self.fetching(&mut config);
        self.with_properties(config)
    }

    fn fetching(&self, config: &mut ClientConfig) {
        config
            .set("fetch.wait.max.ms", self.fetch_wait_ms.to_string())
            .set("fetch.error.backoff.ms", "100")
            // Topics that the host creates a moment later are seen soon.
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("allow.auto.create.topics", "false");
    }
}

impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Properties may hold passwords: their names are enough.
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        formatter
            .debug_struct("KafkaSettings")
            .field("bootstrap", &self.bootstrap)
            .field("fetch_wait_ms", &self.fetch_wait_ms)
            .field("security", &self.security)
            .field("properties", &names)
            .finish()
    }
}

/// Seconds since 1970 by this machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a token's end is given to others by the wall clock; nothing of the business rests on it"
)]
fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_printed_without_what_properties_say() {
        let settings = KafkaSettings {
            bootstrap: "broker:9092".to_owned(),
            fetch_wait_ms: 500,
            security: Security::Plaintext,
            properties: vec![("sasl.password".to_owned(), "swordfish".to_owned())],
        };
        let printed = format!("{settings:?}");
        assert!(
            printed.contains("sasl.password") && !printed.contains("swordfish"),
            "{printed}"
        );
    }
}
