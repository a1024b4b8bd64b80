//! The table on which the tests work: a database, a broker, a codec, and what is done with them again and again.

use std::collections::BTreeMap;

use contracts::{
    envelope::{self, header},
    ids::PurchaseId,
    orders::OrderRejected,
    topics::PURCHASE_REPLIES,
};
use mailbox::{Codec, Handler, KafkaSettings, Outbox, Outgoing, consumer::Consumer, relay::Relay};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    message::{Header, Headers, OwnedHeaders, OwnedMessage},
    producer::{FutureProducer, FutureRecord},
};
use sqlx::{
    PgPool, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use testkit::{Database, Kafka, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::LIMIT;

/// The consumer group of all tests.
pub const GROUP: &str = "belay.mailbox";

/// What a service of these tests keeps: a row to lock for every key, and what its handler was given.
const TABLES: &str = "
    create table counter (key uuid primary key, n bigint not null default 0);
    create table handled (
        position bigint generated always as identity,
        key text not null,
        words text not null check (words <> 'against the constraint')
    )";

pub struct Bench {
    pub database: Database,
    pub kafka: Kafka,
    pub codec: Codec,
    pub outbox: Outbox,
}

/// A relay or consumer at work.
pub struct Task {
    shutdown: CancellationToken,
    handle: JoinHandle<()>,
}

impl Task {
    /// Starts something that runs until its token is cancelled.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(CancellationToken) -> F) -> Self {
        let shutdown = CancellationToken::new();
        let handle = tokio::spawn(run(shutdown.clone()));
        Self { shutdown, handle }
    }

    /// Lets it finish.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(LIMIT, self.handle)
            .await
            .expect("it ends when it is asked to")
            .unwrap();
    }
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(testkit::kafka()).await
    }

    /// All messages of a topic in one order, and what is queued at start in one batch.
    pub async fn with_one_partition() -> Self {
        Self::with(testkit::kafka_with_one_partition()).await
    }

    async fn with(kafka: Kafka) -> Self {
        let migration = Migration::new(
            1,
            "tables".into(),
            MigrationType::Simple,
            TABLES.into_sql_str(),
            false,
        );
        let database = Database::create("mailbox", &Migrator::with_migrations(vec![migration])).await;
        Self {
            database,
            kafka,
            codec: testkit::codec("mailbox").await,
            outbox: Outbox::new(),
        }
    }

    pub fn pool(&self) -> PgPool {
        self.database.pool()
    }

    /// A message whose words say which one it is.
    pub fn message(&self, key: PurchaseId, words: impl Into<String>) -> Outgoing {
        let message = OrderRejected {
            purchase_id: key,
            reason: words.into(),
        };
        self.codec.outgoing(PURCHASE_REPLIES, key, &message).unwrap()
    }

    /// Writes messages in a transaction of their own and wakes the relay.
    pub async fn write(&self, messages: &[Outgoing]) {
        let mut tx = self.pool().begin().await.unwrap();
        self.outbox.append(&mut tx, messages).await.unwrap();
        tx.commit().await.unwrap();
        self.outbox.wake_relay();
    }

    pub fn relay(&self) -> Task {
        self.relay_to(self.kafka.settings())
    }

    pub fn relay_to(&self, kafka: KafkaSettings) -> Task {
        let relay = Relay::new("mailbox", self.database.options(), kafka, self.outbox.clone());
        Task::spawn(|shutdown| async move { relay.run(shutdown).await })
    }

    pub fn consumer(&self, handler: impl Handler) -> Task {
        self.consumer_in(GROUP, handler)
    }

    pub fn consumer_in(&self, group: &str, handler: impl Handler) -> Task {
        let consumer = Consumer::new(
            "mailbox",
            group,
            &[PURCHASE_REPLIES],
            self.kafka.settings(),
            self.pool(),
            self.codec.clone(),
            self.outbox.clone(),
            handler,
        );
        Task::spawn(|shutdown| async move { consumer.run(shutdown).await.unwrap() })
    }

    /// Sends records as they are, one after the other.
    pub async fn send(&self, records: &[Record]) {
        let producer: FutureProducer = self.kafka.settings().producer().create().unwrap();
        for record in records {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |all, (key, value)| {
                    all.insert(Header {
                        key,
                        value: Some(value),
                    })
                });
            let mut sent = FutureRecord::<[u8], [u8]>::to(PURCHASE_REPLIES).headers(headers);
            if let Some(key) = &record.key {
                sent = sent.key(key.as_slice());
            }
            if let Some(payload) = &record.payload {
                sent = sent.payload(payload.as_slice());
            }
            producer.send(sent, LIMIT).await.unwrap();
        }
    }

    /// The first `count` messages of the topic, per partition in their order.
    pub async fn published(&self, count: usize) -> Vec<OwnedMessage> {
        published(&self.kafka.settings(), self.kafka_partitions(), count).await
    }

    fn kafka_partitions(&self) -> i32 {
        let consumer: StreamConsumer = self.kafka.settings().tail_consumer("count").create().unwrap();
        let metadata = consumer.fetch_metadata(Some(PURCHASE_REPLIES), LIMIT).unwrap();
        metadata.topics()[0].partitions().len().try_into().unwrap()
    }

    /// How many records the topic has.
    pub fn record_count(&self) -> i64 {
        let consumer: StreamConsumer = self.kafka.settings().tail_consumer("count").create().unwrap();
        let high = |partition| {
            consumer
                .fetch_watermarks(PURCHASE_REPLIES, partition, LIMIT)
                .unwrap()
                .1
        };
        (0..self.kafka_partitions()).map(high).sum()
    }

    /// How far the group has committed, over all partitions.
    pub fn committed(&self) -> i64 {
        let consumer: StreamConsumer = self.kafka.settings().group_consumer(GROUP).create().unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(PURCHASE_REPLIES, 0, self.kafka_partitions() - 1);
        let committed = consumer.committed_offsets(asked, LIMIT).unwrap();
        committed
            .elements()
            .iter()
            .filter_map(|element| element.offset().to_raw().filter(|raw| *raw > 0))
            .sum()
    }

    pub async fn outbox_rows(&self) -> i64 {
        sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(&self.pool())
            .await
            .unwrap()
    }

    pub async fn outbox_drains(&self) {
        eventually("the outbox is empty", LIMIT, async || {
            (self.outbox_rows().await == 0).then_some(())
        })
        .await;
    }

    /// What the recorder has kept, in the order of handling.
    pub async fn handled(&self) -> Vec<String> {
        sqlx::query_scalar("select words from handled order by position")
            .fetch_all(&self.pool())
            .await
            .unwrap()
    }

    pub async fn handled_count(&self, count: usize) -> Vec<String> {
        eventually("the messages are handled", LIMIT, async || {
            Some(self.handled().await).filter(|handled| handled.len() >= count)
        })
        .await
    }

    pub async fn parked(&self) -> Vec<Parked> {
        sqlx::query_as(
            "select consumer, key, cause, error_class, error, message_type, command_id from parked
             order by parked_at, \"offset\"",
        )
        .fetch_all(&self.pool())
        .await
        .unwrap()
    }

    pub async fn parked_count(&self, count: usize) -> Vec<Parked> {
        eventually("the messages are parked", LIMIT, async || {
            Some(self.parked().await).filter(|parked| parked.len() >= count)
        })
        .await
    }
}

/// A row of the parked messages.
#[derive(Debug, sqlx::FromRow)]
pub struct Parked {
    pub consumer: String,
    pub key: Option<String>,
    pub cause: String,
    pub error_class: String,
    pub error: String,
    pub message_type: Option<String>,
    pub command_id: Option<uuid::Uuid>,
}

/// A record as it is sent, right or wrong.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub headers: BTreeMap<&'static str, String>,
    pub payload: Option<Vec<u8>>,
}

impl Record {
    /// As the relay would send it.
    pub fn of(message: &Outgoing, sequence: Option<i64>) -> Self {
        let mut headers = BTreeMap::from([
            (header::SPEC_VERSION, envelope::SPEC_VERSION.to_owned()),
            (header::ID, message.id.to_string()),
            (header::TYPE, message.message_type.to_owned()),
            (header::SOURCE, message.source.clone()),
        ]);
        if let Some(sequence) = sequence {
            headers.insert(header::SEQUENCE, sequence.to_string());
        }
        if let Some(command) = message.command_id {
            headers.insert(header::COMMAND_ID, command.to_string());
        }
        Self {
            key: Some(message.key.clone().into_bytes()),
            headers,
            payload: Some(message.payload.clone()),
        }
    }
}

/// The first `count` messages of the topic, per partition in their order.
pub async fn published(kafka: &KafkaSettings, partitions: i32, count: usize) -> Vec<OwnedMessage> {
    let consumer: StreamConsumer = kafka.tail_consumer("reader").create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(PURCHASE_REPLIES, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut messages = Vec::with_capacity(count);
    let read = async {
        while messages.len() < count {
            messages.push(consumer.recv().await.unwrap().detach());
        }
    };
    tokio::time::timeout(LIMIT, read)
        .await
        .unwrap_or_else(|_| panic!("{count} messages are published"));
    messages
}

/// The words of a published message.
pub async fn words(codec: &Codec, message: &OwnedMessage) -> String {
    let (schema, datum) = codec.open(message.payload().unwrap()).await.unwrap();
    contracts::message::decode::<OrderRejected>(&datum, &schema)
        .unwrap()
        .reason
}

/// A header of a published message.
pub fn header_of(message: &OwnedMessage, name: &str) -> Option<String> {
    let value = message
        .headers()?
        .iter()
        .find(|header| header.key == name)?
        .value?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}
