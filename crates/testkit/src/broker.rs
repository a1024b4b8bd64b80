//! A Kafka broker for one test.

use contracts::topics::{TOPICS, Topic};
use embedded::broker::Broker;
use mailbox::KafkaSettings;

/// A broker with the topics of the contract, which ends with this handle.
#[derive(Debug)]
pub struct Kafka {
    broker: Broker,
}

/// Starts a broker with all topics of the contract. Takes some milliseconds.
///
/// # Panics
/// When librdkafka cannot make its mock cluster.
#[must_use]
pub fn kafka() -> Kafka {
    start(|topic| topic.partitions)
}

/// The same with one partition for every topic, so that all messages of a topic have one order.
///
/// # Panics
/// As [`kafka`].
#[must_use]
pub fn kafka_with_one_partition() -> Kafka {
    start(|_| 1)
}

fn start(partitions: fn(&Topic) -> i32) -> Kafka {
    let topics: Vec<(&str, i32)> = TOPICS
        .iter()
        .map(|topic| (topic.name, partitions(topic)))
        .collect();
    let broker = Broker::start(&topics).expect("a mock cluster can be made in every process");
    Kafka { broker }
}

impl Kafka {
    /// How clients reach it, with the waits that suit this broker: it answers a fetch at the end of its wait only, and
    /// holds up a whole group for a session when a member comes or goes.
    #[must_use]
    pub fn settings(&self) -> KafkaSettings {
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        KafkaSettings {
            bootstrap: self.broker.bootstrap().to_owned(),
            fetch_wait_ms: 5,
            security: mailbox::kafka::Security::Plaintext,
            properties: vec![
                property("session.timeout.ms", "2000"),
                property("heartbeat.interval.ms", "200"),
                property("reconnect.backoff.max.ms", "100"),
                // A consumer's settings reach producers too, which would say so with every start.
                property("log_level", "2"),
            ],
        }
    }

    /// The broker itself, to take it down and up.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.broker
    }
}
