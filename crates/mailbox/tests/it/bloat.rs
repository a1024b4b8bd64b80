//! The outbox under a transaction that idles: what was deleted cannot be vacuumed as long as somebody may still see it, and the
//! relay reads past all of it.

use std::time::Duration;

use contracts::ids::PurchaseId;
use sqlx::PgPool;
use testkit::eventually;

use crate::{LIMIT, bench::Bench};

/// Messages that come and go while one transaction idles: a minute of 1,000 messages a second, after which the server ends a
/// service's session that idles so (`host::database::IDLE_IN_TRANSACTION`).
const GONE: i64 = 60_000;

/// The relay's question, as it asks.
const ASKED: &str = "explain (analyze, buffers, format json)
    select seq, id, aggregatetype, aggregateid, type, payload, source, traceparent, tracestate, command_id, causation_id,
           reply_to, created_at
    from outbox order by seq limit 500";

/// Pages that one look of the relay reads, and how long it takes in milliseconds.
async fn look(pool: &PgPool) -> (i64, f64) {
    let plan: serde_json::Value = sqlx::query_scalar(ASKED).fetch_one(pool).await.unwrap();
    let plan = &plan[0];
    let pages = |kind: &str| plan["Plan"][kind].as_i64().unwrap();
    (
        pages("Shared Hit Blocks") + pages("Shared Read Blocks"),
        plan["Execution Time"].as_f64().unwrap(),
    )
}

#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "the figures are for whoever reads docs/operations.md"
)]
async fn an_outbox_behind_an_idle_transaction_grows_by_what_was_sent_and_shrinks_when_it_ends() {
    let bench = Bench::with_one_partition().await;
    let pool = bench.pool();
    let fresh = look(&pool).await;

    let mut idle = pool.begin().await.unwrap();
    // A snapshot that lasts, and with it everything that was there.
    sqlx::query("set transaction isolation level repeatable read")
        .execute(&mut *idle)
        .await
        .unwrap();
    sqlx::query("select 1 from outbox")
        .execute(&mut *idle)
        .await
        .unwrap();
    for _ in 0..20 {
        let passing = "with sent as (
                           insert into outbox (id, aggregatetype, aggregateid, type, payload, source)
                           select gen_random_uuid(), 't', 'k', 'm', convert_to(repeat('x', 300), 'UTF8'), '/s'
                           from generate_series(1, $1) returning seq)
                       select count(*) from sent";
        sqlx::query(passing).bind(GONE / 20).execute(&pool).await.unwrap();
        sqlx::query("delete from outbox").execute(&pool).await.unwrap();
    }
    let bloated = look(&pool).await;
    // Every deleted row costs its line in the index and its page: no more, and nothing beside it.
    let size: i64 = sqlx::query_scalar("select pg_total_relation_size('outbox') / 8192")
        .fetch_one(&pool)
        .await
        .unwrap();
    println!(
        "relay's look: {} pages in {:.2} ms when empty; {} pages in {:.1} ms after {GONE} messages behind an idle transaction ({size} pages in all)",
        fresh.0, fresh.1, bloated.0, bloated.1
    );
    assert!(
        bloated.0 > fresh.0 + 1_000,
        "otherwise nothing was held up: {bloated:?}"
    );
    assert!(bloated.0 <= size + GONE, "{bloated:?} of {size}");

    // It still relays, in its time.
    let relay = bench.relay();
    bench
        .write(&[bench.message(PurchaseId::fresh(), "behind all that")])
        .await;
    tokio::time::timeout(Duration::from_secs(10), bench.outbox_drains())
        .await
        .expect("a look past what was deleted takes milliseconds, not seconds");
    relay.stop().await;

    idle.rollback().await.unwrap();
    // Sessions of other tests hold vacuum up too.
    let after = eventually("vacuum has removed what was deleted", LIMIT, async || {
        sqlx::query("vacuum outbox").execute(&pool).await.unwrap();
        let after = look(&pool).await;
        (after.0 <= fresh.0 + 10).then_some(after)
    });
    let after = after.await;
    println!(
        "relay's look: {} pages in {:.2} ms after it ended and a vacuum",
        after.0, after.1
    );
}

/// Autovacuum comes by the number of deleted rows, not by their share, and does not pause.
#[tokio::test]
async fn the_outbox_is_vacuumed_by_count_and_without_pauses() {
    let bench = Bench::new().await;
    let options: Vec<String> = sqlx::query_scalar(
        "select unnest(reloptions) from pg_class where oid = 'outbox'::regclass order by 1",
    )
    .fetch_all(&bench.pool())
    .await
    .unwrap();
    assert_eq!(
        options,
        [
            "autovacuum_vacuum_cost_delay=0",
            "autovacuum_vacuum_scale_factor=0",
            "autovacuum_vacuum_threshold=5000"
        ]
    );
}

/// No session of a service keeps the vacuum from its work for longer than a minute.
#[tokio::test]
async fn a_session_that_idles_in_a_transaction_is_ended_by_the_server() {
    let bench = Bench::new().await;
    let limit: String = sqlx::query_scalar("select current_setting('idle_in_transaction_session_timeout')")
        .fetch_one(&bench.pool())
        .await
        .unwrap();
    assert_eq!(limit, "1min");
    // The same setting, shorter: it does what it says.
    let mut session = bench.pool().acquire().await.unwrap();
    sqlx::query("set idle_in_transaction_session_timeout = '50ms'")
        .execute(&mut *session)
        .await
        .unwrap();
    sqlx::query("begin").execute(&mut *session).await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut *session)
        .await
        .unwrap();
    let others = bench.pool();
    eventually("the session is gone", LIMIT, async || {
        let is_there: bool =
            sqlx::query_scalar("select exists (select from pg_stat_activity where pid = $1)")
                .bind(pid)
                .fetch_one(&others)
                .await
                .unwrap();
        (!is_there).then_some(())
    })
    .await;
    drop(session.detach());
}
