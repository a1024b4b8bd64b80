//! The outcomes of a purchase, as its customer sees them and as the books show them.

use e2e::World;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_completes_and_the_books_show_it() {
    let world = World::start().await;
    let admin = world.someone("ada", "admin");
    let alice = world.customer("alice");
    let rope = admin.create_product("Rope 60 m", "159.90", 5).await;
    let id = alice.submit(&[(&rope, 2)], "tok_ok").await;
    let purchase = alice.ended(&id).await;
    assert_eq!(purchase["state"], "COMPLETED", "{purchase}");
    assert_eq!(
        purchase["total"],
        json!({ "amount": "319.80", "currency": "EUR" })
    );
    assert_eq!(purchase["order"]["state"], "PLACED");
    assert_eq!(purchase["payments"][0]["state"], "CAPTURED");
    let states: Vec<&str> = purchase["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["SUCCEEDED"; 6]);
    // Sold, and still in the house until it is dispatched.
    assert_eq!(admin.stock(&rope).await, (5, 2, 3));
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_stock_rejects_it_and_says_what_is_missing() {
    let world = World::start().await;
    let admin = world.someone("ada", "admin");
    let alice = world.customer("alice");
    let rope = admin.create_product("Rope 60 m", "15.00", 10).await;
    let id = alice.submit(&[(&rope, 11)], "tok_ok").await;
    let purchase = alice.ended(&id).await;
    assert_eq!(purchase["state"], "REJECTED");
    assert_eq!(purchase["failure"]["code"], "INSUFFICIENT_STOCK");
    let message = purchase["failure"]["message"].as_str().unwrap();
    assert!(message.contains("11 requested, 10 available"), "{message}");
    assert_eq!(purchase["order"], json!(null));
    assert_eq!(admin.stock(&rope).await, (10, 0, 10));
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_over_the_limit_is_declined_and_the_stock_comes_back() {
    let world = World::start().await;
    let admin = world.someone("ada", "admin");
    let alice = world.customer("alice");
    let exact = admin.create_product("Expedition tent", "1000.00", 5).await;
    let over = admin.create_product("Larger tent", "1000.01", 5).await;
    let id = alice.submit(&[(&exact, 1)], "tok_ok").await;
    assert_eq!(
        alice.ended(&id).await["state"],
        "COMPLETED",
        "1000.00 is not over the limit"
    );
    let id = alice.submit(&[(&over, 1)], "tok_ok").await;
    let purchase = alice.ended(&id).await;
    assert_eq!(purchase["state"], "REJECTED");
    assert_eq!(purchase["failure"]["code"], "PAYMENT_DECLINED");
    assert_eq!(purchase["order"], json!(null));
    let payments = purchase["payments"].as_array().unwrap();
    assert!(
        payments.iter().all(|payment| payment["state"] == "DECLINED"),
        "{payments:?}"
    );
    assert_eq!(admin.stock(&over).await, (5, 0, 5), "stock is back");
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_method_is_declined_whatever_the_amount() {
    let world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Sling", "9.00", 5)
        .await;
    let id = alice.submit(&[(&rope, 1)], "tok_declined").await;
    let purchase = alice.ended(&id).await;
    assert_eq!(
        (&purchase["state"], &purchase["failure"]["code"]),
        (&json!("REJECTED"), &json!("PAYMENT_DECLINED"))
    );
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_before_the_order_rolls_everything_back() {
    let mut world = World::start().await;
    let admin = world.someone("ada", "admin");
    let alice = world.customer("alice");
    let rope = admin.create_product("Rope 60 m", "15.00", 10).await;
    // Payments is away, so the purchase waits with its products reserved.
    world.system().stop_service("payments").await.unwrap();
    let id = alice.submit(&[(&rope, 3)], "tok_ok").await;
    testkit::eventually("the products are reserved", e2e::world::PATIENCE, async || {
        (admin.stock(&rope).await == (10, 3, 7)).then_some(())
    })
    .await;
    let payload = alice.cancel(&id).await;
    assert_eq!(payload["userErrors"], json!([]), "{payload}");
    world.system().start_service("payments").await.unwrap();
    let purchase = alice.ended(&id).await;
    assert_eq!(purchase["state"], "CANCELLED");
    assert_eq!(admin.stock(&rope).await, (10, 0, 10));
    let payload = alice.cancel(&id).await;
    assert_eq!(payload["userErrors"][0]["code"], "STATE_CONFLICT");
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_after_the_order_was_commanded_is_refused() {
    let mut world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    world.system().stop_service("orders").await.unwrap();
    let id = alice.submit(&[(&rope, 1)], "tok_ok").await;
    testkit::eventually("the order is commanded", e2e::world::PATIENCE, async || {
        let purchase = alice.purchase(&id).await;
        (purchase["steps"][3]["state"] == "RUNNING").then_some(())
    })
    .await;
    assert_eq!(
        alice.cancel(&id).await["userErrors"][0]["code"],
        "PAST_POINT_OF_NO_RETURN"
    );
    world.system().start_service("orders").await.unwrap();
    assert_eq!(alice.ended(&id).await["state"], "COMPLETED");
    world.audit_is_clean().await;
}
