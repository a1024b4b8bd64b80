use std::sync::{Arc, atomic::Ordering};

use contracts::{envelope::header, ids::PurchaseId, topics::PURCHASE_REPLIES};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use testkit::eventually;

use crate::{
    LIMIT,
    bench::{Bench, Record},
    recorder::Recorder,
};

#[tokio::test]
async fn a_message_that_comes_twice_is_handled_once() {
    let bench = Bench::with_one_partition().await;
    let (first, last) = (
        bench.message(PurchaseId::fresh(), "first"),
        bench.message(PurchaseId::fresh(), "last"),
    );
    let [first, last] = [Record::of(&first, Some(1)), Record::of(&last, Some(2))];
    // Twice in one batch.
    bench.send(&[first.clone(), first.clone()]).await;
    let recorder = Recorder {
        answer: Some(bench.message(PurchaseId::fresh(), "answer")),
        ..Recorder::default()
    };
    let consumer = bench.consumer(recorder);
    bench.handled_count(1).await;
    // And once more in a later one.
    bench.send(&[first, last]).await;

    assert_eq!(bench.handled_count(2).await, ["first", "last"]);
    assert_eq!(bench.outbox_rows().await, 2, "an answer for each");
    consumer.stop().await;
}

#[tokio::test]
async fn what_was_handled_is_committed_and_not_read_again() {
    let bench = Bench::new().await;
    let records: Vec<_> = (0..40)
        .map(|number| Record::of(&bench.message(PurchaseId::fresh(), number.to_string()), None))
        .collect();
    bench.send(&records).await;
    let consumer = bench.consumer(Recorder::default());
    bench.handled_count(40).await;
    consumer.stop().await;
    assert_eq!(bench.committed(), 40);

    let again = Recorder::default();
    let consumer = bench.consumer(again.clone());
    bench
        .send(&[Record::of(&bench.message(PurchaseId::fresh(), "new"), None)])
        .await;
    bench.handled_count(41).await;
    consumer.stop().await;
    assert_eq!(*again.committed.lock().unwrap(), [1]);
}

#[tokio::test]
async fn a_transient_fault_repeats_the_batch_and_loses_nothing() {
    let bench = Bench::with_one_partition().await;
    let expected: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let records: Vec<_> = expected
        .iter()
        .map(|words| Record::of(&bench.message(PurchaseId::fresh(), words), None))
        .collect();
    bench.send(&records).await;
    let recorder = Recorder {
        answer: Some(bench.message(PurchaseId::fresh(), "answer")),
        ..Recorder::default()
    };
    recorder.connections_to_lose.store(3, Ordering::SeqCst);

    let consumer = bench.consumer(recorder.clone());
    let handled = bench.handled_count(30).await;
    consumer.stop().await;

    assert_eq!(handled, expected);
    assert_eq!(recorder.connections_to_lose.load(Ordering::SeqCst), 0);
    assert_eq!(
        recorder.committed.lock().unwrap().iter().sum::<usize>(),
        30,
        "only what was committed counts"
    );
    assert_eq!(
        bench.outbox_rows().await,
        30,
        "the answers of the lost tries are lost with them"
    );
    assert_eq!(bench.parked().await.len(), 0);
    assert_eq!(bench.committed(), 30);
}

#[tokio::test]
async fn a_batch_that_is_being_repeated_is_left_at_shutdown_and_taken_up_again() {
    let bench = Bench::with_one_partition().await;
    bench
        .send(&[Record::of(&bench.message(PurchaseId::fresh(), "one"), None)])
        .await;
    let unlucky = Recorder::default();
    unlucky.connections_to_lose.store(usize::MAX, Ordering::SeqCst);
    let consumer = bench.consumer(unlucky.clone());
    eventually("it was tried twice", LIMIT, async || {
        (unlucky.calls.load(Ordering::SeqCst) >= 2).then_some(())
    })
    .await;
    consumer.stop().await;
    assert_eq!(bench.committed(), 0);

    let consumer = bench.consumer(Recorder::default());
    assert_eq!(bench.handled_count(1).await, ["one"]);
    consumer.stop().await;
}

#[tokio::test]
async fn two_members_share_the_work_and_nothing_is_handled_twice() {
    let bench = Arc::new(Bench::new().await);
    let (one, other) = (
        bench.consumer(Recorder::default()),
        bench.consumer(Recorder::default()),
    );
    let records: Vec<_> = (0..100)
        .map(|number| Record::of(&bench.message(PurchaseId::fresh(), number.to_string()), None))
        .collect();
    bench.send(&records[..50]).await;
    bench.handled_count(50).await;
    // One leaves in the middle of the stream.
    bench.send(&records[50..75]).await;
    one.stop().await;
    bench.send(&records[75..]).await;
    let mut handled: Vec<usize> = bench
        .handled_count(100)
        .await
        .iter()
        .map(|words| words.parse().unwrap())
        .collect();
    other.stop().await;
    handled.sort_unstable();
    assert_eq!(handled, (0..100).collect::<Vec<_>>());
}

/// A connector of change data capture writes an absent header as one without a value.
#[tokio::test]
async fn a_header_without_a_value_is_an_absent_one() {
    let bench = Bench::with_one_partition().await;
    let message = bench.message(PurchaseId::fresh(), "captured");
    let absent = [
        header::TRACEPARENT,
        header::TRACESTATE,
        header::COMMAND_ID,
        header::CAUSATION_ID,
        header::REPLY_TO,
    ];
    let id = message.id.to_string();
    let written = [
        (header::ID, id.as_str()),
        (header::TYPE, message.message_type),
        (header::SOURCE, message.source.as_str()),
        (header::SEQUENCE, "1"),
    ];
    let headers = written
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .chain(absent.into_iter().map(|key| (key, None)))
        .fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value })
        });
    let producer: FutureProducer = bench.kafka.settings().producer().create().unwrap();
    let record = FutureRecord::to(PURCHASE_REPLIES)
        .key(&message.key)
        .payload(&message.payload)
        .headers(headers);
    producer.send(record, LIMIT).await.unwrap();

    let consumer = bench.consumer(Recorder::default());
    assert_eq!(bench.handled_count(1).await, ["captured"]);
    consumer.stop().await;
    assert_eq!(bench.parked().await.len(), 0);
}
