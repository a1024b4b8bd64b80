//! Which partitions a consumer has: their changes are counted, what was taken away is forgotten, what was handled is committed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rdkafka::{
    ClientContext, Message as _, Offset, TopicPartitionList,
    client::OAuthToken,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer},
    message::OwnedMessage,
};

use crate::{backlog::Backlog, kafka::Context};

/// Counts changes of the assignment, so that the loop notices one that happened while it filled a batch.
#[derive(Debug)]
pub(super) struct Assignments {
    pub service: String,
    pub group: String,
    pub generation: Arc<AtomicU64>,
    pub login: Context,
    pub backlog: Backlog,
}

impl ClientContext for Assignments {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.login.generate_oauth_token(config)
    }

    fn stats(&self, statistics: rdkafka::Statistics) {
        self.backlog.counted(&statistics);
    }
}

impl ConsumerContext for Assignments {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        tracing::debug!("partitions move: {rebalance:?}");
        self.generation.fetch_add(1, Ordering::AcqRel);
        // A storm of them is work that is dropped and fetched again.
        metrics::counter!("belay_consumer_rebalances_total", "service" => self.service.clone(), "group" => self.group.clone())
            .increment(1);
    }
}

/// Forgets the messages of partitions that were taken away: their next owner gets them again.
pub(super) fn drop_revoked(consumer: &StreamConsumer<Assignments>, batch: &mut Vec<OwnedMessage>) {
    let Ok(assignment) = consumer.assignment() else {
        return;
    };
    batch.retain(|message| {
        assignment
            .find_partition(message.topic(), message.partition())
            .is_some()
    });
}

/// Has the client commit what comes after these messages, when it commits next.
pub(super) fn store_offsets(consumer: &StreamConsumer<Assignments>, batch: &[OwnedMessage]) {
    let mut offsets = TopicPartitionList::new();
    let mut highest: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for message in batch {
        let next = highest.entry((message.topic(), message.partition())).or_default();
        *next = (*next).max(message.offset() + 1);
    }
    for ((topic, partition), offset) in highest {
        let _ = offsets.add_partition_offset(topic, partition, Offset::Offset(offset));
    }
    if let Err(error) = consumer.store_offsets(&offsets) {
        // A partition was taken away in the meantime. Its next owner gets the messages again and knows them by the inbox.
        tracing::debug!("offsets were not stored: {error}");
    }
}
