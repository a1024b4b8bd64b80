use std::time::Duration;

use embedded::broker::Broker;
use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, StreamConsumer},
    producer::{FutureProducer, FutureRecord},
};
use tokio::time::{Instant, timeout};

use crate::{LIMIT, eventually};

const TOPIC: &str = "things.v1";

#[tokio::test]
async fn a_consumer_group_gets_its_first_message_within_two_seconds() {
    let broker = Broker::start(&[(TOPIC, 3)]).unwrap();
    assert!(
        broker.bootstrap().starts_with("127.0.0.1:"),
        "{}",
        broker.bootstrap()
    );
    send(&producer(&broker), "hello").await;

    let begun = Instant::now();
    let consumer = consumer(&broker, "first");
    let message = timeout(LIMIT, consumer.recv()).await.unwrap().unwrap();
    assert_eq!(message.payload(), Some("hello".as_bytes()));
    let taken = begun.elapsed();
    assert!(
        taken < Duration::from_secs(2),
        "the group took {taken:?} to start"
    );
}

#[tokio::test]
async fn topics_have_the_partitions_asked_for() {
    let broker = Broker::start(&[("one.v1".to_owned(), 1), ("twelve.v1".to_owned(), 12)]).unwrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .unwrap();
    let metadata = tokio::task::spawn_blocking(move || consumer.fetch_metadata(None, LIMIT).unwrap());
    let metadata = metadata.await.unwrap();
    let mut partitions: Vec<(&str, usize)> = metadata
        .topics()
        .iter()
        .map(|topic| (topic.name(), topic.partitions().len()))
        .collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [("one.v1", 1), ("twelve.v1", 12)]);
}

#[tokio::test]
async fn a_group_goes_on_within_its_session_timeout() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    let producer = producer(&broker);
    send(&producer, "first").await;
    let reader = consumer(&broker, "readers");
    let message = timeout(LIMIT, reader.recv()).await.unwrap().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(TOPIC, 0, rdkafka::Offset::Offset(message.offset() + 1))
        .unwrap();
    reader
        .commit(&offsets, rdkafka::consumer::CommitMode::Sync)
        .unwrap();
    drop(message);
    drop(reader);

    send(&producer, "second").await;
    let begun = Instant::now();
    let reader = consumer(&broker, "readers");
    let message = timeout(LIMIT, reader.recv()).await.unwrap().unwrap();
    assert_eq!(
        message.payload(),
        Some("second".as_bytes()),
        "what was committed is not read again"
    );
    let taken = begun.elapsed();
    assert!(
        taken < Duration::from_secs(4),
        "the group took {taken:?} to go on"
    );
}

#[tokio::test]
async fn a_broker_that_was_down_still_has_what_it_held() {
    let broker = Broker::start(&[(TOPIC, 1)]).unwrap();
    let producer = producer(&broker);
    send(&producer, "before").await;

    broker.down().unwrap();
    let impatient: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .unwrap();
    let away = tokio::task::spawn_blocking(move || {
        impatient
            .fetch_metadata(Some(TOPIC), Duration::from_millis(300))
            .is_err()
    });
    assert!(away.await.unwrap(), "a broker that is down must not answer");
    broker.up().unwrap();

    send(&producer, "after").await;
    let consumer = consumer(&broker, "readers");
    let mut seen = Vec::new();
    eventually("both messages are read", async || {
        if let Ok(Ok(message)) = timeout(Duration::from_secs(1), consumer.recv()).await {
            seen.extend(message.payload().map(<[u8]>::to_vec));
        }
        seen == [b"before".to_vec(), b"after".to_vec()]
    })
    .await;
}

#[test]
fn a_topic_without_partitions_is_refused() {
    assert!(Broker::start(&[(TOPIC, 0)]).is_err());
}

/// Services keep the broker beside other parts and share it between tasks.
#[test]
fn the_broker_can_be_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Broker>();
}

fn producer(broker: &Broker) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("enable.idempotence", "true")
        .create()
        .unwrap()
}

fn consumer(broker: &Broker, group: &str) -> StreamConsumer {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("fetch.wait.max.ms", "5")
        .set("session.timeout.ms", "2000")
        .set("heartbeat.interval.ms", "200")
        .create()
        .unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    consumer
}

async fn send(producer: &FutureProducer, payload: &str) {
    let record = FutureRecord::to(TOPIC).key("key").payload(payload);
    producer.send(record, LIMIT).await.unwrap();
}
