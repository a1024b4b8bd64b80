//! Whether everything that was committed was sent: an independent count of both ends. A trigger of the suite's own keeps the
//! id of every row that comes into an outbox, and the topics are read from where the last look ended.
//!
//! Loss heals itself, because whoever waits for an answer asks again. So only a count can show that the relay deleted what the
//! broker did not have.

#![expect(
    clippy::disallowed_methods,
    reason = "makes and reads tables of the suite's own in the services' schemas"
)]

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use contracts::{envelope::header, topics::TOPICS};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{serve::SERVICES, stage::Stage};

/// How long the broker may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Both ends.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Up to where each partition was read.
    read: BTreeMap<(String, i32), i64>,
}

impl Ledger {
    /// Has every outbox keep the ids of its rows.
    pub async fn begin(stage: &Stage) -> anyhow::Result<Self> {
        for service in SERVICES {
            let mut database = stage.database(service).await?;
            for statement in [
                "create table fault_ledger (id uuid primary key)",
                "create function fault_ledger() returns trigger language plpgsql as
                 $$ begin insert into fault_ledger values (new.id); return null; end $$",
                "create trigger fault_ledger after insert on outbox for each row execute function fault_ledger()",
            ] {
                sqlx::query(AssertSqlSafe(statement.to_owned()))
                    .execute(&mut database)
                    .await?;
            }
        }
        Ok(Self::default())
    }

    /// Says what was committed and is on no topic. To be asked when the outboxes are empty.
    pub async fn everything_was_sent(&mut self, stage: &Stage) -> anyhow::Result<Option<String>> {
        let (bootstrap, from) = (stage.bootstrap(), std::mem::take(&mut self.read));
        let (sent, to) = tokio::task::spawn_blocking(move || read(&bootstrap, &from)).await??;
        self.read = to;
        let sent: Vec<Uuid> = sent.into_iter().collect();
        let mut lost = 0;
        for service in SERVICES {
            let mut database = stage.database(service).await?;
            sqlx::query("delete from fault_ledger where id = any($1)")
                .bind(&sent)
                .execute(&mut database)
                .await?;
            lost += sqlx::query("delete from fault_ledger")
                .execute(&mut database)
                .await?
                .rows_affected();
        }
        Ok((lost != 0).then(|| format!("{lost} committed messages were never sent")))
    }

    /// Forgets everything, because the broker has.
    pub async fn forgive(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.read.clear();
        for service in SERVICES {
            let mut database = stage.database(service).await?;
            sqlx::query("delete from fault_ledger")
                .execute(&mut database)
                .await?;
        }
        Ok(())
    }
}

type Read = (HashSet<Uuid>, BTreeMap<(String, i32), i64>);

/// The ids of all messages on all topics from there on, and where they end.
fn read(bootstrap: &str, from: &BTreeMap<(String, i32), i64>) -> anyhow::Result<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "faults.ledger")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("log_level", "2")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    let mut open = HashSet::new();
    for topic in TOPICS {
        for partition in 0..topic.partitions {
            let (low, high) = consumer.fetch_watermarks(topic.name, partition, ANSWER_LIMIT)?;
            let place = (topic.name.to_owned(), partition);
            let begin = from.get(&place).copied().unwrap_or(0).max(low);
            if begin < high {
                assignment.add_partition_offset(topic.name, partition, Offset::Offset(begin))?;
                open.insert(place.clone());
            }
            ends.insert(place, high);
        }
    }
    let mut ids = HashSet::new();
    if open.is_empty() {
        return Ok((ids, ends));
    }
    consumer.assign(&assignment)?;
    while !open.is_empty() {
        let Some(message) = consumer.poll(ANSWER_LIMIT) else {
            anyhow::bail!("{} partitions cannot be read to their ends", open.len());
        };
        let message = message?;
        let id: Option<Uuid> = message
            .headers()
            .and_then(|all| all.iter().find(|one| one.key == header::ID))
            .and_then(|one| std::str::from_utf8(one.value?).ok()?.parse().ok());
        ids.extend(id);
        let place = (message.topic().to_owned(), message.partition());
        // A compacted topic may end before its last offset; the last message of a partition is always kept.
        if message.offset() + 1 >= ends[&place] {
            open.remove(&place);
        }
    }
    Ok((ids, ends))
}
