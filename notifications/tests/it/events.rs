//! Events become rows: one for each outcome, whatever comes how often.

use contracts::purchase_manager::PurchaseUpdated;

use crate::world::{World, ended};

#[tokio::test]
async fn only_an_outcome_makes_a_row() {
    let world = World::new().await;
    let mut told = Vec::new();
    for state in [
        "PENDING",
        "RUNNING",
        "COMPENSATING",
        "STUCK",
        "COMPLETED",
        "REJECTED",
        "CANCELLED",
    ] {
        told.push(world.purchase(state).await);
    }
    world.hear(&told).await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.iter().all(|row| row.state == "pending"), "{rows:?}");
}

#[tokio::test]
async fn an_event_that_comes_again_makes_no_second_row() {
    let world = World::new().await;
    let told = world.purchase("COMPLETED").await;
    // Twice in one batch, and once more after; each time as a message of its own.
    world.hear(&[told.clone(), told.clone()]).await;
    world.hear(&[told]).await;
    assert_eq!(world.rows().await.len(), 1);
}

#[tokio::test]
async fn two_instances_that_hear_the_same_in_different_order_make_each_row_once() {
    let world = World::new().await;
    // Several times: they may meet at either of the table's constraints, or not at all.
    for round in 1..=8 {
        let mut told: Vec<PurchaseUpdated> = Vec::new();
        for _ in 0..50 {
            told.push(world.purchase("COMPLETED").await);
        }
        let backwards: Vec<_> = told.iter().rev().cloned().collect();
        tokio::join!(world.hear(&told), world.hear(&backwards));
        assert_eq!(world.rows().await.len(), 50 * round);
    }
}

#[tokio::test]
async fn what_ended_long_ago_gets_a_row_and_no_mail() {
    let world = World::new().await;
    let eight_days = 8 * 86_400 * 1_000_000;
    world
        .hear(&[ended("COMPLETED", world.now_micros().await - eight_days)])
        .await;
    let row = world.row().await;
    assert_eq!(row.state, "skipped");
    assert!(row.reason.unwrap().contains("too late"));
}

#[tokio::test]
async fn a_state_that_is_not_known_is_parked() {
    let world = World::new().await;
    let message = world.event(&world.purchase("LOST").await).await;
    let fault = testkit::handle(&world.pool(), &world.handler, &[message])
        .await
        .unwrap_err();
    assert!(!fault.is_transient(), "{fault}");
}
