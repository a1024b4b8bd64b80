//! Goal: a rolling upgrade to a second version of the purchase saga, and the way back, on the whole system: nothing stands still,
//! and purchases of both versions come to their end. Method: a second purchase-manager in the same consumer group, whose release
//! has a second version, beside the one of the system, and then in its place.

use std::net::SocketAddr;

use clap::Parser;
use contracts::operator::{ActivateVersion, VersionActivated};
use e2e::{Operator, World, world::PATIENCE};
use host::Running;
use purchase_manager::{
    definitions::PurchaseSaga,
    purchase_saga::{VERSIONS, Version, step},
};
use saga::{Definition, RetryPolicy, ShapeError};
use serde_json::Value;
use testkit::eventually;
use tokio_util::sync::CancellationToken;

/// What a next version could be: no advisory look before the reservation.
fn version_2(retry: RetryPolicy) -> Result<PurchaseSaga, ShapeError> {
    Definition::builder("purchase", 2)
        .retry(retry)
        .step(step::reserve_products())
        .step(step::authorize_payment())
        .pivot(step::create_order())
        .parallel([step::confirm_reservation(), step::capture_payment()])
        .build()
}

const BOTH: &[Version] = &[VERSIONS[0], version_2];

/// A purchase-manager of the next release at `http`, on the system's own parts.
async fn next_release(world: &World, http: &str) -> Running {
    let line = world.command_line("purchase-manager", http);
    let mut config = purchase_manager::Config::try_parse_from(line).unwrap();
    config.retry = RetryPolicy::fast(
        std::time::Duration::from_secs(2),
        std::time::Duration::from_secs(4),
        8,
    );
    config.versions = BOTH;
    purchase_manager::start(config, CancellationToken::new())
        .await
        .unwrap()
}

async fn activate(ada: &Operator, service: &str, version: i32) -> Result<Vec<String>, String> {
    let wish = ActivateVersion {
        idempotency_key: contracts::ids::fresh(),
        version,
        actor: "ada".to_owned(),
        reason: "the release is out".to_owned(),
        dry_run: false,
    };
    let address = format!("{service}/operator/definitions/purchase/activate");
    let answer = ada.post("purchase-manager", &address, &wish).await;
    if answer.status().is_success() {
        Ok(answer.json::<VersionActivated>().await.unwrap().effects)
    } else {
        let refused: Value = answer.json().await.unwrap();
        Err(refused["errors"][0]["message"].as_str().unwrap().to_owned())
    }
}

fn names(purchase: &Value) -> Vec<&str> {
    let steps = purchase["steps"].as_array().unwrap();
    steps.iter().map(|step| step["name"].as_str().unwrap()).collect()
}

async fn waiting_for_the_order(world: &World, purchases: i64) {
    eventually("they wait for their orders", PATIENCE, async || {
        let waiting = "select count(*) from saga_timer where step = 'create-order'";
        (world.count("purchase-manager", waiting).await == purchases).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purchases_of_two_versions_come_to_their_end_through_an_upgrade_and_back() {
    let mut world = World::start().await;
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 50)
        .await;
    let alice = world.customer("alice");
    let ada = Operator::of(&world);
    world.system().stop_service("orders").await.unwrap();
    let first = alice.submit(&[(&rope, 1)], "tok_ok").await;
    waiting_for_the_order(&world, 1).await;

    // Both releases side by side: the second version is refused, whoever is asked.
    let old = world.info().services["purchase-manager"].clone();
    let beside = next_release(&world, "127.0.0.1:0").await;
    let new = format!("http://{}", beside.address());
    assert!(activate(&ada, &new, 2).await.unwrap_err().contains("lack it"));
    assert!(activate(&ada, &old, 2).await.unwrap_err().contains("lack it"));
    let second = alice.submit(&[(&rope, 1)], "tok_ok").await;
    waiting_for_the_order(&world, 2).await;

    // The old one has gone; one of the new release is where the others look for it.
    world.system().stop_service("purchase-manager").await.unwrap();
    let place: SocketAddr = old.trim_start_matches("http://").parse().unwrap();
    let in_place = next_release(&world, &place.to_string()).await;
    activate(&ada, &new, 2).await.unwrap();
    let third = alice.submit(&[(&rope, 1)], "tok_ok").await;
    waiting_for_the_order(&world, 3).await;

    // Back to the release before: not while it lacks what purchases follow.
    in_place.stop().await.unwrap();
    let refused = world
        .system()
        .start_service("purchase-manager")
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("new purchases follow version 2"),
        "{refused:#}"
    );
    activate(&ada, &new, 1).await.unwrap();
    let refused = world
        .system()
        .start_service("purchase-manager")
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("1 open purchases follow version 2"),
        "{refused:#}"
    );

    world.system().start_service("orders").await.unwrap();
    eventually("all three have ended", PATIENCE, async || {
        let ended = "select count(*) from saga where standing = 'COMPLETED'";
        (world.count("purchase-manager", ended).await == 3).then_some(())
    })
    .await;
    // Shown by the release that has both versions, at the place where the edge looks for it.
    let in_place = next_release(&world, &place.to_string()).await;
    for (id, version) in [(&first, 1), (&second, 1), (&third, 2)] {
        let purchase = alice.ended(id).await;
        assert_eq!(purchase["state"], "COMPLETED");
        let validates = names(&purchase).contains(&"validate-inventory");
        assert_eq!(validates, version == 1, "{:?}", names(&purchase));
    }
    beside.stop().await.unwrap();
    in_place.stop().await.unwrap();

    // Nothing open follows the second version any more: the release before starts and works.
    world.system().start_service("purchase-manager").await.unwrap();
    let last = alice.submit(&[(&rope, 1)], "tok_ok").await;
    let purchase = alice.ended(&last).await;
    assert_eq!(purchase["state"], "COMPLETED");
    assert!(names(&purchase).contains(&"validate-inventory"));
    world.audit_is_clean().await;
}
