//! Noticing a consumer that gets nothing although the broker has something for it.
//!
//! librdkafka keeps the highest leader epoch that it knew of each partition and takes a lower one for older news
//! (<https://github.com/confluentinc/librdkafka/issues/4898>). A broker that was set up anew and a topic that was deleted and made
//! again begin with the lowest, so a client that lived through it stands still for ever. The way out is a new client.
//! Held by the fault suite: "a broker that forgot everything".

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
use tokio::time::{Interval, MissedTickBehavior};

use crate::closing::Closing;

/// Between two looks, which are taken only while nothing comes.
const LOOK: Duration = Duration::from_secs(10);
/// How long the broker may take for one answer of a look.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

type Partition = (String, i32);

/// How far one partition reaches at the broker, and where a consumer that knows nothing of it begins.
#[derive(Debug, Clone)]
struct Reach {
    partition: Partition,
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

/// What a consumer has received, to be compared with what the broker has.
#[derive(Debug)]
pub(crate) struct StallWatch {
    begins: Begins,
    look: Interval,
    next: HashMap<Partition, i64>,
    idle: bool,
    suspected: bool,
    generation: Arc<AtomicU64>,
    known_generation: u64,
}

impl StallWatch {
    /// For a client that was just made. `generation` counts the changes of its assignment.
    pub(crate) fn new(begins: Begins, generation: Arc<AtomicU64>) -> Self {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            begins,
            look,
            next: HashMap::new(),
            idle: false,
            suspected: false,
            known_generation: generation.load(Ordering::Acquire),
            generation,
        }
    }

    /// To be told of every message.
    pub(crate) fn received(&mut self, topic: &str, partition: i32, offset: i64) {
        self.next.insert((topic.to_owned(), partition), offset + 1);
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
        let mut behind = false;
        for reach in reaches {
            let next = *self.next.entry(reach.partition).or_insert(reach.begin);
            // What was deleted does not come any more.
            behind |= next.max(reach.low) != reach.high;
        }
        std::mem::replace(&mut self.suspected, behind) && behind
    }
}

/// Asks about every partition of the consumer. Blocks.
fn reaches<C: ConsumerContext>(
    consumer: &StreamConsumer<C>,
    begins: Begins,
) -> Result<Vec<Reach>, KafkaError> {
    let assigned = consumer.assignment()?;
    let committed = match begins {
        Begins::AtItsOffsets => Some(consumer.committed_offsets(assigned.clone(), ANSWER_LIMIT)?),
        Begins::AtTheEnd => None,
    };
    let mut reaches = Vec::with_capacity(assigned.count());
    for element in assigned.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER_LIMIT)?;
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
            partition: (topic.to_owned(), partition),
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
        StallWatch::new(Begins::AtItsOffsets, Arc::default())
    }

    fn reach(begin: i64, low: i64, high: i64) -> Vec<Reach> {
        vec![Reach {
            partition: ("orders".to_owned(), 0),
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
}
