use contracts::{
    payments::{PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided},
    purchase_manager::CommandSuperseded,
};
use mailbox::Received;

use crate::{World, authorize};

#[tokio::test]
async fn a_payment_is_held_and_then_taken() {
    let world = World::new().await;
    let command = authorize(100_000);
    let replies = world.handle(&[world.authorize(&command).await]).await.unwrap();
    let authorized: PaymentAuthorized = testkit::decoded(&world.codec, &replies[0]).await;
    assert_eq!(authorized.purchase_id, command.purchase_id);
    assert_eq!(world.states().await, ["AUTHORIZED"]);

    let replies = world
        .handle(&[world.capture(command.purchase_id).await])
        .await
        .unwrap();

    let captured: PaymentCaptured = testkit::decoded(&world.codec, &replies[0]).await;
    assert_eq!(captured.payment_id, authorized.payment_id);
    assert_eq!(world.states().await, ["CAPTURED"]);
}

#[tokio::test]
async fn a_declined_payment_is_recorded() {
    let world = World::new().await;
    let command = authorize(100_001);
    let replies = world.handle(&[world.authorize(&command).await]).await.unwrap();

    let declined: PaymentDeclined = testkit::decoded(&world.codec, &replies[0]).await;
    assert!(
        declined.reason.contains("over the limit of 1000.00 EUR"),
        "{}",
        declined.reason
    );
    let rows: Vec<(uuid::Uuid, String, i64, Option<String>)> =
        sqlx::query_as("select payment_id, state, amount_minor, decline_message from payment")
            .fetch_all(&world.pool())
            .await
            .unwrap();
    assert_eq!(
        rows,
        [(
            declined.payment_id.0,
            "DECLINED".to_owned(),
            100_001,
            Some(declined.reason)
        )]
    );

    // Its rollback finds nothing to undo, and the record stays.
    let replies = world
        .handle(&[world.void(command.purchase_id).await])
        .await
        .unwrap();
    testkit::decoded::<PaymentVoided>(&world.codec, &replies[0]).await;
    assert_eq!(world.states().await, ["DECLINED"]);
}

#[tokio::test]
async fn nothing_to_pay_is_declined() {
    let world = World::new().await;
    for amount in [0, -5] {
        let replies = world
            .handle(&[world.authorize(&authorize(amount)).await])
            .await
            .unwrap();
        let declined: PaymentDeclined = testkit::decoded(&world.codec, &replies[0]).await;
        assert_eq!(declined.reason, "There is nothing to pay.");
    }
    assert_eq!(world.states().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_void_before_the_capture_lets_go() {
    let world = World::new().await;
    let purchase = world.authorized().await;
    let replies = world.handle(&[world.void(purchase).await]).await.unwrap();
    testkit::decoded::<PaymentVoided>(&world.codec, &replies[0]).await;
    assert_eq!(world.states().await, ["VOIDED"]);
}

#[tokio::test]
async fn a_void_after_the_capture_refunds() {
    let world = World::new().await;
    let purchase = world.authorized().await;
    world.handle(&[world.capture(purchase).await]).await.unwrap();
    let replies = world.handle(&[world.void(purchase).await]).await.unwrap();
    testkit::decoded::<PaymentVoided>(&world.codec, &replies[0]).await;
    assert_eq!(world.states().await, ["REFUNDED"]);
}

#[tokio::test]
async fn a_duplicate_command_is_answered_with_the_stored_reply() {
    let world = World::new().await;
    for amount in [2_550, 100_001] {
        let command = world.authorize(&authorize(amount)).await;
        let first = world.handle(std::slice::from_ref(&command)).await.unwrap();
        let again = testkit::repeated(&command);
        let replies = world
            .handle(&[again.clone(), testkit::repeated(&command)])
            .await
            .unwrap();
        assert_eq!(replies.len(), 2);
        for reply in &replies {
            // The same datum, so the same payment, in a message of its own.
            assert_eq!(
                (reply.message_type, &reply.payload),
                (first[0].message_type, &first[0].payload)
            );
            assert_ne!(reply.id, first[0].id);
        }
        assert_eq!(replies[0].causation_id, Some(again.envelope.id));
    }
    assert_eq!(world.states().await, ["AUTHORIZED", "DECLINED"]);
}

#[tokio::test]
async fn a_duplicate_capture_takes_the_money_once_even_after_the_refund() {
    let world = World::new().await;
    let purchase = world.authorized().await;
    let capture = world.capture(purchase).await;
    world
        .handle(&[capture.clone(), testkit::repeated(&capture)])
        .await
        .unwrap();
    world.handle(&[world.void(purchase).await]).await.unwrap();
    let replies = world.handle(&[testkit::repeated(&capture)]).await.unwrap();
    testkit::decoded::<PaymentCaptured>(&world.codec, &replies[0]).await;
    assert_eq!(world.states().await, ["REFUNDED"]);
}

#[tokio::test]
async fn a_rollback_that_overtakes_its_command_wins() {
    let world = World::new().await;
    let command = authorize(2_550);
    let replies = world
        .handle(&[world.void(command.purchase_id).await])
        .await
        .unwrap();
    testkit::decoded::<PaymentVoided>(&world.codec, &replies[0]).await;

    let late = world.authorize(&command).await;
    let replies = world.handle(std::slice::from_ref(&late)).await.unwrap();

    let superseded: CommandSuperseded = testkit::decoded(&world.codec, &replies[0]).await;
    assert_eq!(superseded.purchase_id, command.purchase_id);
    assert_eq!(replies[0].command_id, late.envelope.command_id);
    assert_eq!(world.states().await, Vec::<String>::new());
}

#[tokio::test]
async fn one_batch_may_hold_take_and_give_back() {
    let world = World::new().await;
    let (whole, held) = (authorize(1), authorize(2));
    let batch: Vec<Received> = vec![
        world.authorize(&whole).await,
        world.authorize(&held).await,
        world.capture(whole.purchase_id).await,
        world.void(whole.purchase_id).await,
    ];
    let replies = world.handle(&batch).await.unwrap();
    assert_eq!(replies.len(), 4);
    assert_eq!(world.states().await, ["REFUNDED", "AUTHORIZED"]);
}

#[tokio::test]
async fn a_capture_without_a_held_payment_is_a_deterministic_fault() {
    let world = World::new().await;
    let unknown = authorize(1).purchase_id;
    let voided = world.authorized().await;
    world.handle(&[world.void(voided).await]).await.unwrap();
    for (purchase, words) in [
        (unknown, "has no payment"),
        (voided, "is VOIDED and cannot be captured"),
    ] {
        let fault = world.handle(&[world.capture(purchase).await]).await.unwrap_err();
        assert!(!fault.is_transient());
        assert!(fault.to_string().contains(words), "{fault}");
    }
    assert_eq!(world.states().await, ["VOIDED"]);
}

#[tokio::test]
async fn two_instances_that_carry_out_one_command_hold_the_money_once() {
    let world = World::new().await;
    let command = world.authorize(&authorize(2_550)).await;
    let (again, pool) = (testkit::repeated(&command), world.pool());
    let both = async |message: &Received| {
        // What the consumer does with a transient fault: the same batch again.
        loop {
            match testkit::handle(&pool, &world.handler, std::slice::from_ref(message)).await {
                Ok(replies) => return testkit::decoded::<PaymentAuthorized>(&world.codec, &replies[0]).await,
                Err(fault) => assert!(fault.is_transient(), "{fault}"),
            }
        }
    };
    let (one, other) = tokio::join!(both(&command), both(&again));
    assert_eq!(one, other);
    assert_eq!(world.states().await, ["AUTHORIZED"]);
}
