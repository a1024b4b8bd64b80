//! Change data capture in the relays' place: Debezium carries every message, and nobody notices.
//!
//! Runs in `make test-real`, or by itself: `cargo test -p e2e --test cdc`. It needs Java, and the first time the network.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{collections::BTreeSet, time::Duration};

use contracts::{
    envelope::{self, header},
    topics::TOPICS,
};
use e2e::{World, world::PATIENCE};
use host::{config::OutboxArg, kafka::KafkaArgs};
use parts::{Connect, Kafka, KafkaOptions, Registry};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    message::{Headers, OwnedMessage},
};
use testkit::eventually;

/// Long enough for Debezium to start on a busy machine.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Goal: a purchase completes with Debezium in the relays' place, what was written before there was a connector and while
/// it was away is sent too, every message is as the relay writes it, and the audit is clean.
#[tokio::test(flavor = "multi_thread")]
async fn purchases_complete_by_change_data_capture_and_the_audit_is_clean() {
    let kafka = Kafka::start(KafkaOptions::default()).await.unwrap();
    let registry = Registry::start().await.unwrap();
    let mut connect = Connect::start(&kafka.bootstrap()).await.unwrap();
    let world = World::start_with(|options| {
        options.kafka = Some(kafka.bootstrap());
        options.registry = Some(registry.url().to_owned());
        options.outbox = OutboxArg::Cdc;
        // The private server, as `belay up` starts it: the one that tests share keeps too plain a log.
        options.database_url = None;
    })
    .await;
    let alice = world.customer("alice");
    let seeded = alice.find_product("").await.unwrap();

    // Nobody reads the log yet: the purchase is accepted, waits, and lies in no table.
    let early = alice.submit(&[(&seeded, 1)], "tok_ok").await;
    assert_eq!(alice.purchase(&early).await["state"], "PENDING");
    assert_eq!(world.count("bff", "select count(*) from outbox").await, 0);

    make_connectors(&mut connect, &world).await;
    assert_eq!(alice.ended(&early).await["state"], "COMPLETED");
    let admin = world.someone("ada", "admin");
    let rope = admin.create_product("Rope 60 m", "159.90", 5).await;
    let bought = alice.submit(&[(&rope, 2)], "tok_ok").await;
    let refused = alice.submit(&[(&rope, 9)], "tok_ok").await;
    assert_eq!(alice.ended(&bought).await["state"], "COMPLETED");
    assert_eq!(alice.ended(&refused).await["state"], "REJECTED");
    assert_eq!(admin.stock(&rope).await, (5, 2, 3));
    world.audit_is_clean().await;

    // The connectors die with work under way, and begin again where they were.
    let interrupted = alice.submit(&[(&rope, 1)], "tok_ok").await;
    connect.kill().await;
    let meanwhile = alice.submit(&[(&rope, 1)], "tok_ok").await;
    connect.restart().await.unwrap();
    make_connectors(&mut connect, &world).await;
    for id in [&interrupted, &meanwhile] {
        assert_eq!(alice.ended(id).await["state"], "COMPLETED");
    }
    world.audit_is_clean().await;

    let messages = everything(&kafka).await;
    assert!(messages.len() > 30, "{} messages", messages.len());
    for message in &messages {
        is_as_the_relay_writes_it(message);
    }
    let topics: BTreeSet<&str> = messages.iter().map(Message::topic).collect();
    assert_eq!(
        topics.len(),
        TOPICS.len(),
        "every topic was written to: {topics:?}"
    );

    // An outbox that nobody carries is a violation, although its table is empty.
    connect.stop().await;
    eventually("the audit misses the connectors", PATIENCE, async || {
        let report = belay::audit::run_on(&world.info().databases, &belay::audit::Options::default())
            .await
            .unwrap();
        report
            .table()
            .contains("no connector reads the outbox")
            .then_some(())
    })
    .await;
}

async fn make_connectors(connect: &mut Connect, world: &World) {
    for connector in world.connectors().values() {
        let connector = serde_json::to_value(connector).unwrap();
        connect.create_connector(&connector).await.unwrap();
    }
}

/// Every message on every topic of the contract.
async fn everything(kafka: &Kafka) -> Vec<OwnedMessage> {
    let settings = KafkaArgs::default().settings(&kafka.bootstrap(), 100).unwrap();
    let consumer: StreamConsumer = settings.tail_consumer("reader").create().unwrap();
    let mut all = TopicPartitionList::new();
    let mut expected = 0;
    for topic in TOPICS {
        for partition in 0..topic.partitions {
            let (low, high) = consumer
                .fetch_watermarks(topic.name, partition, READ_LIMIT)
                .unwrap();
            expected += high - low;
            all.add_partition_offset(topic.name, partition, Offset::Beginning)
                .unwrap();
        }
    }
    consumer.assign(&all).unwrap();
    let mut messages = Vec::new();
    while i64::try_from(messages.len()).unwrap() < expected {
        let message = tokio::time::timeout(READ_LIMIT, consumer.recv()).await;
        messages.push(message.expect("what is there can be read").unwrap().detach());
    }
    messages
}

fn is_as_the_relay_writes_it(message: &OwnedMessage) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers: Vec<(String, Option<String>)> = message
        .headers()
        .unwrap()
        .iter()
        .map(|header| (header.key.to_owned(), header.value.map(text)))
        .collect();
    let names: BTreeSet<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), headers.len(), "each header once: {headers:?}");
    let all = [
        header::SPEC_VERSION,
        header::ID,
        header::TYPE,
        header::SOURCE,
        header::SUBJECT,
        header::TIME,
        header::CONTENT_TYPE,
        header::SEQUENCE,
        header::TRACEPARENT,
        header::TRACESTATE,
        header::COMMAND_ID,
        header::CAUSATION_ID,
        header::REPLY_TO,
    ];
    assert_eq!(names, BTreeSet::from(all));
    let get = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(get(header::SPEC_VERSION), envelope::SPEC_VERSION);
    assert_eq!(get(header::CONTENT_TYPE), envelope::CONTENT_TYPE);
    assert!(get(header::SEQUENCE).parse::<i64>().is_ok(), "{headers:?}");
    assert!(get(header::ID).parse::<uuid::Uuid>().is_ok(), "{headers:?}");
    let key = message.key().unwrap();
    assert_eq!(text(key), get(header::SUBJECT));
    assert_eq!(message.payload().unwrap()[0], 0, "Confluent's wire format");
    let topic = TOPICS.iter().find(|topic| topic.name == message.topic()).unwrap();
    let partition = (murmur2(key) & 0x7fff_ffff) % u32::try_from(topic.partitions).unwrap();
    assert_eq!(message.partition(), i32::try_from(partition).unwrap());
}

/// Java's partitioner, which librdkafka calls murmur2 and the relay uses: MurmurHash2 with its seed
/// (<https://github.com/aappleby/smhasher>, `MurmurHash2.cpp`; the seed is Kafka's).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap();
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (position, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * position);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}
