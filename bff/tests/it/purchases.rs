use contracts::{
    ids::{CustomerId, OrderId, PaymentId, PurchaseId, fresh},
    money::Currency,
    purchase_manager::PurchaseStepView,
    topics::PURCHASE_EVENTS,
};
use serde_json::{Value, json};
use testkit::eventually;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{body_partial_json, method, path, query_param},
};

use crate::edge::{Edge, SOON, answer, code, decoded, down, product, product_id, purchase, purchase_id};

const STATE: &str = "query ($id: ID!) { purchase(id: $id) { state version } }";

async fn ask(edge: &Edge, token: &str, id: &str) -> Value {
    edge.ask(Some(token), STATE, json!({ "id": id })).await
}

async fn submitted(edge: &Edge, subject: &str) -> PurchaseId {
    let sku = fresh().to_string();
    let lamp = product(&sku, 100);
    edge.publish(contracts::topics::PRODUCT_EVENTS, lamp.product_id.0, &lamp)
        .await;
    let pool = edge.pool();
    eventually("the product is in the catalogue", SOON, async || {
        sqlx::query_scalar::<_, i32>("select version from catalogue_product where sku = $1")
            .bind(&sku)
            .fetch_optional(&pool)
            .await
            .unwrap()
    })
    .await;
    let lines = json!([{ "productId": product_id(&lamp), "quantity": 1 }]);
    decoded(&edge.submit(&edge.customer(subject), fresh(), lines).await["purchase"]["id"])
}

async fn acknowledged(edge: &Edge, id: PurchaseId) {
    edge.publish(PURCHASE_EVENTS, id.0, &purchase(id, "anna", 1, "RUNNING"))
        .await;
    let pool = edge.pool();
    eventually("it is acknowledged", SOON, async || {
        let known: Option<bool> =
            sqlx::query_scalar("select acknowledged_at is not null from submission where purchase_id = $1")
                .bind(id.0)
                .fetch_optional(&pool)
                .await
                .unwrap();
        known.filter(|known| *known)
    })
    .await;
}

fn step(name: &str, state: &str) -> PurchaseStepView {
    PurchaseStepView {
        name: name.to_owned(),
        participant: "orders".to_owned(),
        direction: "FORWARD".to_owned(),
        state: state.to_owned(),
        attempt: 1,
        max_attempts: 8,
        started_at: Some(1_700_000_000_000_000),
        finished_at: None,
        next_retry_at: None,
    }
}

#[tokio::test]
async fn another_customers_purchase_is_like_an_unknown_one() {
    let edge = Edge::selling(&[]).await;
    let (anna, bert) = (edge.customer("anna"), edge.customer("bert"));
    let hers = submitted(&edge, "anna").await;
    let unknown = purchase_id(PurchaseId::fresh());

    // Before purchase-manager knows it.
    assert_eq!(
        ask(&edge, &anna, &purchase_id(hers)).await["data"]["purchase"]["state"],
        "PENDING"
    );
    assert_eq!(
        ask(&edge, &bert, &purchase_id(hers)).await,
        ask(&edge, &bert, &unknown).await
    );
    // While purchase-manager is away.
    let mut without_locations = Vec::new();
    down(&edge.around.purchase_manager).await;
    for id in [&purchase_id(hers), &unknown] {
        without_locations.push(ask(&edge, &bert, id).await);
    }
    assert_eq!(without_locations[0], without_locations[1]);
    assert_eq!(code(&without_locations[0]), "UNAVAILABLE");
    // When purchase-manager knows it.
    let told = json!({ "purchases": [purchase(hers, "anna", 3, "RUNNING")] });
    answer(&edge.around.purchase_manager, "/purchases", told).await;
    assert_eq!(
        ask(&edge, &anna, &purchase_id(hers)).await["data"]["purchase"]["version"],
        3
    );
    let foreign = ask(&edge, &bert, &purchase_id(hers)).await;
    assert_eq!(foreign, json!({ "data": { "purchase": null } }));
    let node = "query ($id: ID!) { node(id: $id) { id } }";
    for token in [Some(bert.as_str()), None] {
        let foreign = edge.ask(token, node, json!({ "id": purchase_id(hers) })).await;
        assert_eq!(foreign, json!({ "data": { "node": null } }));
    }
    // Operators see all.
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let query = "query ($id: ID!) { purchase(id: $id) { state allowedActions customer { id } } }";
    let seen = edge
        .ask(Some(&operator), query, json!({ "id": purchase_id(hers) }))
        .await;
    assert_eq!(seen["data"]["purchase"]["state"], "RUNNING");
    assert_eq!(seen["data"]["purchase"]["allowedActions"], json!([]));
    assert!(seen["data"]["purchase"]["customer"]["id"].is_string());
    let forbidden = edge
        .ask(Some(&anna), query, json!({ "id": purchase_id(hers) }))
        .await;
    assert_eq!(code(&forbidden), "FORBIDDEN");
    assert_eq!(forbidden["data"]["purchase"]["customer"], Value::Null);
    assert_eq!(forbidden["data"]["purchase"]["allowedActions"], json!(["CANCEL"]));
    edge.stop().await;
}

#[tokio::test]
async fn a_purchase_that_purchase_manager_has_is_not_shown_as_pending_while_that_is_away() {
    let edge = Edge::selling(&[]).await;
    let anna = edge.customer("anna");
    let id = submitted(&edge, "anna").await;
    down(&edge.around.purchase_manager).await;
    assert_eq!(
        ask(&edge, &anna, &purchase_id(id)).await["data"]["purchase"]["state"],
        "PENDING"
    );
    acknowledged(&edge, id).await;
    let away = ask(&edge, &anna, &purchase_id(id)).await;
    assert_eq!(code(&away), "UNAVAILABLE");
    assert_eq!(away["data"]["purchase"], Value::Null);
    edge.stop().await;
}

#[tokio::test]
async fn a_malformed_id_is_answered_with_what_to_do() {
    let edge = Edge::selling(&[]).await;
    let anna = edge.customer("anna");
    for wrong in ["", "nonsense", &product_id(&product("LAMP", 1))] {
        let answer = ask(&edge, &anna, wrong).await;
        assert_eq!(code(&answer), "BAD_USER_INPUT", "{answer}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn a_service_that_is_away_blanks_its_own_fields_only() {
    let edge = Edge::selling(&[]).await;
    let anna = edge.customer("anna");
    let id = PurchaseId::fresh();
    let mut told = purchase(id, "anna", 9, "COMPLETED");
    told.steps = vec![step("create-order", "SUCCEEDED")];
    answer(
        &edge.around.purchase_manager,
        "/purchases",
        json!({ "purchases": [told] }),
    )
    .await;
    let order_id = OrderId::fresh();
    let order = contracts::http::Order {
        order_id,
        purchase_id: id,
        customer_id: CustomerId("anna".to_owned()),
        number: "O-1".to_owned(),
        state: "PLACED".to_owned(),
        total_minor: 2_000,
        currency: Currency::EUR,
        placed_at: 1_700_000_000_000_000,
    };
    answer(&edge.around.orders, "/orders", json!({ "orders": [order] })).await;
    let payment = contracts::http::Payment {
        payment_id: PaymentId::fresh(),
        purchase_id: id,
        customer_id: CustomerId("anna".to_owned()),
        state: "CAPTURED".to_owned(),
        amount_minor: 2_000,
        currency: Currency::EUR,
        method_label: "tok_ok".to_owned(),
        decline_message: None,
        updated_at: 1_700_000_000_000_000,
    };
    answer(
        &edge.around.payments,
        "/payments",
        json!({ "payments": [payment] }),
    )
    .await;
    let query = "query ($id: ID!) { purchase(id: $id) {
        state steps { name state } order { id number purchase { id } } payments { id state amount { amount } } } }";
    let variables = json!({ "id": purchase_id(id) });
    let whole = edge.ask(Some(&anna), query, variables.clone()).await;
    assert_eq!(whole["errors"], Value::Null);
    let bought = &whole["data"]["purchase"];
    assert_eq!(bought["order"]["number"], "O-1");
    assert_eq!(bought["order"]["purchase"]["id"], purchase_id(id));
    assert_eq!(bought["payments"][0]["amount"]["amount"], "20.00");

    // By their own ids, for those who may see the purchase.
    let node = "query ($id: ID!) { node(id: $id) { __typename id } }";
    for (kind, node_id) in [
        ("Order", &bought["order"]["id"]),
        ("Payment", &bought["payments"][0]["id"]),
    ] {
        let found = edge.ask(Some(&anna), node, json!({ "id": node_id })).await;
        assert_eq!(
            found["data"]["node"],
            json!({ "__typename": kind, "id": node_id })
        );
        let foreign = edge
            .ask(Some(&edge.customer("bert")), node, json!({ "id": node_id }))
            .await;
        assert_eq!(foreign["data"]["node"], Value::Null);
    }

    down(&edge.around.payments).await;
    let partly = edge.ask(Some(&anna), query, variables.clone()).await;
    assert_eq!(code(&partly), "UNAVAILABLE");
    assert_eq!(partly["errors"][0]["path"], json!(["purchase", "payments"]));
    assert_eq!(partly["data"]["purchase"]["payments"], Value::Null);
    assert_eq!(partly["data"]["purchase"]["order"]["number"], "O-1");

    // A service that answers nonsense is our fault, and masked.
    answer(
        &edge.around.orders,
        "/orders",
        json!({ "orders": "secret detail" }),
    )
    .await;
    answer(&edge.around.payments, "/payments", json!({ "payments": [] })).await;
    let masked = edge.ask(Some(&anna), query, variables).await;
    assert_eq!(code(&masked), "INTERNAL");
    assert!(masked["errors"][0]["extensions"]["requestId"].is_string());
    assert!(!masked.to_string().contains("secret detail"), "{masked}");
    assert_eq!(masked["data"]["purchase"]["state"], "COMPLETED");
    edge.stop().await;
}

#[tokio::test]
async fn a_customers_list_merges_what_purchase_manager_does_not_know_yet() {
    let edge = Edge::selling(&[]).await;
    let anna = edge.customer("anna");
    let old = PurchaseId::fresh();
    let known = submitted(&edge, "anna").await;
    let open = submitted(&edge, "anna").await;
    submitted(&edge, "bert").await;
    let (old_told, known_told) = (
        purchase(old, "anna", 5, "COMPLETED"),
        purchase(known, "anna", 2, "RUNNING"),
    );
    let manager = &edge.around.purchase_manager;
    manager.reset().await;
    let told = |purchases: Vec<&contracts::purchase_manager::PurchaseUpdated>| {
        ResponseTemplate::new(200).set_body_json(json!({ "purchases": purchases }))
    };
    Mock::given(query_param("customer", "anna"))
        .and(query_param("limit", "3"))
        .respond_with(told(vec![&known_told, &old_told]))
        .mount(manager)
        .await;
    Mock::given(query_param("customer", "anna"))
        .and(query_param("limit", "2"))
        .and(query_param("before", open.to_string()))
        .respond_with(told(vec![&known_told, &old_told]))
        .mount(manager)
        .await;
    Mock::given(query_param("customer", "anna"))
        .and(query_param("limit", "2"))
        .respond_with(told(vec![&known_told, &old_told]))
        .mount(manager)
        .await;
    Mock::given(query_param("customer", "anna"))
        .and(query_param("states", "PENDING"))
        .respond_with(told(Vec::new()))
        .mount(manager)
        .await;
    Mock::given(query_param("ids", known.to_string()))
        .respond_with(told(vec![&known_told]))
        .mount(manager)
        .await;
    Mock::given(wiremock::matchers::any())
        .respond_with(told(Vec::new()))
        .with_priority(200)
        .mount(manager)
        .await;

    let query = "query ($first: Int!, $after: String, $states: [PurchaseState!]) {
        viewer { purchases(first: $first, after: $after, states: $states) {
            nodes { id state } pageInfo { hasNextPage endCursor } } } }";
    let page = async |variables: Value| {
        let answer = edge.ask(Some(&anna), query, variables).await;
        assert!(answer["errors"].is_null(), "{answer}");
        answer["data"]["viewer"]["purchases"].clone()
    };
    let entry = |id: PurchaseId, state: &str| json!({ "id": purchase_id(id), "state": state });
    let all = page(json!({ "first": 2 })).await;
    assert_eq!(
        all["nodes"],
        json!([entry(open, "PENDING"), entry(known, "RUNNING")])
    );
    assert_eq!(all["pageInfo"]["hasNextPage"], true);

    let first = page(json!({ "first": 1 })).await;
    assert_eq!(first["nodes"], json!([entry(open, "PENDING")]));
    let second = page(json!({ "first": 1, "after": first["pageInfo"]["endCursor"] })).await;
    assert_eq!(second["nodes"], json!([entry(known, "RUNNING")]));

    // `known` is no longer pending there, although its event has not come here yet.
    let pending = page(json!({ "first": 20, "states": ["PENDING"] })).await;
    assert_eq!(pending["nodes"], json!([entry(open, "PENDING")]));

    down(manager).await;
    let away = edge
        .ask(
            Some(&anna),
            "{ viewer { name purchases { nodes { id } } } }",
            json!({}),
        )
        .await;
    assert_eq!(code(&away), "UNAVAILABLE");
    assert_eq!(
        away["data"]["viewer"],
        json!({ "name": "A Customer", "purchases": null })
    );
    edge.stop().await;
}

async fn cancel(edge: &Edge, token: &str, key: uuid::Uuid, id: &str) -> Value {
    let query = "mutation ($input: CancelPurchaseInput!) { cancelPurchase(input: $input) {
        purchase { state } effects userErrors { code field retryable } } }";
    let input = json!({ "idempotencyKey": key, "purchaseId": id, "reason": "changed my mind" });
    let answer = edge.ask(Some(token), query, json!({ "input": input })).await;
    assert!(answer["errors"].is_null(), "{answer}");
    answer["data"]["cancelPurchase"].clone()
}

#[tokio::test]
async fn an_own_purchase_is_cancelled_by_purchase_manager() {
    let edge = Edge::selling(&[]).await;
    let anna = edge.customer("anna");
    let id = submitted(&edge, "anna").await;
    let key = fresh();
    let manager = &edge.around.purchase_manager;
    let at = format!("/purchases/{id}/cancel");
    let cancelled = json!({
        "purchase": purchase(id, "anna", 4, "COMPENSATING"),
        "effects": ["The reserved products are given back."],
    });
    Mock::given(method("POST"))
        .and(path(at.as_str()))
        .and(body_partial_json(
            json!({ "idempotency_key": key, "customer_id": "anna", "reason": "changed my mind" }),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(cancelled))
        .up_to_n_times(1)
        .mount(manager)
        .await;
    let payload = cancel(&edge, &anna, key, &purchase_id(id)).await;
    assert_eq!(payload["purchase"]["state"], "COMPENSATING");
    assert_eq!(
        payload["effects"],
        json!(["The reserved products are given back."])
    );

    // Nobody else's, and nothing is asked of purchase-manager.
    for (token, wrong) in [
        (edge.customer("bert"), purchase_id(id)),
        (edge.around.issuer.token("olga", &["operator"]), purchase_id(id)),
        (anna.clone(), purchase_id(PurchaseId::fresh())),
    ] {
        let foreign = cancel(&edge, &token, fresh(), &wrong).await;
        assert_eq!(foreign["userErrors"][0]["code"], "NOT_FOUND");
    }
    assert_eq!(
        cancel(&edge, &anna, fresh(), "nonsense").await["userErrors"][0]["code"],
        "INVALID"
    );

    // Its refusals are passed on.
    let refusal = json!({ "errors": [
        { "code": "PAST_POINT_OF_NO_RETURN", "message": "The order is made.", "field": null, "retryable": false },
    ] });
    Mock::given(method("POST"))
        .and(path(at.as_str()))
        .respond_with(ResponseTemplate::new(422).set_body_json(refusal))
        .mount(manager)
        .await;
    let late = cancel(&edge, &anna, fresh(), &purchase_id(id)).await;
    assert_eq!(late["userErrors"][0]["code"], "PAST_POINT_OF_NO_RETURN");

    down(manager).await;
    let away = cancel(&edge, &anna, fresh(), &purchase_id(id)).await;
    let expected = json!({ "code": "TEMPORARILY_UNAVAILABLE", "field": null, "retryable": true });
    assert_eq!(away["userErrors"], json!([expected]));
    edge.stop().await;
}
