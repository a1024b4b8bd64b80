use contracts::ids::fresh;
use serde_json::{Value, json};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{body_partial_json, method, path},
};

use crate::edge::{Edge, answer, code, down, product, product_id, purchase};

const CREATE: &str = "mutation ($input: CreateProductInput!) { createProduct(input: $input) {
    product { sku price { amount } } userErrors { code field retryable } } }";
const RESTOCK: &str = "mutation ($input: RestockInput!) { restockProduct(input: $input) {
    product { availability version } userErrors { code retryable } } }";

const UPDATE: &str = "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) {
    product { name description status version } userErrors { code field retryable } } }";
const ADJUST: &str = "mutation ($input: AdjustInventoryInput!) { adjustInventory(input: $input) {
    product { availability } userErrors { code field retryable } } }";

fn lamp_input(amount: &str) -> Value {
    let price = json!({ "amount": amount, "currency": "EUR" });
    json!({ "idempotencyKey": fresh(), "sku": "LAMP", "name": "The LAMP", "price": price, "initialStock": 5 })
}

#[tokio::test]
async fn a_product_is_made_by_product_admin_and_read_at_once() {
    let edge = Edge::selling(&[]).await;
    let admin = edge.around.issuer.token("ada", &["admin"]);
    let input = lamp_input("12.50");
    Mock::given(method("POST"))
        .and(path("/products"))
        .and(body_partial_json(json!({
            "idempotency_key": input["idempotencyKey"], "actor": "ada", "sku": "LAMP",
            "price_minor": 1250, "currency": "EUR", "initial_stock": 5,
        })))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({ "product": product("LAMP", 1_250) })))
        .mount(&edge.around.product_admin)
        .await;
    let made = edge.ask(Some(&admin), CREATE, json!({ "input": input })).await;
    assert_eq!(
        made["data"]["createProduct"]["product"],
        json!({ "sku": "LAMP", "price": { "amount": "12.50" } })
    );
    let read = edge
        .ask(None, "{ product(sku: \"LAMP\") { name } }", json!({}))
        .await;
    assert_eq!(read["data"]["product"]["name"], "The LAMP");

    let fine = edge
        .ask(Some(&admin), CREATE, json!({ "input": lamp_input("12.505") }))
        .await;
    let refused = &fine["data"]["createProduct"]["userErrors"][0];
    assert_eq!(
        (&refused["code"], &refused["field"]),
        (&json!("INVALID"), &json!(["price", "amount"]))
    );

    for (roles, expected) in [(&["operator"][..], "FORBIDDEN"), (&["customer"][..], "FORBIDDEN")] {
        let token = edge.around.issuer.token("olga", roles);
        let denied = edge
            .ask(Some(&token), CREATE, json!({ "input": lamp_input("1") }))
            .await;
        assert_eq!(code(&denied), expected);
        assert_eq!(denied["data"]["createProduct"], Value::Null);
    }
    edge.stop().await;
}

#[tokio::test]
async fn a_restock_passes_on_what_product_admin_says() {
    let mut lamp = product("LAMP", 100);
    lamp.availability = "OUT_OF_STOCK".to_owned();
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    let admin = edge.around.issuer.token("ada", &["admin"]);
    let input = |id: &str| json!({ "input": { "idempotencyKey": fresh(), "productId": id, "quantity": 5, "reason": "delivery" } });
    let at = format!("/products/{}/restock", lamp.product_id);
    let mut stocked = lamp.clone();
    stocked.availability = "IN_STOCK".to_owned();
    stocked.version = 2;
    let server = &edge.around.product_admin;
    Mock::given(method("POST"))
        .and(path(at.as_str()))
        .and(body_partial_json(
            json!({ "actor": "ada", "quantity": 5, "reason": "delivery" }),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "product": stocked })))
        .up_to_n_times(1)
        .mount(server)
        .await;
    let refusal = json!({ "errors": [{ "code": "INVALID", "message": "Too many.", "field": ["quantity"], "retryable": false }] });
    Mock::given(method("POST"))
        .and(path(at.as_str()))
        .respond_with(ResponseTemplate::new(422).set_body_json(refusal))
        .mount(server)
        .await;
    let payload =
        async |id: &str| edge.ask(Some(&admin), RESTOCK, input(id)).await["data"]["restockProduct"].clone();
    let done = payload(&product_id(&lamp)).await;
    assert_eq!(
        done["product"],
        json!({ "availability": "IN_STOCK", "version": 2 })
    );
    assert_eq!(
        payload(&product_id(&lamp)).await["userErrors"][0]["code"],
        "INVALID"
    );
    assert_eq!(payload("nonsense").await["userErrors"][0]["code"], "INVALID");
    down(server).await;
    let away = payload(&product_id(&lamp)).await;
    assert_eq!(
        away["userErrors"],
        json!([{ "code": "TEMPORARILY_UNAVAILABLE", "retryable": true }])
    );
    edge.stop().await;
}

#[tokio::test]
async fn a_change_names_only_what_changes() {
    let lamp = product("LAMP", 100);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    let admin = edge.around.issuer.token("ada", &["admin"]);
    let server = &edge.around.product_admin;
    let at = format!("/products/{}/update", lamp.product_id);
    let mut changed = lamp.clone();
    changed.description = None;
    changed.status = "ARCHIVED".to_owned();
    changed.version = 2;
    let key = fresh();
    // All of it: what is left out is none, and a null description is an empty one.
    Mock::given(method("POST"))
        .and(path(at.as_str()))
        .and(wiremock::matchers::body_json(json!({
            "idempotency_key": key, "actor": "ada", "expected_version": 1, "name": null, "description": "",
            "price": null, "status": "ARCHIVED",
        })))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "product": changed })))
        .mount(server)
        .await;
    let input = |fields: Value| {
        let mut input = json!({ "idempotencyKey": key, "productId": product_id(&lamp) });
        input
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        json!({ "input": input })
    };
    let archive = input(json!({ "expectedVersion": 1, "description": null, "status": "ARCHIVED" }));
    let done = edge.ask(Some(&admin), UPDATE, archive.clone()).await;
    assert_eq!(
        done["data"]["updateProduct"]["product"],
        json!({ "name": "The LAMP", "description": null, "status": "ARCHIVED", "version": 2 }),
        "{done}"
    );
    let gone = edge
        .ask(None, "{ product(sku: \"lamp\") { name } }", json!({}))
        .await;
    assert_eq!(gone["data"]["product"], Value::Null, "read at once");
    let still = edge
        .ask(Some(&admin), "{ product(sku: \"lamp\") { name } }", json!({}))
        .await;
    assert_eq!(still["data"]["product"]["name"], "The LAMP", "in any case");

    let dollars = input(json!({ "price": { "amount": "1.00", "currency": "USD" } }));
    let refused = edge.ask(Some(&admin), UPDATE, dollars).await;
    assert_eq!(
        refused["data"]["updateProduct"]["userErrors"],
        json!([{ "code": "CURRENCY_MISMATCH", "field": ["price", "currency"], "retryable": false }])
    );
    let token = edge.around.issuer.token("olga", &["operator"]);
    let denied = edge.ask(Some(&token), UPDATE, archive.clone()).await;
    assert_eq!(code(&denied), "FORBIDDEN");
    down(server).await;
    let away = edge.ask(Some(&admin), UPDATE, archive).await;
    assert_eq!(
        away["data"]["updateProduct"]["userErrors"],
        json!([{ "code": "TEMPORARILY_UNAVAILABLE", "field": null, "retryable": true }])
    );
    edge.stop().await;
}

#[tokio::test]
async fn a_correction_passes_on_what_product_admin_says() {
    let lamp = product("LAMP", 100);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    let admin = edge.around.issuer.token("ada", &["admin"]);
    let server = &edge.around.product_admin;
    let at = format!("/products/{}/adjust", lamp.product_id);
    let mut empty = lamp.clone();
    empty.availability = "OUT_OF_STOCK".to_owned();
    empty.version = 2;
    Mock::given(method("POST"))
        .and(path(at.as_str()))
        .and(body_partial_json(
            json!({ "actor": "ada", "delta": -5, "expected_version": 4, "reason": "counted" }),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "product": empty })))
        .up_to_n_times(1)
        .mount(server)
        .await;
    let conflict = json!({ "errors": [{ "code": "VERSION_CONFLICT", "message": "Look again.", "field": ["expectedVersion"], "retryable": false }] });
    Mock::given(method("POST"))
        .and(path(at.as_str()))
        .respond_with(ResponseTemplate::new(422).set_body_json(conflict))
        .mount(server)
        .await;
    let input = |id: &str| json!({ "input": { "idempotencyKey": fresh(), "productId": id, "delta": -5, "expectedVersion": 4, "reason": "counted" } });
    let payload = async |id: &str| {
        let answer = edge.ask(Some(&admin), ADJUST, input(id)).await;
        answer["data"]["adjustInventory"].clone()
    };
    let done = payload(&product_id(&lamp)).await;
    assert_eq!(done["product"], json!({ "availability": "OUT_OF_STOCK" }));
    assert_eq!(
        payload(&product_id(&lamp)).await["userErrors"],
        json!([{ "code": "VERSION_CONFLICT", "field": ["expectedVersion"], "retryable": false }])
    );
    assert_eq!(payload("nonsense").await["userErrors"][0]["code"], "INVALID");
    let customer = edge.customer("anna");
    let denied = edge.ask(Some(&customer), ADJUST, input(&product_id(&lamp))).await;
    assert_eq!(code(&denied), "FORBIDDEN");
    down(server).await;
    let away = payload(&product_id(&lamp)).await;
    assert_eq!(away["userErrors"][0]["code"], "TEMPORARILY_UNAVAILABLE");
    edge.stop().await;
}

#[tokio::test]
async fn staff_see_the_exact_stock_and_what_changed_it() {
    let lamp = product("LAMP", 100);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let bought = contracts::ids::PurchaseId::fresh();
    let told = json!({ "purchases": [purchase(bought, "anna", 1, "RUNNING")] });
    answer(&edge.around.purchase_manager, "/purchases", told).await;
    let server = &edge.around.product_admin;
    let level = json!({ "inventory": [{
        "product_id": lamp.product_id, "on_hand": 10, "reserved": 3, "available": 7, "version": 4,
        "updated_at": 1_700_000_000_000_000_i64,
    }] });
    answer(server, "/inventory", level).await;
    let movement = |delta: i32, purchase: Option<contracts::ids::PurchaseId>| {
        json!({ "movement_id": fresh(), "delta": delta, "reason": "a reason", "actor": "ada",
                "purchase_id": purchase, "at": 1_700_000_000_000_000_i64 })
    };
    let movements = json!({ "movements": [movement(-1, Some(bought)), movement(5, None)] });
    Mock::given(path(format!("/products/{}/movements", lamp.product_id)))
        .respond_with(ResponseTemplate::new(200).set_body_json(movements))
        .mount(server)
        .await;
    let query = "{ product(sku: \"LAMP\") { sku inventory { onHand reserved available
        adjustments(first: 1) { nodes { delta actor purchase { state } } pageInfo { hasNextPage } } } } }";
    let seen = edge.ask(Some(&operator), query, json!({})).await;
    let stock = &seen["data"]["product"]["inventory"];
    assert_eq!(
        (&stock["onHand"], &stock["reserved"], &stock["available"]),
        (&json!(10), &json!(3), &json!(7))
    );
    let nodes = json!([{ "delta": -1, "actor": "ada", "purchase": { "state": "RUNNING" } }]);
    assert_eq!(
        stock["adjustments"],
        json!({ "nodes": nodes, "pageInfo": { "hasNextPage": true } })
    );

    let denied = edge.ask(Some(&edge.customer("anna")), query, json!({})).await;
    assert_eq!(code(&denied), "FORBIDDEN");
    assert_eq!(
        denied["data"]["product"],
        json!({ "sku": "LAMP", "inventory": null })
    );
    down(server).await;
    let away = edge.ask(Some(&operator), query, json!({})).await;
    assert_eq!(code(&away), "UNAVAILABLE");
    assert_eq!(
        away["data"]["product"],
        json!({ "sku": "LAMP", "inventory": null })
    );
    edge.stop().await;
}
