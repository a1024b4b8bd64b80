//! Goal: the model of the inbox is the inbox. Method: both claim the same batches, with duplicates and in any order, in
//! transactions of which some are rolled back, with keys parked and settled in between.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use contracts::{
    ids::{MessageId, PurchaseId},
    orders::OrderRejected,
    topics,
};
use mailbox::{Received, inbox as table};
use simulation::{
    inbox::{Inbox, Mail},
    random::Random,
};
use uuid::Uuid;

const CONSUMER: &str = "consumer";
const TOPICS: [&str; 2] = ["one", "another"];
const TRANSACTIONS: u32 = 300;

static NONE: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;

fn id(mail: u32) -> Uuid {
    Uuid::from_u128(u128::from(mail))
}

fn mails(ids: &HashSet<Uuid>) -> BTreeSet<u32> {
    ids.iter()
        .map(|id| u32::try_from(id.as_u128()).unwrap())
        .collect()
}

/// The message as the table sees it.
fn received(like: &Received, mail: &Mail) -> Received {
    let mut message = like.clone();
    message.envelope.id = MessageId(id(mail.id));
    message.envelope.sequence = mail.sequence;
    message.envelope.source = format!("/belay/{}", mail.stream);
    TOPICS[mail.topic as usize].clone_into(&mut message.topic);
    message.key = format!("key {}", mail.key);
    message
}

/// A message is always the same one: everything about it follows from its number.
fn mail(number: u32) -> Mail {
    let mut random = Random::new(u64::from(number));
    let topic = random.below(2);
    Mail {
        id: number + 1,
        topic,
        key: random.below(3),
        stream: topic * 2 + random.below(2),
        sequence: (!random.chance(10)).then(|| i64::from(number / 4 + random.below(6))),
    }
}

#[tokio::test]
async fn the_model_of_the_inbox_claims_as_the_tables_do() {
    let database = testkit::Database::create("payments", &NONE).await;
    let codec = testkit::codec("payments").await;
    let pool = database.pool();
    let reply = OrderRejected {
        purchase_id: PurchaseId(id(1)),
        reason: "like all others".to_owned(),
    };
    let outgoing = codec
        .outgoing(topics::PURCHASE_REPLIES, reply.purchase_id, &reply)
        .unwrap();
    let like = testkit::received(&codec, &outgoing).await;
    let mut random = Random::new(11);
    let mut inbox = Inbox::default();
    let mut parked: BTreeMap<(u32, u32), Uuid> = BTreeMap::new();
    let mut recorded: BTreeSet<u32> = BTreeSet::new();
    let (mut fresh, mut blocked) = (0, 0);
    for transaction in 0..TRANSACTIONS {
        let from = transaction.saturating_sub(5);
        let batch: Vec<Mail> = (0..1 + random.below(6))
            .map(|_| mail(from + random.below(12)))
            .collect();
        let messages: Vec<Received> = batch.iter().map(|mail| received(&like, mail)).collect();
        let claims = inbox.claim(&batch);
        let mut tx = pool.begin().await.unwrap();
        let in_table = table::claim(&mut tx, CONSUMER, &messages).await.unwrap();
        assert_eq!(
            claims.fresh,
            mails(&in_table.fresh),
            "transaction {transaction}: {batch:?}"
        );
        assert_eq!(
            claims.blocked,
            mails(&in_table.blocked),
            "transaction {transaction}: {batch:?}"
        );
        fresh += claims.fresh.len();
        blocked += claims.blocked.len();
        if random.chance(30) {
            tx.rollback().await.unwrap();
        } else {
            tx.commit().await.unwrap();
            inbox.commit(&claims);
            recorded.extend(&claims.behind);
        }
        let regressions: Vec<Uuid> = sqlx::query_scalar("select message_id from regression")
            .fetch_all(&pool)
            .await
            .unwrap();
        let regressions: HashSet<Uuid> = regressions.into_iter().collect();
        assert_eq!(
            recorded,
            mails(&regressions),
            "transaction {transaction}: {batch:?}"
        );
        let key = (random.below(2), random.below(3));
        if random.chance(10) && !parked.contains_key(&key) {
            let row = id(1_000_000 + transaction);
            sqlx::query(
                "insert into parked (id, consumer, topic, key, headers, cause, error_class, error)
                 values ($1, $2, $3, $4, '{}', 'failed', 'data', 'for the test')",
            )
            .bind(row)
            .bind(CONSUMER)
            .bind(TOPICS[key.0 as usize])
            .bind(format!("key {}", key.1))
            .execute(&pool)
            .await
            .unwrap();
            inbox.park(key.0, key.1);
            parked.insert(key, row);
        } else if let Some(row) = parked.get(&key).copied().filter(|_| random.chance(40)) {
            sqlx::query("delete from parked where id = $1")
                .bind(row)
                .execute(&pool)
                .await
                .unwrap();
            inbox.settle(key.0, key.1);
            parked.remove(&key);
        }
    }
    let seen = (fresh, blocked, recorded.len());
    assert!(seen.0 > 100 && seen.1 > 20 && seen.2 > 20, "{seen:?}");
}
