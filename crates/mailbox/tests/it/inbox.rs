use contracts::ids::PurchaseId;
use mailbox::{Received, inbox};

use crate::bench::{Bench, GROUP};

async fn received(bench: &Bench, key: PurchaseId, sequence: i64) -> Received {
    let mut message = testkit::received(&bench.codec, &bench.message(key, sequence.to_string())).await;
    message.envelope.sequence = Some(sequence);
    message
}

/// Claims a batch for good, and gives how many of it are fresh.
async fn claim(bench: &Bench, batch: &[Received]) -> usize {
    let mut tx = bench.pool().begin().await.unwrap();
    let claims = inbox::claim(&mut tx, GROUP, batch).await.unwrap();
    tx.commit().await.unwrap();
    assert!(claims.blocked.is_empty());
    claims.fresh.len()
}

async fn regressions(bench: &Bench) -> Vec<i64> {
    sqlx::query_scalar("select sequence from regression order by sequence")
        .fetch_all(&bench.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_message_is_claimed_once_for_each_consumer() {
    let bench = Bench::new().await;
    let message = received(&bench, PurchaseId::fresh(), 1).await;
    assert_eq!(claim(&bench, &[message.clone(), message.clone()]).await, 1);
    assert_eq!(claim(&bench, std::slice::from_ref(&message)).await, 0);
    let mut tx = bench.pool().begin().await.unwrap();
    let other = inbox::claim(&mut tx, "another consumer", &[message])
        .await
        .unwrap();
    assert_eq!(other.fresh.len(), 1);
}

#[tokio::test]
async fn a_claim_that_is_rolled_back_was_never_made() {
    let bench = Bench::new().await;
    let message = received(&bench, PurchaseId::fresh(), 1).await;
    let mut tx = bench.pool().begin().await.unwrap();
    inbox::claim(&mut tx, GROUP, std::slice::from_ref(&message))
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(claim(&bench, &[message]).await, 1);
}

/// Invariant I8: evidence is kept against whoever published out of order.
#[tokio::test]
async fn a_message_that_arrives_behind_a_later_one_is_recorded() {
    let bench = Bench::new().await;
    let key = PurchaseId::fresh();
    let (third, second) = (received(&bench, key, 3).await, received(&bench, key, 2).await);
    claim(&bench, std::slice::from_ref(&third)).await;
    assert_eq!(
        claim(&bench, std::slice::from_ref(&second)).await,
        1,
        "it is handled all the same"
    );
    assert_eq!(regressions(&bench).await, [2]);
    // Within one batch too.
    let (sixth, fifth, seventh) = (
        received(&bench, key, 6).await,
        received(&bench, key, 5).await,
        received(&bench, key, 7).await,
    );
    claim(&bench, &[sixth, fifth, seventh]).await;
    assert_eq!(regressions(&bench).await, [2, 5]);
    // A message that comes again, or comes in order, is none.
    claim(&bench, &[second, third, received(&bench, key, 8).await]).await;
    assert_eq!(regressions(&bench).await, [2, 5]);
}

/// A relay that could not delete what it sent sends all of it again, and a consumer may take both at once.
#[tokio::test]
async fn messages_that_come_twice_in_one_batch_are_in_order() {
    let bench = Bench::new().await;
    let key = PurchaseId::fresh();
    let (first, second) = (received(&bench, key, 1).await, received(&bench, key, 2).await);
    let batch = [first.clone(), second.clone(), first, second];
    assert_eq!(claim(&bench, &batch).await, 2);
    assert_eq!(regressions(&bench).await, Vec::<i64>::new());
}

#[tokio::test]
async fn another_key_sender_or_topic_has_an_order_of_its_own() {
    let bench = Bench::new().await;
    let key = PurchaseId::fresh();
    let late = received(&bench, key, 9).await;
    let mut of_another_sender = received(&bench, key, 1).await;
    of_another_sender.envelope.source = "/belay/another".to_owned();
    let mut of_another_topic = received(&bench, key, 1).await;
    of_another_topic.topic = "another".to_owned();
    let mut without_sequence = received(&bench, key, 1).await;
    without_sequence.envelope.sequence = None;
    let of_another_key = received(&bench, PurchaseId::fresh(), 1).await;
    let batch = [
        late,
        of_another_sender,
        of_another_topic,
        without_sequence,
        of_another_key,
    ];
    assert_eq!(claim(&bench, &batch).await, 5);
    assert_eq!(regressions(&bench).await, Vec::<i64>::new());
}

/// During a rebalance two instances may hold the same messages. The second waits for the first, and then knows them.
#[tokio::test]
async fn of_two_instances_with_the_same_messages_one_handles_them() {
    let bench = Bench::new().await;
    let batch = [
        received(&bench, PurchaseId::fresh(), 1).await,
        received(&bench, PurchaseId::fresh(), 2).await,
    ];
    let reversed = [batch[1].clone(), batch[0].clone()];
    let (one, other) = tokio::join!(claim(&bench, &batch), claim(&bench, &reversed));
    assert_eq!(one + other, 2);
    assert!(one == 0 || other == 0, "{one} and {other}");
}
