use contracts::{
    envelope::header,
    ids::{CommandId, PurchaseId},
    orders::OrderCancelled,
    topics::PURCHASE_REPLIES,
};
use mailbox::{
    Fault,
    parked::{Cause, park_received},
};

use crate::{
    bench::{Bench, GROUP, Record},
    recorder::{AGAINST_THE_CONSTRAINT, POISON, Recorder},
};

/// Goal: whatever is wrong with a message, it alone is parked, and the rest of its batch is handled. Method: every kind
/// of poison in the middle of good messages, all queued before the consumer starts.
#[tokio::test]
async fn a_poison_message_is_parked_and_the_rest_of_its_batch_is_handled() {
    let bench = Bench::with_one_partition().await;
    let good = |words: &str| Record::of(&bench.message(PurchaseId::fresh(), words), None);
    let poisons: [(&str, &str, Record); 10] = [
        ("envelope", "the header `ce_id` is missing", {
            let mut record = good("-");
            record.headers.remove(header::ID);
            record
        }),
        ("envelope", "the header `sequence` holds `many`", {
            let mut record = good("-");
            record.headers.insert(header::SEQUENCE, "many".to_owned());
            record
        }),
        (
            "decoding",
            "not in Confluent's wire format",
            Record {
                payload: Some(b"{}".to_vec()),
                ..good("-")
            },
        ),
        (
            "handling",
            "has no value",
            Record {
                payload: None,
                ..good("-")
            },
        ),
        (
            "handling",
            "cannot be had from the registry",
            Record {
                payload: Some(vec![0, 0, 0, 99, 99, 0]),
                ..good("-")
            },
        ),
        ("decoding", "the bytes are not a belay.orders.OrderRejected", {
            let mut record = good("-");
            record.payload.as_mut().unwrap().truncate(10);
            record
        }),
        (
            "handling",
            "has no key",
            Record {
                key: None,
                ..good("-")
            },
        ),
        ("handling", "is not expected", {
            let purchase_id = PurchaseId::fresh();
            let other = OrderCancelled { purchase_id };
            Record::of(
                &bench
                    .codec
                    .outgoing(PURCHASE_REPLIES, purchase_id, &other)
                    .unwrap(),
                None,
            )
        }),
        ("handling", "this message cannot be handled", good(POISON)),
        ("data", "violates check constraint", good(AGAINST_THE_CONSTRAINT)),
    ];
    let mut records = vec![good("0")];
    for (number, (_, _, poison)) in poisons.iter().enumerate() {
        records.push(poison.clone());
        records.push(good(&(number + 1).to_string()));
    }
    bench.send(&records).await;

    let recorder = Recorder::default();
    let consumer = bench.consumer(recorder.clone());
    let handled = bench.handled_count(poisons.len() + 1).await;
    let parked = bench.parked_count(poisons.len()).await;
    consumer.stop().await;

    let expected: Vec<String> = (0..=poisons.len()).map(|number| number.to_string()).collect();
    assert_eq!(handled, expected, "in the order of the partition");
    assert_eq!(parked.len(), poisons.len());
    for ((class, words, record), row) in poisons.iter().zip(&parked) {
        assert_eq!((row.consumer.as_str(), row.cause.as_str()), (GROUP, "failed"));
        assert_eq!(row.error_class, *class, "{}", row.error);
        assert!(row.error.contains(words), "{}", row.error);
        assert_eq!(row.key.as_ref().map(|key| key.clone().into_bytes()), record.key);
        assert_eq!(row.message_type.as_ref(), record.headers.get(header::TYPE));
    }
    assert_eq!(
        bench.committed(),
        i64::try_from(records.len()).unwrap(),
        "a parked message is settled"
    );
    assert_eq!(bench.outbox_rows().await, 0);
}

#[tokio::test]
async fn later_messages_of_a_parked_key_wait_behind_it_and_a_repeated_command_waits_once() {
    let bench = Bench::with_one_partition().await;
    let (sick, well) = (PurchaseId::fresh(), PurchaseId::fresh());
    let command = CommandId::fresh();
    let of = |key, words: &str| Record::of(&bench.message(key, words), None);
    let commanded = |key, words: &str| Record::of(&bench.message(key, words).command(command), None);
    bench
        .send(&[
            of(sick, POISON),
            // In the same batch as the one that fails.
            of(sick, "second"),
            of(well, "well"),
        ])
        .await;
    let consumer = bench.consumer(Recorder::default());
    bench.parked_count(2).await;
    // In a later batch; the same command three times, each time in a message of its own.
    bench
        .send(&[
            commanded(sick, "third"),
            commanded(sick, "third"),
            commanded(sick, "third"),
            // Another key may bear any command.
            commanded(well, "as well"),
        ])
        .await;

    let handled = bench.handled_count(2).await;
    consumer.stop().await;

    assert_eq!(handled, ["well", "as well"]);
    let parked = bench.parked().await;
    let described: Vec<_> = parked.iter().map(|p| (p.cause.as_str(), p.command_id)).collect();
    assert_eq!(
        described,
        [("failed", None), ("behind", None), ("behind", Some(command.0))]
    );
    assert!(parked.iter().all(|p| p.key.as_deref() == Some(&sick.to_string())));
    assert_eq!(parked[1].error, "an earlier message of its key is parked");
}

#[tokio::test]
async fn a_key_flows_again_once_its_parked_messages_are_settled() {
    let bench = Bench::with_one_partition().await;
    let key = PurchaseId::fresh();
    bench.send(&[Record::of(&bench.message(key, POISON), None)]).await;
    let consumer = bench.consumer(Recorder::default());
    bench.parked_count(1).await;
    sqlx::query("update parked set resolved_at = now(), resolution = 'discarded'")
        .execute(&bench.pool())
        .await
        .unwrap();
    bench.send(&[Record::of(&bench.message(key, "next"), None)]).await;
    assert_eq!(bench.handled_count(1).await, ["next"]);
    consumer.stop().await;
}

/// A consumer that dies between parking a message and committing its offset reads it again.
#[tokio::test]
async fn a_message_that_is_parked_already_is_not_parked_twice() {
    let bench = Bench::with_one_partition().await;
    let record = Record::of(&bench.message(PurchaseId::fresh(), POISON), None);
    bench.send(&[record.clone(), record]).await;
    let [first, second] = bench.published(2).await.try_into().expect("two records");
    let fault = Fault::deterministic(anyhow::anyhow!("this message cannot be handled"));
    let mut tx = bench.pool().begin().await.unwrap();
    for message in [&first, &first, &second] {
        park_received(&mut tx, GROUP, message, Cause::Failed, &fault)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(bench.parked().await.len(), 2, "each record once");
}

#[tokio::test]
async fn a_parked_message_keeps_all_that_it_came_with() {
    let bench = Bench::with_one_partition().await;
    let mut record = Record::of(&bench.message(PurchaseId::fresh(), POISON), Some(7));
    record.headers.insert("x-own", "kept".to_owned());
    bench.send(std::slice::from_ref(&record)).await;
    let consumer = bench.consumer(Recorder::default());
    bench.parked_count(1).await;
    consumer.stop().await;
    let (headers, payload, topic, partition, offset): (serde_json::Value, Vec<u8>, String, i32, i64) =
        sqlx::query_as("select headers, payload, topic, partition, \"offset\" from parked")
            .fetch_one(&bench.pool())
            .await
            .unwrap();
    assert_eq!(headers, serde_json::to_value(&record.headers).unwrap());
    assert_eq!(Some(payload), record.payload);
    assert_eq!((topic.as_str(), partition, offset), (PURCHASE_REPLIES, 0, 0));
}
