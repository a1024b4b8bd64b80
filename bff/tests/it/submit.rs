use contracts::{
    ids::fresh,
    product_admin::ProductChanged,
    purchase_manager::SubmitPurchase,
    topics::{PURCHASE_COMMANDS, PURCHASE_EVENTS},
};
use serde_json::{Value, json};

use crate::edge::{Around, Edge, SOON, decoded, know_nothing, product, product_id, purchase, purchase_id};

async fn count(edge: &Edge, table: &'static str) -> i64 {
    let query = match table {
        "submission" => "select count(*) from submission",
        "outbox" => "select count(*) from outbox",
        other => panic!("no count of {other}"),
    };
    sqlx::query_scalar(query).fetch_one(&edge.pool()).await.unwrap()
}

/// An edge without broker, whose outbox therefore keeps what is written.
async fn without_broker() -> (Edge, contracts::product_admin::ProductChanged) {
    let lamp = product("LAMP", 1_999);
    let around = Around::new()
        .await
        .with_products(std::slice::from_ref(&lamp))
        .await;
    know_nothing(&around).await;
    around.kafka.broker().down().unwrap();
    let edge = around.start().await;
    edge.catalogue_has(1).await;
    (edge, lamp)
}

#[tokio::test]
async fn a_purchase_is_one_submission_and_one_command_while_the_broker_is_away() {
    let (edge, lamp) = without_broker().await;
    let token = edge.customer("anna");
    let lines = json!([{ "productId": product_id(&lamp), "quantity": 3 }]);
    let payload = edge.submit(&token, fresh(), lines).await;
    assert_eq!(payload["userErrors"], json!([]));
    let bought = &payload["purchase"];
    assert_eq!(bought["state"], "PENDING");
    assert_eq!(bought["version"], 0);
    assert_eq!(bought["total"], json!({ "amount": "59.97", "currency": "EUR" }));
    assert_eq!(bought["allowedActions"], json!(["CANCEL"]));

    assert_eq!(count(&edge, "submission").await, 1);
    let (topic, key, payload): (String, String, Vec<u8>) =
        sqlx::query_as("select aggregatetype, aggregateid, payload from outbox")
            .fetch_one(&edge.pool())
            .await
            .unwrap();
    assert_eq!(topic, PURCHASE_COMMANDS);
    let id = decoded(&bought["id"]);
    assert_eq!(key, id.to_string());
    let (schema, datum) = testkit::codec("bff").await.open(&payload).await.unwrap();
    let command: SubmitPurchase = contracts::message::decode(&datum, &schema).unwrap();
    assert_eq!(command.purchase_id, id);
    assert_eq!(command.customer_id.0, "anna");
    assert_eq!(command.total_minor, 5_997);
    assert_eq!(command.lines[0].unit_price_minor, 1_999);
    assert!(command.submitted_at > 1_700_000_000_000_000);

    let pending = edge
        .ask(
            Some(&token),
            "query ($id: ID!) { purchase(id: $id) { state steps { name } } }",
            json!({ "id": purchase_id(id) }),
        )
        .await;
    assert_eq!(
        pending["data"]["purchase"],
        json!({ "state": "PENDING", "steps": [] })
    );
    edge.stop().await;
}

#[tokio::test]
async fn the_same_key_at_once_gives_one_purchase() {
    let (edge, lamp) = without_broker().await;
    let (token, key) = (edge.customer("anna"), fresh());
    let lines = json!([{ "productId": product_id(&lamp), "quantity": 1 }]);
    let submits = (0..8).map(|_| edge.submit(&token, key, lines.clone()));
    let payloads = futures::future::join_all(submits).await;
    let ids: std::collections::HashSet<_> = payloads
        .iter()
        .map(|payload| payload["purchase"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(
        payloads
            .iter()
            .filter(|payload| payload["deduplicated"] == false)
            .count(),
        1
    );
    assert_eq!(count(&edge, "submission").await, 1);
    assert_eq!(count(&edge, "outbox").await, 1);

    // Another customer's key of the same value is another key.
    let other = edge.submit(&edge.customer("bert"), key, lines).await;
    assert_eq!(other["deduplicated"], false);
    edge.stop().await;
}

#[tokio::test]
async fn a_key_stands_for_one_request_whatever_the_price_becomes() {
    let (edge, lamp) = without_broker().await;
    let (token, key) = (edge.customer("anna"), fresh());
    let line = |quantity: i32| json!([{ "productId": product_id(&lamp), "quantity": quantity }]);
    let first = edge.submit(&token, key, line(1)).await;
    sqlx::query("update catalogue_product set price_minor = 1, status = 'ARCHIVED'")
        .execute(&edge.pool())
        .await
        .unwrap();
    let again = edge.submit(&token, key, line(1)).await;
    assert_eq!(again["purchase"]["id"], first["purchase"]["id"]);
    assert_eq!(again["purchase"]["total"]["amount"], "19.99");
    assert_eq!(again["deduplicated"], true);
    let other = edge.submit(&token, key, line(2)).await;
    assert_eq!(other["purchase"], Value::Null);
    assert_eq!(other["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(other["userErrors"][0]["field"], json!(["idempotencyKey"]));
    assert_eq!(count(&edge, "submission").await, 1);
    edge.stop().await;
}

#[tokio::test]
async fn every_bad_input_is_refused_by_name_and_nothing_is_written() {
    let mut sold = product("SOLD", 100);
    sold.status = "ARCHIVED".to_owned();
    let mut foreign = product("YEN", 100);
    foreign.currency = "JPY".parse().unwrap();
    let lamp = product("LAMP", 1_999);
    let edge = Edge::selling(&[lamp.clone(), sold.clone(), foreign.clone()]).await;
    let token = edge.customer("anna");
    let line = |id: &str, quantity: i32| json!({ "productId": id, "quantity": quantity });
    let lamp_id = product_id(&lamp);
    let expecting = |amount: &str| json!([{ "productId": lamp_id, "quantity": 1, "expectedUnitPrice": { "amount": amount, "currency": "EUR" } }]);
    let many: Vec<_> = (0..51).map(|_| line(&lamp_id, 1)).collect();
    let cases = [
        (json!([]), "REQUIRED", json!(["lines"])),
        (
            json!([line(&lamp_id, 0)]),
            "INVALID",
            json!(["lines", "0", "quantity"]),
        ),
        (
            json!([line(&lamp_id, -1)]),
            "INVALID",
            json!(["lines", "0", "quantity"]),
        ),
        (
            json!([line(&lamp_id, 10_001)]),
            "INVALID",
            json!(["lines", "0", "quantity"]),
        ),
        (
            json!([line(&lamp_id, 1), line(&lamp_id, 1)]),
            "INVALID",
            json!(["lines", "1", "productId"]),
        ),
        (
            json!([line("nonsense", 1)]),
            "INVALID",
            json!(["lines", "0", "productId"]),
        ),
        (
            json!([line(&product_id(&product("NEW", 1)), 1)]),
            "NOT_FOUND",
            json!(["lines", "0", "productId"]),
        ),
        (
            json!([line(&product_id(&sold), 1)]),
            "PRODUCT_UNAVAILABLE",
            json!(["lines", "0", "productId"]),
        ),
        (
            json!([line(&product_id(&foreign), 1)]),
            "CURRENCY_MISMATCH",
            json!(["lines", "0", "productId"]),
        ),
        (
            expecting("19.98"),
            "PRICE_CHANGED",
            json!(["lines", "0", "expectedUnitPrice"]),
        ),
        (json!(many), "INVALID", json!(["lines"])),
    ];
    for (lines, code, field) in cases {
        let payload = edge.submit(&token, fresh(), lines).await;
        assert_eq!(payload["purchase"], Value::Null);
        assert_eq!(payload["userErrors"][0]["code"], code, "{payload}");
        assert_eq!(payload["userErrors"][0]["field"], field, "{payload}");
    }
    let input = json!({
        "idempotencyKey": fresh(), "lines": [line(&lamp_id, 1)],
        "paymentMethodToken": "tok_gold", "note": "x".repeat(501),
    });
    let payload = edge.submit_input(&token, input).await;
    assert_eq!(payload["userErrors"][0]["field"], json!(["paymentMethodToken"]));
    assert_eq!(payload["userErrors"][1]["field"], json!(["note"]));
    assert_eq!(count(&edge, "submission").await, 0);

    let exact = edge.submit(&token, fresh(), expecting("19.990")).await;
    assert_eq!(exact["userErrors"], json!([]));
    edge.stop().await;
}

/// An edge on which a customer may have two purchases under way.
async fn edge_with_a_cap(lamp: &ProductChanged) -> Edge {
    let mut around = Around::new()
        .await
        .with_products(std::slice::from_ref(lamp))
        .await;
    know_nothing(&around).await;
    around.flags.push("--max-open-purchases=2");
    let edge = around.start().await;
    edge.catalogue_has(1).await;
    edge
}

#[tokio::test]
async fn a_customer_has_so_many_purchases_under_way_and_no_more() {
    let lamp = product("LAMP", 1_999);
    let edge = edge_with_a_cap(&lamp).await;
    let anna = edge.customer("anna");
    let lines = || json!([{ "productId": product_id(&lamp), "quantity": 1 }]);
    let first_key = fresh();
    let first = edge.submit(&anna, first_key, lines()).await;
    edge.submit(&anna, fresh(), lines()).await;
    let third = edge.submit(&anna, fresh(), lines()).await;
    assert_eq!(third["purchase"], serde_json::Value::Null);
    assert_eq!(third["userErrors"][0]["code"], "TEMPORARILY_UNAVAILABLE");
    assert_eq!(third["userErrors"][0]["retryable"], true);
    // What was accepted before is answered as before, and others are not affected.
    assert_eq!(edge.submit(&anna, first_key, lines()).await["deduplicated"], true);
    let ben = edge.submit(&edge.customer("ben"), fresh(), lines()).await;
    assert_eq!(ben["userErrors"], json!([]));

    let ended = decoded(&first["purchase"]["id"]);
    edge.publish(PURCHASE_EVENTS, ended.0, &purchase(ended, "anna", 3, "COMPLETED"))
        .await;
    testkit::eventually("there is room for another one", SOON, async || {
        let again = edge.submit(&anna, fresh(), lines()).await;
        (again["userErrors"] == json!([])).then_some(())
    })
    .await;
    edge.stop().await;
}

#[tokio::test]
async fn two_submits_at_the_cap_admit_one() {
    let lamp = product("LAMP", 1_999);
    let edge = edge_with_a_cap(&lamp).await;
    for round in 0..10 {
        let token = edge.customer(&format!("customer-{round}"));
        let lines = || json!([{ "productId": product_id(&lamp), "quantity": 1 }]);
        edge.submit(&token, fresh(), lines()).await;
        let (one, other) = tokio::join!(
            edge.submit(&token, fresh(), lines()),
            edge.submit(&token, fresh(), lines())
        );
        let admitted = [one, other]
            .iter()
            .filter(|payload| !payload["purchase"].is_null())
            .count();
        assert_eq!(admitted, 1, "round {round}");
    }
    edge.stop().await;
}
