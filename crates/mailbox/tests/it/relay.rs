use std::collections::BTreeMap;

use contracts::{
    envelope::header,
    ids::{CommandId, PurchaseId},
    topics::PURCHASE_REPLIES,
    trace::TraceContext,
};
use mailbox::KafkaSettings;
use rdkafka::{
    Message,
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use testkit::eventually;

use crate::{
    LIMIT,
    bench::{Bench, header_of, published, words},
};

/// Writers per key, and messages of each.
const WRITERS: usize = 4;
const ROUNDS: usize = 25;
const KEYS: usize = 5;

/// Invariant I8. Goal: for each key, the published order is the order of the commits, whatever the order in which the
/// writers began. Method: several writers per key take the key's row lock, draw the next number, write it to the
/// outbox and commit, while the relay runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_relay_publishes_each_key_in_commit_order() {
    let bench = std::sync::Arc::new(Bench::new().await);
    let keys: Vec<PurchaseId> = (0..KEYS).map(|_| PurchaseId::fresh()).collect();
    for key in &keys {
        sqlx::query("insert into counter (key) values ($1)")
            .bind(key.0)
            .execute(&bench.pool())
            .await
            .unwrap();
    }
    let relay = bench.relay();
    let mut writers = tokio::task::JoinSet::new();
    for key in keys.iter().flat_map(|key| std::iter::repeat_n(*key, WRITERS)) {
        let bench = bench.clone();
        writers.spawn(async move {
            for _ in 0..ROUNDS {
                let mut tx = bench.pool().begin().await.unwrap();
                let number: i64 =
                    sqlx::query_scalar("update counter set n = n + 1 where key = $1 returning n")
                        .bind(key.0)
                        .fetch_one(&mut *tx)
                        .await
                        .unwrap();
                let message = bench.message(key, number.to_string());
                bench.outbox.append(&mut tx, &[message]).await.unwrap();
                // Other transactions commit between this one's write and its commit.
                sqlx::query("select pg_sleep(random() * 0.004)")
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                bench.outbox.wake_relay();
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    bench.outbox_drains().await;
    relay.stop().await;

    let mut numbers: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for message in bench.published(KEYS * WRITERS * ROUNDS).await {
        let number = words(&bench.codec, &message).await.parse().unwrap();
        numbers
            .entry(message.key().unwrap().to_vec())
            .or_default()
            .push(number);
    }
    assert_eq!(numbers.len(), KEYS);
    let expected: Vec<usize> = (1..=WRITERS * ROUNDS).collect();
    for of_a_key in numbers.into_values() {
        assert_eq!(of_a_key, expected);
    }
    assert_eq!(
        bench.record_count(),
        i64::try_from(KEYS * WRITERS * ROUNDS).unwrap(),
        "and none twice"
    );
}

#[tokio::test]
async fn a_row_that_becomes_visible_late_is_published_all_the_same() {
    let bench = Bench::new().await;
    let relay = bench.relay();
    let mut late = bench.pool().begin().await.unwrap();
    bench
        .outbox
        .append(&mut late, &[bench.message(PurchaseId::fresh(), "late")])
        .await
        .unwrap();
    bench.write(&[bench.message(PurchaseId::fresh(), "early")]).await;
    let first = bench.published(1).await;
    assert_eq!(
        words(&bench.codec, &first[0]).await,
        "early",
        "its number is the higher one"
    );

    late.commit().await.unwrap();

    let all = bench.published(2).await;
    assert_eq!(all.len(), 2);
    bench.outbox_drains().await;
    relay.stop().await;
}

#[tokio::test]
async fn while_the_broker_is_away_nothing_is_deleted_and_then_everything_is_sent_once() {
    let bench = Bench::new().await;
    bench.kafka.broker().down().unwrap();
    let relay = bench.relay();
    let key = PurchaseId::fresh();
    for number in 0..20 {
        bench.write(&[bench.message(key, number.to_string())]).await;
    }
    leader_pid(&bench).await;
    assert_eq!(bench.outbox_rows().await, 20);
    // The relay is stopped in the middle of its wait, and another one takes the rows up.
    relay.stop().await;
    assert_eq!(bench.outbox_rows().await, 20);

    bench.kafka.broker().up().unwrap();
    let relay = bench.relay();
    bench.outbox_drains().await;
    relay.stop().await;

    let mut sent = Vec::new();
    for message in bench.published(20).await {
        sent.push(words(&bench.codec, &message).await.parse::<usize>().unwrap());
    }
    assert_eq!(sent, (0..20).collect::<Vec<_>>());
    assert_eq!(bench.record_count(), 20);
}

#[tokio::test]
async fn the_relay_deletes_exactly_what_was_acknowledged() {
    let bench = Bench::new().await;
    let (small, large) = (PurchaseId::fresh(), PurchaseId::fresh());
    // The client refuses the large one, so of this batch some are acknowledged and one never is.
    let mut kafka = bench.kafka.settings();
    kafka
        .properties
        .push(("message.max.bytes".to_owned(), "2000".to_owned()));
    bench
        .write(&[
            bench.message(small, "before"),
            bench.message(large, "x".repeat(3_000)),
            bench.message(large, "behind"),
            bench.message(small, "after"),
        ])
        .await;

    let relay = bench.relay_to(kafka);
    let parked = bench.parked_count(2).await;
    bench.outbox_drains().await;

    let described: Vec<_> = parked
        .iter()
        .map(|p| (p.consumer.as_str(), p.key.clone().unwrap(), p.cause.as_str()))
        .collect();
    let large = large.to_string();
    assert_eq!(
        described,
        [
            ("relay", large.clone(), "failed"),
            ("relay", large.clone(), "behind")
        ]
    );
    assert!(
        parked[0].error.contains("Message size too large"),
        "{}",
        parked[0].error
    );
    let mut sent = Vec::new();
    for message in bench.published(2).await {
        sent.push(words(&bench.codec, &message).await);
    }
    assert_eq!(sent, ["before", "after"]);
    assert_eq!(bench.record_count(), 2);

    // Once an operator has settled both, the key flows again.
    sqlx::query("update parked set resolved_at = now(), resolution = 'discarded'")
        .execute(&bench.pool())
        .await
        .unwrap();
    bench
        .write(&[bench.message(large.parse().unwrap(), "small now")])
        .await;
    bench.published(3).await;
    assert_eq!(bench.parked().await.len(), 2);
    relay.stop().await;
}

/// The broker answers for a whole batch of a partition at once: whoever is refused in company may be innocent.
#[tokio::test]
async fn a_refusal_of_a_batch_parks_only_the_message_that_is_refused_alone() {
    let bench = Bench::new().await;
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic(PURCHASE_REPLIES, 1, 1).unwrap();
    let kafka = KafkaSettings {
        bootstrap: broker.bootstrap_servers(),
        ..bench.kafka.settings()
    };
    // The first request, with all rows, is refused; so is the second, with the first row alone.
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    broker.request_errors(RDKafkaApiKey::Produce, &[refused, refused]);
    let messages: Vec<_> = (0..10)
        .map(|number| bench.message(PurchaseId::fresh(), number.to_string()))
        .collect();
    bench.write(&messages).await;

    let relay = bench.relay_to(kafka.clone());
    bench.outbox_drains().await;
    relay.stop().await;

    let parked: Vec<_> = bench
        .parked()
        .await
        .into_iter()
        .map(|p| (p.key.unwrap(), p.cause))
        .collect();
    assert_eq!(parked, [(messages[0].key.clone(), "failed".to_owned())]);
    let mut sent = Vec::new();
    for message in published(&kafka, 1, 9).await {
        sent.push(words(&bench.codec, &message).await);
    }
    assert_eq!(sent, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn of_two_relays_one_leads_and_the_other_takes_over() {
    let bench = Bench::new().await;
    let (one, other) = (bench.relay(), bench.relay());
    let key = PurchaseId::fresh();
    for number in 0..50 {
        bench.write(&[bench.message(key, number.to_string())]).await;
    }
    bench.outbox_drains().await;
    assert_eq!(bench.record_count(), 50, "two leaders would send some twice");
    let first = leader_pid(&bench).await;

    // The leader's session is cut: its lock is free, and either of the two takes it.
    sqlx::query("select pg_terminate_backend($1)")
        .bind(first)
        .execute(&sqlx::PgPool::connect(&bench.database.admin_url()).await.unwrap())
        .await
        .unwrap();
    bench.write(&[bench.message(key, "50")]).await;
    bench.outbox_drains().await;
    assert_ne!(leader_pid(&bench).await, first);
    one.stop().await;
    bench.write(&[bench.message(key, "51")]).await;
    bench.outbox_drains().await;
    other.stop().await;

    let mut sent = Vec::new();
    for message in bench.published(52).await {
        sent.push(words(&bench.codec, &message).await.parse::<usize>().unwrap());
    }
    assert_eq!(sent, (0..52).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_published_message_carries_its_envelope() {
    let bench = Bench::new().await;
    let (key, command, trace) = (PurchaseId::fresh(), CommandId::fresh(), TraceContext::root());
    let message = bench
        .message(key, "said")
        .command(command)
        .reply_to(PURCHASE_REPLIES)
        .traced(trace);
    bench.write(std::slice::from_ref(&message)).await;
    let relay = bench.relay();

    let published = bench.published(1).await;
    relay.stop().await;

    let published = &published[0];
    assert_eq!(published.key(), Some(key.to_string().as_bytes()));
    assert_eq!(published.payload(), Some(message.payload.as_slice()));
    for (name, expected) in [
        (header::SPEC_VERSION, "1.0"),
        (header::ID, &message.id.to_string()),
        (header::TYPE, "belay.orders.OrderRejected"),
        (header::SOURCE, "/belay/mailbox"),
        (header::SUBJECT, &key.to_string()),
        (header::CONTENT_TYPE, "application/vnd.confluent.avro"),
        (header::SEQUENCE, "1"),
        (header::TRACEPARENT, &trace.to_string()),
        (header::COMMAND_ID, &command.to_string()),
        (header::REPLY_TO, PURCHASE_REPLIES),
    ] {
        assert_eq!(header_of(published, name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(header_of(published, header::CAUSATION_ID), None);
    let time = header_of(published, header::TIME).unwrap();
    assert!(time.parse::<chrono::DateTime<chrono::Utc>>().is_ok(), "{time}");
}

/// The server process whose session holds the relay's lock, once there is one; never two.
async fn leader_pid(bench: &Bench) -> i32 {
    let admin = sqlx::PgPool::connect(&bench.database.admin_url()).await.unwrap();
    eventually("a relay leads", LIMIT, async || {
        let leaders: Vec<i32> = sqlx::query_scalar(
            "select pid from pg_locks
             where locktype = 'advisory' and granted
               and database = (select oid from pg_database where datname = current_database())",
        )
        .fetch_all(&admin)
        .await
        .unwrap();
        assert!(leaders.len() <= 1, "{leaders:?}");
        leaders.first().copied()
    })
    .await
}
