use contracts::{
    orders::{OrderCancelled, OrderCreated, OrderRejected},
    purchase_manager::CommandSuperseded,
};

use crate::{World, order};

#[tokio::test]
async fn an_order_is_placed_with_its_lines_and_a_number_for_people() {
    let world = World::new().await;
    let order = order();
    let command = world.create(&order).await;

    let replies = world.handle(std::slice::from_ref(&command)).await.unwrap();

    let [reply] = replies.as_slice() else {
        panic!("one reply was expected: {replies:?}")
    };
    let created: OrderCreated = testkit::decoded(&world.codec, reply).await;
    assert_eq!(created.purchase_id, order.purchase_id);
    let [letter, year, serial] = created.number.split('-').collect::<Vec<_>>()[..] else {
        panic!("{}", created.number)
    };
    assert_eq!((letter, year.len(), serial), ("O", 4, "000001"));
    assert_eq!(reply.topic, contracts::topics::PURCHASE_REPLIES);
    assert_eq!(reply.command_id, command.envelope.command_id);
    assert_eq!(reply.causation_id, Some(command.envelope.id));
    let lines: Vec<(i32, String, i32, i64)> =
        sqlx::query_as("select line, name, quantity, unit_price_minor from order_line order by line")
            .fetch_all(&world.pool())
            .await
            .unwrap();
    assert_eq!(
        lines,
        [(1, "Lamp".to_owned(), 2, 1_000), (2, "Chair".to_owned(), 1, 550)]
    );
    assert_eq!(world.states().await, ["PLACED"]);
}

#[tokio::test]
async fn a_malformed_order_is_rejected_and_nothing_is_written() {
    let world = World::new().await;
    let mut order = order();
    order.total_minor += 1;

    let replies = world.handle(&[world.create(&order).await]).await.unwrap();

    let rejected: OrderRejected = testkit::decoded(&world.codec, &replies[0]).await;
    assert!(rejected.reason.contains("25.51 EUR"), "{}", rejected.reason);
    assert_eq!(world.states().await, Vec::<String>::new());
    // The rollback of a refused command finds nothing to undo.
    let replies = world
        .handle(&[world.cancel(order.purchase_id).await])
        .await
        .unwrap();
    testkit::decoded::<OrderCancelled>(&world.codec, &replies[0]).await;
}

#[tokio::test]
async fn a_duplicate_command_is_answered_with_the_stored_reply() {
    let world = World::new().await;
    let command = world.create(&order()).await;
    let first = world.handle(std::slice::from_ref(&command)).await.unwrap();

    // Once in a later batch, and twice in one.
    let again = testkit::repeated(&command);
    let replies = world
        .handle(&[again.clone(), testkit::repeated(&command)])
        .await
        .unwrap();

    let original: OrderCreated = testkit::decoded(&world.codec, &first[0]).await;
    assert_eq!(replies.len(), 2);
    for reply in &replies {
        assert_eq!(
            testkit::decoded::<OrderCreated>(&world.codec, reply).await,
            original
        );
        assert_ne!(reply.id, first[0].id, "every send has a message id of its own");
        assert_eq!(reply.command_id, command.envelope.command_id);
    }
    assert_eq!(replies[0].causation_id, Some(again.envelope.id));
    assert_eq!(world.states().await, ["PLACED"]);
}

#[tokio::test]
async fn a_cancelled_order_is_cancelled_once_and_the_duplicate_is_answered() {
    let world = World::new().await;
    let order = order();
    world.handle(&[world.create(&order).await]).await.unwrap();
    let cancel = world.cancel(order.purchase_id).await;
    world.handle(std::slice::from_ref(&cancel)).await.unwrap();

    let replies = world.handle(&[testkit::repeated(&cancel)]).await.unwrap();

    let cancelled: OrderCancelled = testkit::decoded(&world.codec, &replies[0]).await;
    assert_eq!(cancelled.purchase_id, order.purchase_id);
    assert_eq!(world.states().await, ["CANCELLED"]);
}

#[tokio::test]
async fn a_rollback_that_overtakes_its_command_wins() {
    let world = World::new().await;
    let order = order();
    let replies = world
        .handle(&[world.cancel(order.purchase_id).await])
        .await
        .unwrap();
    testkit::decoded::<OrderCancelled>(&world.codec, &replies[0]).await;

    let late = world.create(&order).await;
    let replies = world.handle(std::slice::from_ref(&late)).await.unwrap();

    let superseded: CommandSuperseded = testkit::decoded(&world.codec, &replies[0]).await;
    assert_eq!(superseded.purchase_id, order.purchase_id);
    assert_eq!(replies[0].command_id, late.envelope.command_id);
    assert_eq!(world.states().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_batch_may_place_and_cancel_the_same_order() {
    let world = World::new().await;
    let (first, second) = (order(), order());
    let batch = [
        world.create(&first).await,
        world.create(&second).await,
        world.cancel(first.purchase_id).await,
    ];

    let replies = world.handle(&batch).await.unwrap();

    let kinds: Vec<&str> = replies.iter().map(|reply| reply.message_type).collect();
    assert_eq!(
        kinds,
        [
            "belay.orders.OrderCreated",
            "belay.orders.OrderCreated",
            "belay.orders.OrderCancelled"
        ]
    );
    assert_eq!(world.states().await, ["CANCELLED", "PLACED"]);
}

#[tokio::test]
async fn a_dispatched_order_cannot_be_cancelled() {
    let world = World::new().await;
    let order = order();
    world.handle(&[world.create(&order).await]).await.unwrap();
    sqlx::query("update orders set state = 'DISPATCHED'")
        .execute(&world.pool())
        .await
        .unwrap();

    let fault = world
        .handle(&[world.cancel(order.purchase_id).await])
        .await
        .unwrap_err();

    assert!(!fault.is_transient());
    assert!(
        fault
            .to_string()
            .contains("has been dispatched and cannot be cancelled"),
        "{fault}"
    );
    assert_eq!(world.states().await, ["DISPATCHED"]);
}

#[tokio::test]
async fn two_instances_that_carry_out_one_command_place_one_order() {
    let world = World::new().await;
    let command = world.create(&order()).await;
    let (again, pool) = (testkit::repeated(&command), world.pool());
    let both = async |message: &mailbox::Received| {
        // What the consumer does with a transient fault: the same batch again.
        loop {
            match testkit::handle(&pool, &world.handler, std::slice::from_ref(message)).await {
                Ok(replies) => return testkit::decoded::<OrderCreated>(&world.codec, &replies[0]).await,
                Err(fault) => assert!(fault.is_transient(), "{fault}"),
            }
        }
    };
    let (one, other) = tokio::join!(both(&command), both(&again));
    assert_eq!(one, other);
    assert_eq!(world.states().await, ["PLACED"]);
}

#[tokio::test]
async fn a_message_that_is_no_command_is_a_deterministic_fault() {
    let world = World::new().await;
    let order = order();
    let reply = OrderCancelled {
        purchase_id: order.purchase_id,
    };
    let stray = world
        .codec
        .outgoing(contracts::topics::PURCHASE_REPLIES, order.purchase_id, &reply)
        .unwrap();
    let stray = testkit::received(&world.codec, &stray).await;
    let fault = world.handle(&[stray]).await.unwrap_err();
    assert!(!fault.is_transient());
    assert!(
        fault
            .to_string()
            .contains("belay.orders.OrderCancelled is not expected"),
        "{fault}"
    );
}
