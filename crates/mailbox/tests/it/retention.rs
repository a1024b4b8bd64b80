//! What the mailbox forgets, and what it must not.

use contracts::{
    ids::PurchaseId,
    topics::{Cleanup, TOPICS},
};
use mailbox::{
    inbox,
    retention::{BATCH_ROWS, LEAST_INBOX_DAYS, Pruned, Retention, prune},
};
use sqlx::PgPool;

use crate::bench::{Bench, GROUP};

/// Seven days of Kafka and one to spare; and the same for the other bounds.
fn least() -> Retention {
    Retention::new(0, 0, 0, 0)
}

async fn pruned(pool: &PgPool) -> Pruned {
    let mut connection = pool.acquire().await.unwrap();
    prune(&mut connection, &least()).await.unwrap()
}

async fn left(pool: &PgPool, select: &'static str) -> Vec<String> {
    sqlx::query_scalar(select).fetch_all(pool).await.unwrap()
}

async fn execute(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

#[test]
fn an_inbox_remembers_longer_than_any_topic_keeps() {
    let longest_ms = TOPICS
        .iter()
        .map(|topic| match topic.cleanup {
            Cleanup::Delete { retention_ms } => retention_ms,
            // What is handled again from there changes nothing: only a newer version replaces a row.
            Cleanup::Compact => 0,
        })
        .max()
        .unwrap();
    assert!(i64::from(LEAST_INBOX_DAYS) * 24 * 60 * 60 * 1_000 > longest_ms);
}

#[tokio::test]
async fn what_is_past_its_time_goes_and_nothing_else_does() {
    let bench = Bench::new().await;
    let pool = bench.pool();
    execute(
        &pool,
        "insert into inbox (consumer, message_id, stream, key, at)
         select 'c', gen_random_uuid(), 's', words, now() - age::interval
         from (values ('old', '8 days 1 hour'), ('young', '7 days 23 hours'), ('new', '0')) as v (words, age);
         insert into operation (saga_id, step, direction, outcome, reply, at)
         select gen_random_uuid(), words, 'forward', 'done', '{}', now() - age::interval
         from (values ('old', '90 days 1 hour'), ('young', '89 days 23 hours'), ('new', '0')) as v (words, age);
         insert into request (scope, key, hash, response, at)
         select words, gen_random_uuid(), '', '{}', now() - age::interval
         from (values ('old', '2 days 1 hour'), ('young', '1 day 23 hours'), ('new', '0')) as v (words, age);
         insert into parked (id, consumer, topic, key, headers, cause, error_class, error, parked_at, resolved_at, resolution)
         select gen_random_uuid(), 'c', 't', words, '{}', 'failed', 'data', '', now() - interval '900 days',
                now() - age::interval, case when age is not null then 'discarded' end
         from (values ('old', '30 days 1 hour'), ('young', '29 days 23 hours'), ('open', null)) as v (words, age);
         insert into parked_action (parked_id, action, actor, reason) select id, 'discard', key, 'why' from parked",
    )
    .await;

    let once = Pruned {
        inbox: 1,
        operation: 1,
        request: 1,
        parked: 1,
    };
    assert_eq!(pruned(&pool).await, once);
    assert_eq!(
        pruned(&pool).await,
        Pruned::default(),
        "and nothing more the second time"
    );

    assert_eq!(
        left(&pool, "select key from inbox order by at").await,
        ["young", "new"]
    );
    assert_eq!(
        left(&pool, "select step from operation order by at").await,
        ["young", "new"]
    );
    assert_eq!(
        left(&pool, "select scope from request order by at").await,
        ["young", "new"]
    );
    let parked = left(&pool, "select key from parked order by key").await;
    assert_eq!(
        parked,
        ["open", "young"],
        "what waits for an operator waits for ever"
    );
    let actions = left(&pool, "select actor from parked_action order by actor").await;
    assert_eq!(actions, ["open", "young"]);
}

/// The shortest memory that can be set still knows every message that Kafka can deliver again.
#[tokio::test]
async fn a_message_that_kafka_may_deliver_again_is_still_known() {
    let bench = Bench::new().await;
    let message = testkit::received(&bench.codec, &bench.message(PurchaseId::fresh(), "once")).await;
    let claim = async || {
        let mut tx = bench.pool().begin().await.unwrap();
        let claims = inbox::claim(&mut tx, GROUP, std::slice::from_ref(&message))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        claims.fresh.len()
    };
    assert_eq!(claim().await, 1);
    execute(
        &bench.pool(),
        "update inbox set at = now() - interval '7 days 1 hour'",
    )
    .await;
    assert_eq!(pruned(&bench.pool()).await, Pruned::default());
    assert_eq!(claim().await, 0);
}

/// Nobody waits long for a lock or finds the log full because a backlog is deleted: one batch is bounded.
#[tokio::test]
async fn a_backlog_goes_in_batches_and_what_is_held_is_left_for_later() {
    let bench = Bench::new().await;
    let pool = bench.pool();
    execute(
        &pool,
        "insert into inbox (consumer, message_id, stream, key, at)
         select 'c', gen_random_uuid(), 's', n::text, now() - interval '100 days' + make_interval(secs => n)
         from generate_series(1, 2500) as n",
    )
    .await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("select from inbox where key = '1' for update")
        .execute(&mut *holder)
        .await
        .unwrap();
    let mut batches = Vec::new();
    loop {
        let batch = pruned(&pool).await;
        batches.push(batch.inbox);
        if !batch.is_full() {
            break;
        }
    }
    let most = BATCH_ROWS.unsigned_abs();
    assert_eq!(batches, [most, most, 2_499 - 2 * most]);
    holder.rollback().await.unwrap();
    assert_eq!(pruned(&pool).await.inbox, 1);
}

/// The edge reads the compacted topic of products from its beginning when its offsets are lost.
#[tokio::test]
async fn what_is_read_again_after_it_was_forgotten_is_no_regression() {
    let bench = Bench::new().await;
    let pool = bench.pool();
    let key = PurchaseId::fresh();
    let message = async |sequence: i64, age_days: i64| {
        let mut message = testkit::received(&bench.codec, &bench.message(key, sequence.to_string())).await;
        message.envelope.sequence = Some(sequence);
        let now: f64 = sqlx::query_scalar("select extract(epoch from now())::float8")
            .fetch_one(&pool)
            .await
            .unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
        let sent_at = (now * 1000.0) as i64 - age_days * 86_400_000;
        message.sent_at_millis = Some(sent_at);
        message
    };
    let claim = async |message| {
        let mut tx = pool.begin().await.unwrap();
        inbox::claim(&mut tx, GROUP, &[message]).await.unwrap();
        tx.commit().await.unwrap();
    };
    let regressions = async || left(&pool, "select sequence::text from regression").await;
    claim(message(9, 1).await).await;
    claim(message(5, 30).await).await;
    assert_eq!(regressions().await, Vec::<String>::new(), "it is from long ago");
    claim(message(7, 1).await).await;
    assert_eq!(regressions().await, ["7"]);
}
