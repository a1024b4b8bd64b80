//! Client settings: what every producer and consumer of ours has in common, and why.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port` pairs, separated by commas.
    pub bootstrap: String,
    /// How long a fetch waits at the broker for something to come, in milliseconds. Apache Kafka answers as soon as
    /// a message is there, so a long wait costs nothing; the mock broker answers at the end of the wait only.
    pub fetch_wait_ms: u32,
    /// Further librdkafka properties, such as those of TLS and SASL. They win over ours.
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

    /// Asks the broker for its metadata, to know early whether it is there. Blocks for up to `limit`.
    ///
    /// # Errors
    /// When it does not answer, or the settings are not librdkafka's.
    pub fn probe(&self, limit: Duration) -> Result<(), KafkaError> {
        let consumer: BaseConsumer = self.tail_consumer("belay.probe").create()?;
        let answer = consumer.fetch_metadata(None, limit).map(|_| ());
        drop(crate::closing::Closing::new(consumer));
        answer
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("socket.keepalive.enable", "true");
        // A dead broker is found again within a second of its return.
        config.set("reconnect.backoff.max.ms", "1000");
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
