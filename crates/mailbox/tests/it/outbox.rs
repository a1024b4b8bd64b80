use contracts::ids::PurchaseId;
use mailbox::{Carrier, Outbox, Outgoing, capture, outbox::MAX_PAYLOAD_BYTES};
use tokio_util::sync::CancellationToken;

use crate::bench::Bench;

#[tokio::test]
async fn rows_are_numbered_in_the_order_in_which_they_were_given() {
    let bench = Bench::new().await;
    let key = PurchaseId::fresh();
    let messages: Vec<Outgoing> = (0..300)
        .map(|number| bench.message(key, number.to_string()))
        .collect();
    bench.write(&messages).await;
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar("select id from outbox order by seq")
        .fetch_all(&bench.pool())
        .await
        .unwrap();
    assert_eq!(
        ids,
        messages.iter().map(|message| message.id.0).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_message_that_the_broker_would_refuse_is_refused_before_it_is_written() {
    let bench = Bench::new().await;
    let key = PurchaseId::fresh();
    let too_large = bench.message(key, "x".repeat(MAX_PAYLOAD_BYTES));
    let mut tx = bench.pool().begin().await.unwrap();
    let fault = bench
        .outbox
        .append(&mut tx, &[bench.message(key, "small"), too_large])
        .await
        .unwrap_err();
    assert!(!fault.is_transient());
    assert!(fault.to_string().contains("exceeds the limit"), "{fault}");
    tx.commit().await.unwrap();
    assert_eq!(bench.outbox_rows().await, 0);
}

#[tokio::test]
async fn an_answer_continues_the_trace_of_its_cause() {
    let bench = Bench::new().await;
    let key = PurchaseId::fresh();
    let mut cause = testkit::received(&bench.codec, &bench.message(key, "cause")).await;
    cause.envelope.trace = Some(contracts::trace::TraceContext::root());
    cause.envelope.tracestate = Some("vendor=1".to_owned());
    let answer = bench.message(key, "answer").caused_by(&cause);
    assert_eq!(answer.causation_id, Some(cause.envelope.id));
    assert_eq!(
        answer.trace.unwrap().trace_id(),
        cause.envelope.trace.unwrap().trace_id()
    );
    assert_eq!(answer.tracestate.as_deref(), Some("vendor=1"));
}

/// What the connector reads from the log is tested with Debezium (e2e); here, that the table keeps nothing.
#[tokio::test]
async fn a_captured_message_is_in_the_log_and_not_in_the_table() {
    let bench = Bench::new().await;
    let before: i64 = sqlx::query_scalar("select coalesce(pg_sequence_last_value('outbox_seq_seq'), 0)")
        .fetch_one(&bench.pool())
        .await
        .unwrap();
    let outbox = Outbox::carried_by(Carrier::Capture);
    let mut tx = bench.pool().begin().await.unwrap();
    let messages = ["one", "two"].map(|words| bench.message(PurchaseId::fresh(), words));

    outbox.append(&mut tx, &messages).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(bench.outbox_rows().await, 0);
    let after: i64 = sqlx::query_scalar("select pg_sequence_last_value('outbox_seq_seq')")
        .fetch_one(&bench.pool())
        .await
        .unwrap();
    assert_eq!(
        after - before,
        2,
        "both were written, in a transaction that was committed"
    );
}

#[tokio::test]
async fn a_service_without_a_logical_log_says_what_to_set() {
    let bench = Bench::new().await;
    let level: String = sqlx::query_scalar("select current_setting('wal_level')")
        .fetch_one(&bench.pool())
        .await
        .unwrap();
    assert_eq!(level, "replica", "the server of the tests keeps a plain log");
    let error = capture::begin(&bench.pool(), "mailbox", &CancellationToken::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("wal_level = replica") && error.contains("--outbox relay"),
        "{error}"
    );
}
