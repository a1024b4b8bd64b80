//! Goal: staff correct stock and change products while shoppers buy, and every unit stays accounted for (I2). Method: the
//! whole system, with the audit at the end.

use contracts::ids::fresh;
use e2e::World;
use serde_json::{Value, json};

const STOCK: &str = "query($id: ID!) { product(id: $id) { inventory { onHand reserved available version
    adjustments(first: 5) { nodes { delta reason actor } } } } }";
const ADJUST: &str = "mutation($input: AdjustInventoryInput!) { adjustInventory(input: $input) {
    product { availability inventory { onHand version } } userErrors { code field } } }";
const UPDATE: &str = "mutation($input: UpdateProductInput!) { updateProduct(input: $input) {
    product { version price { amount } } userErrors { code field } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_count_corrects_the_stock_and_every_unit_stays_accounted_for() {
    let world = World::start().await;
    let admin = world.someone("ada", "admin");
    let rope = admin.create_product("Rope 60 m", "15.00", 10).await;
    let alice = world.customer("alice");
    let id = alice.submit(&[(&rope, 4)], "tok_ok").await;
    assert_eq!(alice.ended(&id).await["state"], "COMPLETED");

    let stock = async || {
        let data = admin.data(STOCK, json!({ "id": rope })).await;
        data["product"]["inventory"].clone()
    };
    let seen = stock().await;
    assert_eq!((&seen["onHand"], &seen["reserved"]), (&json!(10), &json!(4)));
    let adjust = async |key, delta: i32, version: &Value| {
        let input = json!({ "idempotencyKey": key, "productId": rope, "delta": delta, "expectedVersion": version,
                            "reason": "counted" });
        admin.data(ADJUST, json!({ "input": input })).await["adjustInventory"].clone()
    };
    // Four are sold and wait to be handed over: they cannot be counted away.
    let promised = adjust(fresh(), -7, &seen["version"]).await;
    assert_eq!(
        promised["userErrors"],
        json!([{ "code": "INSUFFICIENT_STOCK", "field": ["delta"] }])
    );
    let key = fresh();
    let counted = adjust(key, -6, &seen["version"]).await;
    assert_eq!(counted["product"]["availability"], "OUT_OF_STOCK", "{counted}");
    assert_eq!(counted["product"]["inventory"]["onHand"], 4);
    assert_eq!(
        adjust(key, -6, &seen["version"]).await["userErrors"],
        json!([]),
        "the same key changes nothing more"
    );
    let late = adjust(fresh(), 1, &seen["version"]).await;
    assert_eq!(late["userErrors"][0]["code"], "VERSION_CONFLICT");

    let other = alice.submit(&[(&rope, 1)], "tok_ok").await;
    assert_eq!(alice.ended(&other).await["state"], "REJECTED", "nothing is left");
    let found = adjust(fresh(), 3, &counted["product"]["inventory"]["version"]).await;
    assert_eq!(found["userErrors"], json!([]), "{found}");
    let third = alice.submit(&[(&rope, 3)], "tok_ok").await;
    assert_eq!(alice.ended(&third).await["state"], "COMPLETED");
    let seen = stock().await;
    assert_eq!((&seen["onHand"], &seen["available"]), (&json!(7), &json!(0)));
    let movements = seen["adjustments"]["nodes"].as_array().unwrap();
    let deltas: Vec<_> = movements.iter().map(|movement| &movement["delta"]).collect();
    assert_eq!(deltas, [3, -6]);
    assert_eq!(movements[0]["actor"], admin.subject());
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_price_is_what_the_next_purchase_costs() {
    let world = World::start().await;
    let admin = world.someone("ada", "admin");
    let rope = admin.create_product("Rope 60 m", "15.00", 10).await;
    let input = json!({ "idempotencyKey": fresh(), "productId": rope, "expectedVersion": 1,
                        "price": { "amount": "16.50", "currency": "EUR" } });
    let changed = admin.data(UPDATE, json!({ "input": input })).await;
    assert_eq!(
        changed["updateProduct"]["product"],
        json!({ "version": 2, "price": { "amount": "16.50" } }),
        "{changed}"
    );
    let alice = world.customer("alice");
    let id = alice.submit(&[(&rope, 2)], "tok_ok").await;
    let bought = alice.ended(&id).await;
    assert_eq!(
        (&bought["state"], &bought["total"]["amount"]),
        (&json!("COMPLETED"), &json!("33.00"))
    );
    let input = json!({ "idempotencyKey": fresh(), "productId": rope, "status": "ARCHIVED" });
    admin.data(UPDATE, json!({ "input": input })).await;
    let payload = alice.submit_with(fresh(), &[(&rope, 1)], "tok_ok").await;
    assert_eq!(
        payload["userErrors"][0]["code"], "PRODUCT_UNAVAILABLE",
        "{payload}"
    );
    world.audit_is_clean().await;
}
