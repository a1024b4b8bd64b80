//! Messages that come twice, late, out of order or broken, a writer that takes its time, and clocks that are wrong.

#![expect(
    clippy::disallowed_methods,
    reason = "looks into several services' tables, of which no schema could be checked"
)]

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context;
use contracts::{
    envelope::header,
    ids::CommandId,
    purchase_manager::CommandSuperseded,
    topics::{PURCHASE_REPLIES, TOPICS},
    traffic,
};
use mailbox::{
    Codec, Outbox,
    codec::{RegistryMode, RegistrySettings},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Header, Headers, OwnedHeaders, OwnedMessage},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use sqlx::Connection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{conditions, serve::SERVICES, world::World};

/// How long messages are repeated.
const REPEATING: Duration = Duration::from_secs(8);
/// How long a writer's transaction stays open.
const IDLE: Duration = Duration::from_secs(15);
/// The header of a copy, which is not copied again.
const COPY: &str = "faults-copy";
/// How far a clock is off, in seconds.
const OFF: i64 = 300;
/// Purchases accepted while clocks are off.
const WITH_WRONG_CLOCKS: usize = 100;

type Copier = ThreadedProducer<DefaultProducerContext>;

fn producer(bootstrap: &str) -> anyhow::Result<Copier> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("log_level", "2")
        .create()?)
}

/// Whatever is sent comes again: at once as it is, and later, shuffled, as another message with the same content and the same
/// command id. The latter without its sequence, because a per-key order of copies is nobody's promise.
pub async fn repeated(world: &mut World) -> anyhow::Result<()> {
    let (bootstrap, seed) = (world.stage.bootstrap(), world.random.r#gen());
    let copied = tokio::task::spawn_blocking(move || repeat(&bootstrap, seed)).await??;
    anyhow::ensure!(copied > 50, "only {copied} messages were repeated");
    Ok(())
}

fn repeat(bootstrap: &str, seed: u64) -> anyhow::Result<usize> {
    let mut random = StdRng::seed_from_u64(seed);
    let producer = producer(bootstrap)?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "faults.copier")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "latest")
        .set("log_level", "2")
        .create()?;
    let mut all = TopicPartitionList::new();
    for topic in TOPICS {
        for partition in 0..topic.partitions {
            all.add_partition_offset(topic.name, partition, Offset::End)?;
        }
    }
    consumer.assign(&all)?;
    let mut later: Vec<OwnedMessage> = Vec::new();
    let mut copied = 0;
    let end = tokio::time::Instant::now() + REPEATING;
    while tokio::time::Instant::now() < end {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            let message = message.detach();
            let copies = message
                .headers()
                .is_some_and(|all| all.iter().any(|h| h.key == COPY));
            if !copies {
                if random.gen_bool(0.5) {
                    copy(&producer, &message, false)?;
                    copied += 1;
                }
                later.push(message);
            }
        }
        if later.len() >= 40 {
            later.shuffle(&mut random);
            for message in later.drain(..20) {
                copy(&producer, &message, true)?;
                copied += 1;
            }
        }
    }
    later.shuffle(&mut random);
    for message in &later {
        copy(&producer, message, true)?;
        copied += 1;
    }
    producer.flush(Duration::from_secs(10))?;
    Ok(copied)
}

fn copy(producer: &Copier, message: &OwnedMessage, as_another: bool) -> anyhow::Result<()> {
    let mut headers = OwnedHeaders::new().insert(Header {
        key: COPY,
        value: Some("yes"),
    });
    let fresh = contracts::ids::fresh().to_string();
    for one in message.headers().into_iter().flat_map(Headers::iter) {
        match one.key {
            header::SEQUENCE if as_another => {}
            header::ID if as_another => {
                headers = headers.insert(Header {
                    key: header::ID,
                    value: Some(&fresh),
                });
            }
            _ => headers = headers.insert(one),
        }
    }
    let record = BaseRecord::to(message.topic())
        .partition(message.partition())
        .key(message.key().unwrap_or_default())
        .payload(message.payload().unwrap_or_default())
        .headers(headers);
    producer.send(record).map_err(|(error, _)| error.into())
}

/// Messages that nobody can read come to every topic. They are parked, one for each group that reads them, and nothing else
/// waits for them. An operator discards them afterwards.
pub async fn poisoned(world: &mut World) -> anyhow::Result<()> {
    let producer = producer(&world.stage.bootstrap())?;
    let mut expected = 0;
    for topic in TOPICS {
        let groups = traffic::groups_of(topic.name).count() as i64;
        // Not Avro at all; an id that no registry gave; a schema of ours and half a datum.
        for payload in [
            &b"poison"[..],
            &[0, 0x7f, 0xff, 0xff, 0xff, 1, 2],
            &[0, 0, 0, 0, 1, 0x80],
        ] {
            for with_headers in [false, true] {
                let (key, id) = (
                    contracts::ids::fresh().to_string(),
                    contracts::ids::fresh().to_string(),
                );
                let mut headers = OwnedHeaders::new();
                if with_headers {
                    for (key, value) in [
                        (header::SPEC_VERSION, "1.0"),
                        (header::ID, id.as_str()),
                        (header::TYPE, "belay.orders.CreateOrder"),
                        (header::SOURCE, "/belay/poison"),
                        (header::SUBJECT, key.as_str()),
                        (header::TIME, "2026-01-01T00:00:00Z"),
                    ] {
                        headers = headers.insert(Header {
                            key,
                            value: Some(value),
                        });
                    }
                }
                let record = BaseRecord::to(topic.name)
                    .key(&key)
                    .payload(payload)
                    .headers(headers);
                producer.send(record).map_err(|(error, _)| error)?;
                expected += groups;
            }
        }
    }
    producer.flush(Duration::from_secs(10))?;
    world.expected.parked = expected;
    Ok(())
}

/// What an operator does with poison: it is settled, with actor and reason.
pub async fn discard_poison(world: &World) -> anyhow::Result<()> {
    for service in SERVICES {
        let mut database = world.stage.database(service).await?;
        sqlx::query(
            "update parked set resolved_at = now(), resolution = 'discarded', resolved_by = 'faults', reason = 'poison'
             where resolved_at is null",
        )
        .execute(&mut database)
        .await?;
    }
    Ok(())
}

/// In every database a transaction that has written stays open, and holds back what a fence by transaction ids would wait
/// for. The one in orders' has drawn the place of a message in its outbox too, long before it commits.
pub async fn idle_writer(world: &mut World) -> anyhow::Result<()> {
    let mut open = Vec::new();
    for service in SERVICES {
        let mut database = world.stage.database(service).await?;
        sqlx::query("begin").execute(&mut database).await?;
        sqlx::query(
            "insert into inbox (consumer, message_id, stream, key) values ('faults', $1, 'faults', 'faults')",
        )
        .bind(contracts::ids::fresh())
        .execute(&mut database)
        .await?;
        open.push(database);
    }
    let mut manager = world.stage.database("purchase-manager").await?;
    let ended: Uuid = sqlx::query_scalar("select id from saga where standing = 'COMPLETED' limit 1")
        .fetch_one(&mut manager)
        .await?;
    let shutdown = CancellationToken::new();
    let registry = RegistrySettings::open(world.stage.registry(), RegistryMode::Check);
    let codec = Codec::start(&registry, "orders", &shutdown).await?;
    let purchase_id = contracts::ids::PurchaseId(ended);
    let late = codec
        .outgoing(PURCHASE_REPLIES, purchase_id, &CommandSuperseded { purchase_id })?
        .command(CommandId(contracts::ids::fresh()));
    let mut orders = world.stage.database("orders").await?;
    let mut slow = orders.begin().await?;
    Outbox::new().append(&mut slow, &[late]).await?;
    tokio::time::sleep(IDLE).await;
    slow.commit().await?;
    for mut database in open {
        sqlx::query("rollback").execute(&mut database).await?;
    }
    Ok(())
}

/// Every second service believes that it is five minutes later than it is, the others that it is five minutes earlier; the
/// edge later, because it would refuse a token from its future. PostgreSQL's clock is right: it is the one that counts.
pub async fn clocks_off(world: &mut World) -> anyhow::Result<()> {
    let library = clock_library(&world.stage.directory.path().join("clock")).await?;
    for number in 0..world.fleet.len() {
        let late = number % 2 == 0 || world.fleet.service(number) == "bff";
        let off = if late { OFF } else { -OFF };
        world.fleet.kill(number).await?;
        let environment = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAULTS_CLOCK_SECONDS", off.to_string()),
        ];
        world.fleet.start(number, &world.stage, &environment)?;
    }
    for number in 0..world.fleet.len() {
        world.fleet.ready(number).await?;
    }
    conditions::more_are_accepted(world, WITH_WRONG_CLOCKS).await
}

/// Puts the clocks right.
pub async fn clocks_right(world: &mut World) -> anyhow::Result<()> {
    for number in 0..world.fleet.len() {
        world.fleet.kill(number).await?;
        world.fleet.bring_back(number, &world.stage).await?;
    }
    Ok(())
}

/// Compiles `clock.c`, which stands before the C library's clock.
async fn clock_library(directory: &std::path::Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    std::fs::write(&source, include_str!("clock.c"))?;
    let output = tokio::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .stdin(Stdio::null())
        .output()
        .await
        .context("cc cannot be run: the Kafka client needs it too")?;
    anyhow::ensure!(
        output.status.success(),
        "clock.c cannot be compiled: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(library)
}
