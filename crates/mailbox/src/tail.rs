//! Live messages for this process alone: every partition from its end, no group, no inbox, no offsets.
//!
//! What is missed while the process is away is missed: a tail feeds live subscribers, who begin with the current state.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    error::KafkaError,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Codec, KafkaSettings, Received,
    closing::Closing,
    consumer::open,
    kafka::{
        Context,
        stall::{Begins, StallWatch},
    },
};

/// How long the broker may take to say what partitions there are.
const METADATA_LIMIT: Duration = Duration::from_secs(2);
/// Pause before the topic is looked for again.
const ASSIGN_PAUSE: Duration = Duration::from_millis(300);

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
        let mut watch = StallWatch::new(Begins::AtTheEnd);
        while !shutdown.is_cancelled() {
            self.follow(&mut watch, &shutdown, &each).await?;
        }
        Ok(())
    }

    /// The same with one client: until `shutdown`, or until it stands still.
    async fn follow(
        &self,
        watch: &mut StallWatch,
        shutdown: &CancellationToken,
        each: &(impl Fn(Received) + Send + Sync),
    ) -> anyhow::Result<()> {
        let consumer = Arc::new(
            self.kafka
                .stream(&self.kafka.tail_consumer(&self.name), self.kafka.context())?,
        );
        watch.begin(&Arc::default());
        if !self.assign(&consumer, shutdown).await {
            return Ok(());
        }
        loop {
            // Cancel-safe: a message that was not received yet stays in the client's queue.
            let message = tokio::select! {
                () = shutdown.cancelled() => break,
                () = watch.stalled(&consumer) => {
                    tracing::warn!(topic = self.topic, "the broker has messages that do not come, so another client asks for them");
                    break;
                }
                message = consumer.recv() => message,
            };
            match message {
                Ok(message) => {
                    watch.received(message.topic(), message.partition(), message.offset());
                    match open(&self.codec, &message.detach()).await {
                        Ok(received) => each(received),
                        Err(fault) => {
                            tracing::debug!(topic = self.topic, "a live message is skipped: {fault}")
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(topic = self.topic, "the broker is away or not ready: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        Ok(())
    }

    /// Assigns every partition, once the topic is known. False at shutdown.
    async fn assign(
        &self,
        consumer: &Arc<Closing<StreamConsumer<Context>>>,
        shutdown: &CancellationToken,
    ) -> bool {
        let topic = self.topic;
        while !shutdown.is_cancelled() {
            let asked = consumer.clone();
            let partitions = tokio::task::spawn_blocking(move || {
                let metadata = asked.fetch_metadata(Some(topic), METADATA_LIMIT)?;
                Ok::<_, KafkaError>(metadata.topics().first().map_or(0, |t| t.partitions().len()))
            });
            match partitions.await.expect("asking for metadata does not panic") {
                Ok(count) if count > 0 && assign_all(consumer, topic, count).is_ok() => return true,
                Ok(_) => tracing::debug!(topic, "the topic is not there yet"),
                Err(error) => tracing::debug!(topic, "the broker is away: {error}"),
            }
            // Cancel-safe: nothing is under way while it waits.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(ASSIGN_PAUSE) => {}
            }
        }
        false
    }
}

fn assign_all(consumer: &StreamConsumer<Context>, topic: &str, partitions: usize) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        list.add_partition_offset(topic, partition, Offset::End)?;
    }
    consumer.assign(&list)
}
