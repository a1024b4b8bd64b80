//! Noticing a consumer that gets nothing although the broker has something for it.
//!
//! librdkafka keeps the highest leader epoch that it knew of each partition and takes a lower one for older news
//! (<https://github.com/confluentinc/librdkafka/issues/4898>). A broker that was set up anew and a topic that was deleted and made
//! again begin with the lowest, so a client that lived through it stands still for ever. The way out is a new client.
//! Held by the fault suite: "a broker that forgot everything".
//!
//! While anything comes nobody looks: a topic that alone was made again, beside others that go on, is not noticed before they
//! rest. And a new client is tried once for what is there: what it does not get either (a transaction's marks, for one, are
//! counted by the broker and given to nobody) is no reason for another one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    Offset,
    consumer::{Consumer, ConsumerContext, StreamConsumer},
    error::KafkaError,
};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::closing::Closing;

/// Between two looks, which are taken only while nothing comes.
const LOOK: Duration = Duration::from_secs(10);
/// How long the broker may take for all answers of a look.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A number for each partition of each topic.
type Offsets = HashMap<String, HashMap<i32, i64>>;

/// How far one partition reaches at the broker, and where a consumer that knows nothing of it begins.
#[derive(Debug, Clone)]
struct Reach {
    topic: String,
    partition: i32,
    begin: i64,
    low: i64,
    high: i64,
}

/// Where a consumer begins in a partition of which it has had nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// Where its group has committed, or at the first record.
    AtItsOffsets,
    /// After the last record.
    AtTheEnd,
}

/// What a consumer has received, to be compared with what the broker has. It outlives its clients.
#[derive(Debug)]
pub(crate) struct StallWatch {
    begins: Begins,
    look: Interval,
    /// What comes next, where something came.
    next: Offsets,
    /// How far the broker reached when a client was given up for what it did not get.
    given_up_at: Offsets,
    idle: bool,
    suspected: bool,
    generation: Arc<AtomicU64>,
    known_generation: u64,
}

impl StallWatch {
    /// For a consumer that has no client yet: see [`StallWatch::begin`].
    pub(crate) fn new(begins: Begins) -> Self {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            begins,
            look,
            next: Offsets::new(),
            given_up_at: Offsets::new(),
            idle: false,
            suspected: false,
            generation: Arc::default(),
            known_generation: 0,
        }
    }

    /// To be called for every new client. `generation` counts the changes of its assignment, from zero.
    pub(crate) fn begin(&mut self, generation: &Arc<AtomicU64>) {
        self.generation = Arc::clone(generation);
        self.known_generation = 0;
        self.next.clear();
        self.idle = false;
        self.suspected = false;
    }

    /// To be told of every message.
    pub(crate) fn received(&mut self, topic: &str, partition: i32, offset: i64) {
        set(&mut self.next, topic, partition, offset + 1);
        if let Some(partitions) = self.given_up_at.get_mut(topic) {
            // The client of now gets what is there. What stands still later is another matter.
            partitions.remove(&partition);
        }
        self.idle = false;
    }

    /// Waits until the consumer has received nothing over two looks, and the broker had something for it at both. Cancel-safe: a
    /// look that is broken off is taken again.
    pub(crate) async fn stalled<C: ConsumerContext + 'static>(
        &mut self,
        consumer: &Arc<Closing<StreamConsumer<C>>>,
    ) {
        loop {
            self.look.tick().await;
            if !std::mem::replace(&mut self.idle, true) {
                self.suspected = false;
                continue;
            }
            let (asked, begins) = (Arc::clone(consumer), self.begins);
            let reaches = tokio::task::spawn_blocking(move || reaches(&asked, begins));
            match reaches.await.expect("asking for offsets does not panic") {
                Ok(reaches) => {
                    if self.is_stalled(reaches) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!("how far the topics reach cannot be told: {error}");
                    self.suspected = false;
                }
            }
        }
    }

    fn is_stalled(&mut self, reaches: Vec<Reach>) -> bool {
        let generation = self.generation.load(Ordering::Acquire);
        if generation != self.known_generation {
            // Somebody else may have read on in between.
            self.known_generation = generation;
            self.next.clear();
            self.suspected = false;
        }
        let mut behind = Vec::new();
        for reach in reaches {
            let known = self
                .next
                .get(&reach.topic)
                .and_then(|all| all.get(&reach.partition));
            let next = known.copied().unwrap_or_else(|| {
                set(&mut self.next, &reach.topic, reach.partition, reach.begin);
                reach.begin
            });
            let given_up_at = self
                .given_up_at
                .get(&reach.topic)
                .and_then(|all| all.get(&reach.partition));
            // What was deleted does not come any more.
            if next.max(reach.low) != reach.high && given_up_at != Some(&reach.high) {
                behind.push(reach);
            }
        }
        let stalled = std::mem::replace(&mut self.suspected, !behind.is_empty()) && !behind.is_empty();
        if stalled {
            for reach in behind {
                set(&mut self.given_up_at, &reach.topic, reach.partition, reach.high);
            }
        }
        stalled
    }
}

/// Allocates only for a topic that was not there.
fn set(offsets: &mut Offsets, topic: &str, partition: i32, offset: i64) {
    match offsets.get_mut(topic) {
        Some(partitions) => {
            partitions.insert(partition, offset);
        }
        None => {
            offsets.insert(topic.to_owned(), HashMap::from([(partition, offset)]));
        }
    }
}

/// Asks about every partition of the consumer. Blocks.
fn reaches<C: ConsumerContext>(
    consumer: &StreamConsumer<C>,
    begins: Begins,
) -> Result<Vec<Reach>, KafkaError> {
    let end = Instant::now() + ANSWER_LIMIT;
    let left = || end.saturating_duration_since(Instant::now());
    let assigned = consumer.assignment()?;
    let committed = match begins {
        Begins::AtItsOffsets => Some(consumer.committed_offsets(assigned.clone(), left())?),
        Begins::AtTheEnd => None,
    };
    let mut reaches = Vec::with_capacity(assigned.count());
    for element in assigned.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let (low, high) = consumer.fetch_watermarks(topic, partition, left())?;
        let begin = match &committed {
            Some(committed) => match committed
                .find_partition(topic, partition)
                .map(|known| known.offset())
            {
                Some(Offset::Offset(offset)) => offset,
                _ => low,
            },
            None => high,
        };
        reaches.push(Reach {
            topic: topic.to_owned(),
            partition,
            begin,
            low,
            high,
        });
    }
    Ok(reaches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> StallWatch {
        StallWatch::new(Begins::AtItsOffsets)
    }

    fn reach(begin: i64, low: i64, high: i64) -> Vec<Reach> {
        vec![Reach {
            topic: "orders".to_owned(),
            partition: 0,
            begin,
            low,
            high,
        }]
    }

    #[tokio::test]
    async fn whoever_has_everything_is_not_stalled() {
        let mut watch = watch();
        watch.received("orders", 0, 6);
        for _ in 0..3 {
            assert!(!watch.is_stalled(reach(0, 0, 7)));
        }
    }

    #[tokio::test]
    async fn what_stays_at_the_broker_over_two_looks_is_a_stall() {
        let mut watch = watch();
        watch.received("orders", 0, 6);
        assert!(!watch.is_stalled(reach(7, 0, 9)), "it may be on its way");
        assert!(watch.is_stalled(reach(7, 0, 9)));
    }

    #[tokio::test]
    async fn a_log_that_ends_before_what_was_read_is_another_log() {
        let mut watch = watch();
        watch.received("orders", 0, 499);
        assert!(!watch.is_stalled(reach(0, 0, 3)));
        assert!(watch.is_stalled(reach(0, 0, 3)));
    }

    #[tokio::test]
    async fn what_was_committed_before_or_deleted_is_not_waited_for() {
        let mut watch = watch();
        for _ in 0..3 {
            assert!(!watch.is_stalled(reach(40, 0, 40)), "the group has had it");
            assert!(
                !watch.is_stalled(reach(40, 60, 60)),
                "nobody can have it any more"
            );
        }
    }

    #[tokio::test]
    async fn partitions_that_moved_are_looked_at_anew() {
        let mut watch = watch();
        watch.received("orders", 0, 6);
        assert!(!watch.is_stalled(reach(7, 0, 9)));
        watch.generation.fetch_add(1, Ordering::AcqRel);
        for _ in 0..3 {
            assert!(!watch.is_stalled(reach(9, 0, 9)), "another member has had it");
        }
    }

    #[tokio::test]
    async fn what_a_new_client_does_not_get_either_is_no_reason_for_another_one() {
        let mut watch = watch();
        watch.received("orders", 0, 6);
        assert!(!watch.is_stalled(reach(7, 0, 8)));
        assert!(watch.is_stalled(reach(7, 0, 8)));
        watch.begin(&Arc::default());
        for _ in 0..3 {
            assert!(!watch.is_stalled(reach(7, 0, 8)));
        }
        // More of it is.
        assert!(!watch.is_stalled(reach(7, 0, 9)));
        assert!(watch.is_stalled(reach(7, 0, 9)));
        // And so is the same once more, when something came in between.
        watch.begin(&Arc::default());
        watch.received("orders", 0, 7);
        assert!(!watch.is_stalled(reach(7, 0, 9)));
        assert!(watch.is_stalled(reach(7, 0, 9)));
    }
}
