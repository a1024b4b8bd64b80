//! Live messages for this process alone: every partition from its end, no group, no inbox, no offsets.
//!
//! What is missed while the process is away is missed: a tail feeds live subscribers, who begin with the current state.

use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
};
use tokio_util::sync::CancellationToken;

use crate::{Codec, KafkaSettings, Received, consumer::open};

/// Reads the ends of a topic.
#[derive(Debug)]
pub struct Tail {
    name: String,
    topic: &'static str,
    kafka: KafkaSettings,
    codec: Codec,
}

impl Tail {
    /// A tail of `topic`; `name` shows in the broker's logs only.
    #[must_use]
    pub fn new(name: &str, topic: &'static str, kafka: KafkaSettings, codec: Codec) -> Self {
        Self {
            name: name.to_owned(),
            topic,
            kafka,
            codec,
        }
    }

    /// Calls `each` for every message that arrives, until `shutdown`. Messages that cannot be read are left to the
    /// consumers that park them.
    ///
    /// # Errors
    /// Only when the client cannot be made from its settings.
    pub async fn run(
        &self,
        shutdown: CancellationToken,
        each: impl Fn(Received) + Send + Sync,
    ) -> anyhow::Result<()> {
        let consumer: StreamConsumer = self.kafka.tail_consumer(&self.name).create()?;
        let Some(consumer) = self.assign(consumer, &shutdown).await else {
            return Ok(());
        };
        loop {
            // Cancel-safe: a message that was not received yet stays in the client's queue.
            let message = tokio::select! {
                () = shutdown.cancelled() => break,
                message = consumer.recv() => message,
            };
            match message {
                Ok(message) => match open(&self.codec, &message.detach()).await {
                    Ok(received) => each(received),
                    Err(fault) => tracing::debug!(topic = self.topic, "a live message is skipped: {fault}"),
                },
                Err(error) => {
                    tracing::debug!(topic = self.topic, "the broker is away or not ready: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let _ = tokio::task::spawn_blocking(move || drop(consumer)).await;
        Ok(())
    }

    /// Assigns every partition, once the topic is known. `None` at shutdown.
    async fn assign(&self, consumer: StreamConsumer, shutdown: &CancellationToken) -> Option<StreamConsumer> {
        let topic = self.topic;
        let mut consumer = consumer;
        loop {
            let asked = tokio::task::spawn_blocking(move || {
                let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(2));
                let partitions = metadata.map(|m| m.topics().first().map_or(0, |t| t.partitions().len()));
                (consumer, partitions)
            });
            let (back, partitions) = asked.await.expect("asking for metadata does not panic");
            consumer = back;
            match partitions {
                Ok(count) if count > 0 => {
                    let mut list = TopicPartitionList::new();
                    for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
                        list.add_partition_offset(topic, partition, Offset::End).ok()?;
                    }
                    if consumer.assign(&list).is_ok() {
                        return Some(consumer);
                    }
                }
                Ok(_) => tracing::debug!(topic, "the topic is not there yet"),
                Err(error) => tracing::debug!(topic, "the broker is away: {error}"),
            }
            // Cancel-safe: nothing is under way while it waits.
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
        }
    }
}
