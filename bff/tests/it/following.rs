//! Subscriptions that follow more than one thing: the current state first, then what is newer, and nothing that is not theirs.
//! Method: server-sent events, and graphql-transport-ws once, on a real broker protocol.

use contracts::{
    ids::{PurchaseId, fresh},
    topics::{PRODUCT_EVENTS, PURCHASE_EVENTS},
};
use reqwest::header;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{path, query_param},
};

use crate::{
    edge::{Edge, answer, down, encoded, product, product_id, purchase, purchase_id},
    events::{Events, ask},
    websocket::Client,
};

const OWN: &str = "subscription { myPurchasesUpdated { id version state } }";
const ALL: &str =
    "subscription ($filter: PurchaseFilter) { purchasesUpdated(filter: $filter) { id version state } }";
const PRODUCTS: &str = "subscription ($ids: [ID!]!) { productUpdated(ids: $ids) { sku version status } }";
const ADDED: &str = "subscription { deadLetterAdded { service sourceTopic } }";

/// The next result's field.
async fn next(events: &mut Events, field: &str) -> Value {
    let (name, data) = events.next().await.expect("an update");
    assert_eq!(name, "next", "{data}");
    assert!(data["errors"].is_null(), "{data}");
    data["data"][field].clone()
}

fn update(id: PurchaseId, version: i32, state: &str) -> Value {
    json!({ "id": purchase_id(id), "version": version, "state": state })
}

/// The code of a subscription that is refused as a whole.
async fn refused(events: &mut Events) -> String {
    let (_, data) = events.next().await.expect("a result");
    let code = data["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(events.next().await, Some(("complete".to_owned(), Value::Null)));
    code
}

#[tokio::test]
async fn a_customer_follows_all_of_their_purchases_and_nobody_elses() {
    let edge = Edge::selling(&[]).await;
    let server = &edge.around.purchase_manager;
    let (over, open, new, foreign) = (
        PurchaseId::fresh(),
        PurchaseId::fresh(),
        PurchaseId::fresh(),
        PurchaseId::fresh(),
    );
    server.reset().await;
    let told =
        |purchases: Vec<_>| ResponseTemplate::new(200).set_body_json(json!({ "purchases": purchases }));
    Mock::given(path("/purchases"))
        .and(query_param("customer", "anna"))
        .and(query_param("states", "PENDING,RUNNING,COMPENSATING,STUCK"))
        .respond_with(told(vec![purchase(open, "anna", 2, "RUNNING")]))
        .mount(server)
        .await;
    Mock::given(path("/purchases"))
        .and(query_param("customer", "anna"))
        .respond_with(told(vec![
            purchase(open, "anna", 2, "RUNNING"),
            purchase(over, "anna", 9, "COMPLETED"),
        ]))
        .mount(server)
        .await;
    let anna = edge.customer("anna");
    let mut events = Events::of(ask(&edge, &anna, json!({ "query": OWN })).await);
    let mut socket = Client::initialized(&edge, &anna).await;
    socket
        .say(json!({ "type": "subscribe", "id": "1", "payload": { "query": OWN } }))
        .await;
    // How it ended is told to who was away meanwhile; what is open, however old.
    for first in [update(over, 9, "COMPLETED"), update(open, 2, "RUNNING")] {
        assert_eq!(next(&mut events, "myPurchasesUpdated").await, first);
        assert_eq!(
            socket.hear().await["payload"]["data"]["myPurchasesUpdated"],
            first
        );
    }
    for (id, customer, version, state) in [
        (foreign, "bert", 1, "RUNNING"),
        (over, "anna", 9, "COMPLETED"),
        (open, "anna", 1, "PENDING"),
        (new, "anna", 1, "RUNNING"),
        (open, "anna", 3, "COMPLETED"),
    ] {
        edge.publish(PURCHASE_EVENTS, id.0, &purchase(id, customer, version, state))
            .await;
    }
    let mut heard = [
        next(&mut events, "myPurchasesUpdated").await,
        next(&mut events, "myPurchasesUpdated").await,
    ];
    // Purchases are no order among each other.
    heard.sort_by_key(|update| update["version"].as_i64());
    assert_eq!(heard, [update(new, 1, "RUNNING"), update(open, 3, "COMPLETED")]);
    for _ in 0..2 {
        assert_eq!(socket.hear().await["type"], "next");
    }

    down(server).await;
    let mut away = Events::of(ask(&edge, &anna, json!({ "query": OWN })).await);
    assert_eq!(refused(&mut away).await, "UNAVAILABLE");
    let nobody = edge.around.issuer.token("nobody", &[]);
    let mut denied = Events::of(ask(&edge, &nobody, json!({ "query": OWN })).await);
    assert_eq!(refused(&mut denied).await, "FORBIDDEN");
    edge.stop().await;
}

#[tokio::test]
async fn operators_follow_what_matches_and_hear_when_it_no_longer_does() {
    let edge = Edge::selling(&[]).await;
    let server = &edge.around.purchase_manager;
    let (stuck, other) = (PurchaseId::fresh(), PurchaseId::fresh());
    answer(
        server,
        "/operator/search",
        json!({ "purchases": [purchase(stuck, "anna", 4, "STUCK")] }),
    )
    .await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let body = json!({ "query": ALL, "variables": { "filter": { "states": ["STUCK"] } } });
    let mut events = Events::of(ask(&edge, &operator, body.clone()).await);
    assert_eq!(
        next(&mut events, "purchasesUpdated").await,
        update(stuck, 4, "STUCK")
    );
    for (id, version, state) in [
        (other, 1, "RUNNING"),
        (stuck, 5, "RUNNING"),
        (stuck, 6, "RUNNING"),
        (stuck, 7, "STUCK"),
    ] {
        edge.publish(PURCHASE_EVENTS, id.0, &purchase(id, "anna", version, state))
            .await;
    }
    assert_eq!(
        next(&mut events, "purchasesUpdated").await,
        update(stuck, 5, "RUNNING"),
        "it left the list"
    );
    assert_eq!(
        next(&mut events, "purchasesUpdated").await,
        update(stuck, 7, "STUCK"),
        "and came back"
    );
    let mut denied = Events::of(ask(&edge, &edge.customer("anna"), body).await);
    assert_eq!(refused(&mut denied).await, "FORBIDDEN");
    edge.stop().await;
}

/// As somebody without a token.
async fn anonymously(edge: &Edge, body: Value) -> Events {
    let request = edge
        .http
        .post(edge.url("/graphql/stream"))
        .header(header::ACCEPT, "text/event-stream");
    Events::of(request.json(&body).send().await.unwrap())
}

#[tokio::test]
async fn anybody_follows_products_until_they_are_gone() {
    let (lamp, rope) = (product("LAMP", 100), product("ROPE", 100));
    let edge = Edge::selling(&[lamp.clone(), rope.clone()]).await;
    let ids = json!([
        product_id(&lamp),
        product_id(&rope),
        encoded("Product", &fresh().to_string())
    ]);
    let mut events = anonymously(&edge, json!({ "query": PRODUCTS, "variables": { "ids": ids } })).await;
    let mut first = [
        next(&mut events, "productUpdated").await,
        next(&mut events, "productUpdated").await,
    ];
    first.sort_by_key(|product| product["sku"].as_str().map(str::to_owned));
    assert_eq!(first[0]["sku"], "LAMP");
    assert_eq!(first[1]["sku"], "ROPE");
    let publish = async |product: &contracts::product_admin::ProductChanged, version, status: &str| {
        let mut changed = product.clone();
        changed.version = version;
        changed.status = status.to_owned();
        edge.publish(PRODUCT_EVENTS, product.product_id.0, &changed).await;
    };
    let newer = json!({ "sku": "LAMP", "version": 2, "status": "ACTIVE" });
    for version in [1, 2, 2] {
        publish(&lamp, version, "ACTIVE").await;
    }
    assert_eq!(next(&mut events, "productUpdated").await, newer);
    publish(&lamp, 3, "ARCHIVED").await;
    publish(&rope, 2, "ARCHIVED").await;
    assert_eq!(events.next().await, Some(("complete".to_owned(), Value::Null)));

    for wrong in [
        json!([]),
        json!(["nonsense"]),
        json!([encoded("Product", &fresh().to_string())]),
    ] {
        let body = json!({ "query": PRODUCTS, "variables": { "ids": wrong } });
        let mut events = anonymously(&edge, body).await;
        assert_eq!(refused(&mut events).await, "BAD_USER_INPUT");
    }
    edge.stop().await;
}

async fn park(edge: &Edge, topic: &str) {
    sqlx::query(
        "insert into parked (id, consumer, topic, key, headers, cause, error_class, error)
         values ($1, 'belay.bff.catalogue', $2, 'key', '{}', 'failed', 'decoding', '-')",
    )
    .bind(Uuid::from_u128(fresh().as_u128()))
    .bind(topic)
    .execute(&edge.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn operators_hear_of_parked_messages_also_while_a_service_is_away() {
    let edge = Edge::selling(&[]).await;
    down(&edge.around.payments).await;
    park(&edge, "first").await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let mut events = Events::of(ask(&edge, &operator, json!({ "query": ADDED })).await);
    let parked = |topic: &str| json!({ "service": "bff", "sourceTopic": topic });
    assert_eq!(next(&mut events, "deadLetterAdded").await, parked("first"));
    park(&edge, "second").await;
    assert_eq!(next(&mut events, "deadLetterAdded").await, parked("second"));
    let mut denied = Events::of(ask(&edge, &edge.customer("anna"), json!({ "query": ADDED })).await);
    assert_eq!(refused(&mut denied).await, "FORBIDDEN");
    edge.stop().await;
}
