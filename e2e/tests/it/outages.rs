//! A part is away for a while, or everything stops in the middle: nothing is lost, and everything completes after.

use e2e::{World, world::PATIENCE};
use testkit::eventually;

/// Submits while `service` is away, and expects the purchase to complete once it is back.
async fn completes_after_an_outage_of(service: &str) {
    let mut world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    world
        .system()
        .stop_service(service)
        .await
        .expect("the service stops");
    let id = alice.submit(&[(&rope, 1)], "tok_ok").await;
    // Everything that can be done without the service is done: then the purchase waits.
    eventually("nothing is left to be sent", PATIENCE, async || {
        let sent = world.count("bff", "select count(*) from outbox").await == 0
            && world
                .count("purchase-manager", "select count(*) from outbox")
                .await
                == 0;
        sent.then_some(())
    })
    .await;
    if service == "purchase-manager" {
        assert_eq!(
            alice.purchase(&id).await["state"],
            "PENDING",
            "it was accepted, and nobody has heard of it"
        );
    }
    Box::pin(world.system().start_service(service))
        .await
        .expect("the service starts");
    assert_eq!(alice.ended(&id).await["state"], "COMPLETED");
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_waits_for_the_consolidator() {
    Box::pin(completes_after_an_outage_of("consolidator")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_waits_for_product_admin() {
    Box::pin(completes_after_an_outage_of("product-admin")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_waits_for_payments() {
    Box::pin(completes_after_an_outage_of("payments")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_waits_for_orders() {
    Box::pin(completes_after_an_outage_of("orders")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_waits_for_purchase_manager() {
    Box::pin(completes_after_an_outage_of("purchase-manager")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_costs_nothing_but_time() {
    let mut world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    world.broker_goes_down().await;
    let id = alice.submit(&[(&rope, 1)], "tok_ok").await;
    assert_eq!(alice.purchase(&id).await["state"], "PENDING");
    world.broker_comes_back().await;
    assert_eq!(alice.ended(&id).await["state"], "COMPLETED");
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_with_a_broker_that_forgot_everything_finishes_what_was_open() {
    let mut world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 50)
        .await;
    // Purchases that have come to different places when the system stops.
    world.system().stop_service("payments").await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(alice.submit(&[(&rope, 1)], "tok_ok").await);
    }
    eventually("the first purchases wait for payments", PATIENCE, async || {
        let waiting = "select count(*) from saga_timer where step = 'authorize-payment'";
        (world.count("purchase-manager", waiting).await > 0).then_some(())
    })
    .await;
    ids.push(alice.submit(&[(&rope, 1)], "tok_ok").await);
    world.stop().await;
    world.restart().await;
    let alice = world.customer("alice");
    for id in &ids {
        assert_eq!(alice.ended(id).await["state"], "COMPLETED");
    }
    world.audit_is_clean().await;
}
