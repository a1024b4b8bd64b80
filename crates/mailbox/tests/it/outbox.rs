use contracts::ids::PurchaseId;
use mailbox::{Outgoing, outbox::MAX_PAYLOAD_BYTES};

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
    assert_ne!(answer.trace, cause.envelope.trace, "it is a span of its own");
    assert_eq!(answer.tracestate.as_deref(), Some("vendor=1"));
}
