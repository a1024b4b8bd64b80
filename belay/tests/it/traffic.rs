//! Goal: who writes and reads which topic is what `contracts::traffic` declares, on which the rights at a broker rest.
//! Method: the whole system, a purchase that succeeds and one that is rolled back, and units whose time passes meanwhile; then every record of every topic is looked
//! at, and every service is asked what it reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use contracts::{topics::TOPICS, traffic::TRAFFIC};
use e2e::World;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use testkit::eventually;

/// How long the broker may take for one answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Who wrote what, as the records say themselves: (service, topic).
fn written(bootstrap: &str) -> BTreeSet<(String, String)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "traffic")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "5")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    let mut left = 0;
    for topic in TOPICS {
        for partition in 0..topic.partitions {
            let (low, high) = consumer.fetch_watermarks(topic.name, partition, LIMIT).unwrap();
            left += high - low;
            list.add_partition_offset(topic.name, partition, Offset::Offset(low))
                .unwrap();
        }
    }
    consumer.assign(&list).unwrap();
    let mut found = BTreeSet::new();
    while left > 0 {
        let record = consumer
            .poll(LIMIT)
            .expect("a record that is there comes")
            .unwrap();
        let headers = record.headers().expect("every record has headers");
        let source = headers.iter().find(|header| header.key == "ce_source").unwrap();
        let source = std::str::from_utf8(source.value.unwrap()).unwrap();
        let service = source.strip_prefix("/belay/").unwrap();
        found.insert((service.to_owned(), record.topic().to_owned()));
        left -= 1;
    }
    found
}

/// Name, whether it keeps offsets, and topics of a consumer group.
type Group<'a> = (String, bool, Vec<&'a str>);

#[tokio::test(flavor = "multi_thread")]
async fn what_the_services_produce_and_consume_is_what_is_declared() {
    let mut world = World::start().await;
    let admin = world.someone("ada", "admin");
    let alice = world.customer("alice");
    let rope = admin.create_product("Rope 60 m", "15.00", 10).await;
    for method in ["tok_ok", "tok_declined"] {
        let id = alice.submit(&[(&rope, 1)], method).await;
        alice.ended(&id).await;
    }
    // The saga of units whose time has passed is asked.
    world.system().stop_service("orders").await.unwrap();
    let waits = alice.submit(&[(&rope, 1)], "tok_ok").await;
    eventually("its saga is asked", LIMIT, async || {
        let mut connection = world.database("product-admin").await;
        let passed = sqlx::query("update reservation set ask_at = now() where state = 'held' and asked = 0");
        passed.execute(&mut connection).await.unwrap();
        (world
            .count(
                "product-admin",
                "select count(*) from reservation where asked > 0",
            )
            .await
            > 0)
        .then_some(())
    })
    .await;
    world.system().start_service("orders").await.unwrap();
    alice.ended(&waits).await;
    // Nothing is in an outbox any more.
    world.audit_is_clean().await;

    let bootstrap = world.info().kafka.clone();
    let written = tokio::task::spawn_blocking(move || written(&bootstrap))
        .await
        .unwrap();
    let declared: BTreeSet<(String, String)> = TRAFFIC
        .iter()
        .flat_map(|traffic| {
            traffic
                .produces
                .iter()
                .map(move |topic| (traffic.service, *topic))
        })
        .map(|(service, topic)| (service.to_owned(), topic.to_owned()))
        .collect();
    assert_eq!(written, declared);

    let reads: BTreeMap<&str, BTreeSet<Group>> = world
        .system()
        .reads()
        .into_iter()
        .map(|(service, reads)| {
            let reads = reads
                .iter()
                .map(|reads| (reads.group.clone(), reads.keeps_offsets, reads.topics.clone()));
            (service, reads.collect())
        })
        .collect();
    let declared = TRAFFIC
        .iter()
        .map(|traffic| {
            let reads = traffic.reads.iter().map(|reading| {
                (
                    reading.group.to_owned(),
                    reading.keeps_offsets,
                    reading.topics.to_vec(),
                )
            });
            (traffic.service, reads.collect())
        })
        .collect();
    assert_eq!(reads, declared);
}
