//! How far behind a service is, as metrics: what autoscaling and alerts go by.
//!
//! | metric | what it says |
//! |---|---|
//! | `belay_consumer_lag` | messages of the partitions of this instance that are not handled yet; the sum over instances is the group's |
//! | `belay_consumer_partitions` | partitions that this instance reads; a sum of zero is a group without members |
//! | `belay_consumer_oldest_timestamp_seconds` | when the oldest message at hand was sent, as Unix time; 0 when nothing is at hand |
//! | `belay_outbox_waiting` | messages of the service that are not sent yet, counted up to [`COUNTED`] |
//! | `belay_outbox_oldest_timestamp_seconds` | when the oldest of them was written, as Unix time; 0 when there is none |
//! | `belay_parked_waiting` | messages that wait for an operator, counted up to [`COUNTED`] |
//!
//! Points in time rather than ages: a gauge that nobody sets any more, because the process hangs, still grows old.

use std::time::Duration;

use rdkafka::{Statistics, message::OwnedMessage, statistics::Partition};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{limit::STATEMENT_LIMIT, report};

/// Between two looks at the tables.
const LOOK: Duration = Duration::from_secs(10);
/// How often librdkafka counts. Autoscaling asks every 15 s.
pub(crate) const STATISTICS_INTERVAL_MS: u32 = 5_000;
/// What is counted at most, so that a look costs the same in the worst hour.
pub const COUNTED: i64 = 100_000;

/// The gauges of one consumer group in this process.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    service: String,
    group: String,
}

impl Backlog {
    pub(crate) fn new(service: &str, group: &str) -> Self {
        Self {
            service: service.to_owned(),
            group: group.to_owned(),
        }
    }

    /// Takes over what librdkafka counted.
    #[expect(clippy::cast_precision_loss, reason = "exact to 2^53 messages")]
    pub(crate) fn counted(&self, statistics: &Statistics) {
        let (mut partitions, mut waiting) = (0_u32, 0);
        for (topic, of_topic) in &statistics.topics {
            let lags: Vec<i64> = of_topic.partitions.values().filter_map(lag).collect();
            let (own, sum) = (
                u32::try_from(lags.len()).unwrap_or(u32::MAX),
                lags.iter().sum::<i64>(),
            );
            partitions += own;
            waiting += sum;
            report::note(&self.service, &self.group, topic, |reading| {
                reading.partitions = i32::try_from(own).unwrap_or(i32::MAX);
                reading.lag = sum;
            });
        }
        self.gauge("belay_consumer_lag", waiting as f64);
        self.gauge("belay_consumer_partitions", f64::from(partitions));
    }

    /// A batch is at hand.
    #[expect(clippy::cast_precision_loss, reason = "exact to 2^53 milliseconds")]
    pub(crate) fn took(&self, batch: &[OwnedMessage]) {
        use rdkafka::Message as _;
        for message in batch {
            let sent = message.timestamp().to_millis();
            report::note(&self.service, &self.group, message.topic(), |reading| {
                reading.oldest_ms = [reading.oldest_ms, sent].into_iter().flatten().min();
            });
        }
        let oldest = batch
            .iter()
            .filter_map(|message| message.timestamp().to_millis())
            .min();
        self.gauge(
            "belay_consumer_oldest_timestamp_seconds",
            oldest.map_or(0.0, |millis| millis as f64 / 1000.0),
        );
    }

    /// Nothing is at hand.
    pub(crate) fn settled(&self) {
        report::note_all(&self.service, &self.group, |reading| reading.oldest_ms = None);
        self.gauge("belay_consumer_oldest_timestamp_seconds", 0.0);
    }

    /// The group was left.
    pub(crate) fn left(&self) {
        self.settled();
        report::note_all(&self.service, &self.group, |reading| {
            (reading.partitions, reading.lag) = (0, 0);
        });
        self.gauge("belay_consumer_lag", 0.0);
        self.gauge("belay_consumer_partitions", 0.0);
    }

    fn gauge(&self, name: &'static str, value: f64) {
        metrics::gauge!(name, "service" => self.service.clone(), "group" => self.group.clone()).set(value);
    }
}

/// Messages of a partition that are not handled yet; none when it is not this instance's.
fn lag(partition: &Partition) -> Option<i64> {
    // -1 is librdkafka's own entry for messages without a partition.
    if partition.partition < 0 || partition.fetch_state == "none" || partition.fetch_state == "stopped" {
        return None;
    }
    // What was stored is newer than what was committed, and is unknown until the first batch; what was committed is unknown
    // until the first commit of a group: then everything that the broker has is to be handled.
    let known = [partition.consumer_lag_stored, partition.consumer_lag];
    let from_offsets = if partition.stored_offset >= 0 {
        known[0]
    } else {
        known[1]
    };
    Some(if from_offsets >= 0 {
        from_offsets
    } else {
        (partition.hi_offset.max(0) - partition.lo_offset.max(0)).max(0)
    })
}

/// Looks at the tables of `service` every ten seconds until `shutdown`. A database that does not answer leaves the figures as
/// they were.
///
/// # Errors
/// Never: it ends with `shutdown` alone.
pub async fn watch(pool: PgPool, service: &'static str, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        // Cancel-safe: looking changes nothing.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            looked = tokio::time::timeout(STATEMENT_LIMIT, look(&pool, service)) => {
                if let Ok(Err(error)) = looked {
                    tracing::debug!(service, "the backlog could not be counted: {error}");
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// One look.
///
/// # Errors
/// The database's.
#[expect(clippy::cast_precision_loss, reason = "counts are bounded")]
pub async fn look(pool: &PgPool, service: &'static str) -> Result<(), sqlx::Error> {
    let found = sqlx::query!(
        r#"select
               (select count(*) from (select from outbox order by seq limit $1) as some_rows) as "waiting!",
               coalesce((select extract(epoch from created_at)::float8 from outbox order by seq limit 1), 0) as "oldest!",
               (select count(*) from (select from parked where resolved_at is null limit $1) as some_rows) as "parked!""#,
        COUNTED
    )
    .fetch_one(pool)
    .await?;
    metrics::gauge!("belay_outbox_waiting", "service" => service).set(found.waiting as f64);
    metrics::gauge!("belay_outbox_oldest_timestamp_seconds", "service" => service).set(found.oldest);
    metrics::gauge!("belay_parked_waiting", "service" => service).set(found.parked as f64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(stored: i64, committed_lag: i64, stored_lag: i64) -> Partition {
        Partition {
            partition: 3,
            fetch_state: "active".to_owned(),
            stored_offset: stored,
            consumer_lag: committed_lag,
            consumer_lag_stored: stored_lag,
            lo_offset: 100,
            hi_offset: 140,
            ..Partition::default()
        }
    }

    #[test]
    fn what_was_handled_counts_even_before_it_is_committed() {
        assert_eq!(lag(&partition(138, 30, 2)), Some(2));
    }

    #[test]
    fn before_the_first_batch_what_was_committed_counts_and_without_that_everything() {
        assert_eq!(lag(&partition(-1001, 30, -1)), Some(30));
        assert_eq!(lag(&partition(-1001, -1, -1)), Some(40));
    }

    #[test]
    fn a_partition_of_another_instance_does_not_count() {
        let mut other = partition(138, 30, 2);
        other.fetch_state = "none".to_owned();
        assert_eq!(lag(&other), None);
        other.partition = -1;
        other.fetch_state = "active".to_owned();
        assert_eq!(lag(&other), None);
    }
}
