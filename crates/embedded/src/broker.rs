//! A Kafka broker inside this process: librdkafka's mock cluster with one broker.
//!
//! It speaks the real protocol on a port of 127.0.0.1, so clients of any process can use it. What
//! it does not do:
//!
//! - It keeps nothing: records, offsets and groups end with the process.
//! - A partition holds 5 MB or 100,000 records, read or not; the oldest are dropped silently.
//! - Topics cannot be created by clients' admin requests; give them to [`Broker::start`]. A topic
//!   that a client merely names is created with 4 partitions.
//! - Transactions are answered but isolate nothing.
//! - When a member joins or leaves a running group, the group stands still until the members' own
//!   `session.timeout.ms` less one second is over, even if all have answered, and so does a member
//!   that comes after the last one left: give consumers of this broker a short session
//!   (test `broker::a_group_goes_on_within_its_session_timeout`). Only the first start of a group is
//!   quick whatever the session.

use std::{fmt, time::Duration};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, KafkaResult},
    mocking::MockCluster,
    producer::{BaseProducer, DefaultProducerContext, Producer},
    types::RDKafkaErrorCode,
};

/// How long a new consumer group waits for more members before its first assignment. The mock
/// cluster's default of 3 s would be most of a test; this much still lets the members that one
/// process starts together join in one round.
const GROUP_START_DELAY_MS: i32 = 50;

/// All brokers of the cluster, in librdkafka's mock interface.
const ALL_BROKERS: i32 = -1;

/// A running broker; dropping it ends the broker and forgets what it held. Shared freely between
/// tasks and threads.
pub struct Broker {
    /// The client that owns the mock cluster: librdkafka destroys both together.
    owner: BaseProducer,
    bootstrap: String,
}

impl Broker {
    /// Starts a broker on a free port of 127.0.0.1 that has `topics`, each with its number of
    /// partitions. Takes a few milliseconds and blocks for them.
    ///
    /// # Errors
    ///
    /// When the cluster cannot be created, or a topic's name or partition count is not valid.
    pub fn start<Name: AsRef<str>>(topics: &[(Name, i32)]) -> KafkaResult<Self> {
        let owner: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            // The owner sends nothing; it need not refresh what it knows about the cluster.
            .set("topic.metadata.refresh.interval.ms", "-1")
            .create()?;
        let cluster = cluster_of(&owner)?;
        for (name, partitions) in topics {
            // The mock cluster takes any number and then fails in the middle of its own work.
            if *partitions < 1 {
                return Err(KafkaError::MockCluster(RDKafkaErrorCode::InvalidPartitions));
            }
            cluster.create_topic(name.as_ref(), *partitions, 1)?;
        }
        let bootstrap = cluster.bootstrap_servers();
        drop(cluster);
        set_group_start_delay(&owner, GROUP_START_DELAY_MS)?;
        Ok(Self { owner, bootstrap })
    }

    /// The address for `bootstrap.servers`, such as `127.0.0.1:41234`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Closes every connection and accepts no new one until [`Broker::up`]: a broker that is away.
    /// What it holds stays.
    ///
    /// # Errors
    ///
    /// When the mock cluster refuses.
    pub fn down(&self) -> KafkaResult<()> {
        cluster_of(&self.owner)?.broker_down(ALL_BROKERS)
    }

    /// Accepts connections again after [`Broker::down`].
    ///
    /// # Errors
    ///
    /// When the mock cluster refuses.
    pub fn up(&self) -> KafkaResult<()> {
        cluster_of(&self.owner)?.broker_up(ALL_BROKERS)
    }

    /// Delays every answer by `delay` (whole milliseconds): a broker that is far away.
    ///
    /// # Errors
    ///
    /// When the mock cluster refuses.
    pub fn set_round_trip_time(&self, delay: Duration) -> KafkaResult<()> {
        cluster_of(&self.owner)?.broker_round_trip_time(ALL_BROKERS, delay)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Broker")
            .field("bootstrap", &self.bootstrap)
            .finish_non_exhaustive()
    }
}

fn cluster_of(owner: &BaseProducer) -> KafkaResult<MockCluster<'_, DefaultProducerContext>> {
    owner
        .client()
        .mock_cluster()
        .ok_or(KafkaError::MockCluster(RDKafkaErrorCode::Fail))
}

/// Sets what a real broker calls `group.initial.rebalance.delay.ms`. rdkafka's [`MockCluster`]
/// has no method for it and hides its pointer, hence the calls to librdkafka itself.
#[expect(
    unsafe_code,
    reason = "librdkafka's function for the group start delay has no safe wrapper"
)]
fn set_group_start_delay(owner: &BaseProducer, delay_ms: i32) -> KafkaResult<()> {
    let client = owner.client().native_ptr();
    // SAFETY: `client` is the valid handle of `owner`, which is borrowed for the whole call. The
    // cluster, when the handle has one, belongs to it and lives as long; librdkafka locks the
    // cluster itself to write the value.
    unsafe {
        let cluster = rdkafka_sys::rd_kafka_handle_mock_cluster(client);
        if cluster.is_null() {
            return Err(KafkaError::MockCluster(RDKafkaErrorCode::Fail));
        }
        rdkafka_sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, delay_ms);
    }
    Ok(())
}
