//! What operators look for and customers look up: lists of purchases, orders, customers, the messages of a saga.

use contracts::{
    http::Order,
    ids::{CustomerId, OrderId, PurchaseId, fresh},
    money::Currency,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{method, path, query_param, query_param_is_missing},
};

use crate::edge::{Edge, answer, code, decoded, down, encoded, product, product_id, purchase, purchase_id};

const LIST: &str = "query ($first: Int, $after: String, $filter: PurchaseFilter) {
    purchases(first: $first, after: $after, filter: $filter) {
        totalCount nodes { id state } pageInfo { hasNextPage endCursor } } }";

async fn tell(server: &wiremock::MockServer, at: &str, body: Value) {
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(server)
        .await;
}

#[tokio::test]
async fn operators_find_purchases_also_those_that_are_still_on_their_way() {
    let lamp = product("LAMP", 100);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    let lines = json!([{ "productId": product_id(&lamp), "quantity": 1 }]);
    let (first, second) = (PurchaseId::fresh(), PurchaseId::fresh());
    let waiting = decoded(&edge.submit(&edge.customer("anna"), fresh(), lines).await["purchase"]["id"]);
    let server = &edge.around.purchase_manager;
    let known = |ids: &[PurchaseId]| {
        let told: Vec<_> = ids.iter().map(|id| purchase(*id, "carl", 3, "RUNNING")).collect();
        json!({ "purchases": told })
    };
    server.reset().await;
    tell(server, "/purchases", json!({ "purchases": [] })).await;
    tell(server, "/operator/count", json!({ "total": 2 })).await;
    Mock::given(path("/operator/search"))
        .and(query_param("customer", "carl"))
        .and(query_param("states", "RUNNING,STUCK"))
        .and(query_param("step", "create-order"))
        .and(query_param("reference", "P-7F"))
        .and(query_param("sku", "LAMP"))
        .and(query_param("stuck_for_seconds", "60"))
        .and(query_param("created_after", "0"))
        .and(query_param("limit", "21"))
        .respond_with(ResponseTemplate::new(200).set_body_json(known(&[first])))
        .mount(server)
        .await;
    Mock::given(path("/operator/search"))
        .and(query_param_is_missing("customer"))
        .respond_with(ResponseTemplate::new(200).set_body_json(known(&[second, first])))
        .mount(server)
        .await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let all = edge.ask(Some(&operator), LIST, json!({})).await;
    let list = &all["data"]["purchases"];
    let nodes = json!([
        { "id": purchase_id(waiting), "state": "PENDING" },
        { "id": purchase_id(second), "state": "RUNNING" },
        { "id": purchase_id(first), "state": "RUNNING" },
    ]);
    assert_eq!(list["nodes"], nodes, "{all}");
    assert_eq!(list["totalCount"], 2);
    let page = edge.ask(Some(&operator), LIST, json!({ "first": 1 })).await;
    assert_eq!(page["data"]["purchases"]["pageInfo"]["hasNextPage"], true);

    let filter = json!({
        "customerId": encoded("Customer", "carl"), "states": ["RUNNING", "STUCK"], "step": "create-order",
        "reference": "p-7f", "sku": "LAMP", "stuckForSeconds": 60, "createdAfter": "1960-01-01T00:00:00Z",
    });
    let found = edge.ask(Some(&operator), LIST, json!({ "filter": filter })).await;
    assert_eq!(
        found["data"]["purchases"]["nodes"],
        json!([{ "id": purchase_id(first), "state": "RUNNING" }]),
        "{found}"
    );
    let none = edge
        .ask(Some(&operator), LIST, json!({ "filter": { "states": [] } }))
        .await;
    assert_eq!(none["data"]["purchases"]["nodes"], json!([]));
    for wrong in [
        json!({ "customerId": "carl" }),
        json!({ "stuckForSeconds": -1 }),
        json!({ "sku": "a\u{0}b" }),
    ] {
        let refused = edge.ask(Some(&operator), LIST, json!({ "filter": wrong })).await;
        assert_eq!(code(&refused), "BAD_USER_INPUT");
    }
    let foreign = edge.ask(Some(&edge.customer("carl")), LIST, json!({})).await;
    assert_eq!(code(&foreign), "FORBIDDEN");
    assert_eq!(code(&edge.ask(None, LIST, json!({})).await), "UNAUTHENTICATED");
    let own = "{ viewer { purchases { totalCount } } }";
    let counted = edge.ask(Some(&edge.customer("carl")), own, json!({})).await;
    assert_eq!(code(&counted), "FORBIDDEN");
    down(server).await;
    let away = edge.ask(Some(&operator), LIST, json!({})).await;
    assert_eq!(code(&away), "UNAVAILABLE");
    assert_eq!(away["data"], json!({ "purchases": null }));
    edge.stop().await;
}

fn order(purchase: PurchaseId, customer: &str) -> Order {
    Order {
        order_id: OrderId::fresh(),
        purchase_id: purchase,
        customer_id: CustomerId(customer.to_owned()),
        number: "O-1".to_owned(),
        state: "PLACED".to_owned(),
        total_minor: 100,
        currency: Currency::EUR,
        placed_at: 1_700_000_000_000_000,
    }
}

#[tokio::test]
async fn an_order_is_its_customers_and_needs_nobody_but_orders() {
    let edge = Edge::selling(&[]).await;
    let bought = PurchaseId::fresh();
    let placed = order(bought, "anna");
    let server = &edge.around.orders;
    answer(server, "/orders", json!({ "orders": [placed] })).await;
    down(&edge.around.purchase_manager).await;
    let one = "query ($id: ID!) { order(id: $id) { number state } }";
    let id = |order: OrderId| json!({ "id": encoded("Order", &format!("{bought}/{order}")) });
    let anna = edge.customer("anna");
    let mine = edge.ask(Some(&anna), one, id(placed.order_id)).await;
    assert_eq!(
        mine["data"]["order"],
        json!({ "number": "O-1", "state": "PLACED" })
    );
    let bert = edge.customer("bert");
    let foreign = edge.ask(Some(&bert), one, id(placed.order_id)).await;
    assert_eq!(
        foreign,
        edge.ask(Some(&bert), one, id(OrderId::fresh())).await,
        "like an unknown one"
    );
    assert_eq!(foreign, json!({ "data": { "order": null } }));
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let seen = edge.ask(Some(&operator), one, id(placed.order_id)).await;
    assert_eq!(seen["data"]["order"]["number"], "O-1");
    assert_eq!(
        code(&edge.ask(None, one, id(placed.order_id)).await),
        "UNAUTHENTICATED"
    );
    let wrong = edge
        .ask(Some(&anna), one, json!({ "id": purchase_id(bought) }))
        .await;
    assert_eq!(code(&wrong), "BAD_USER_INPUT");

    let list =
        "{ viewer { id orders(first: 1) { nodes { number purchase { state } } pageInfo { hasNextPage } } } }";
    server.reset().await;
    Mock::given(path("/orders"))
        .and(query_param("customer", "anna"))
        .and(query_param("limit", "2"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "orders": [placed, order(PurchaseId::fresh(), "anna")] })),
        )
        .mount(server)
        .await;
    let partly = edge.ask(Some(&anna), list, json!({})).await;
    assert_eq!(code(&partly), "UNAVAILABLE", "the purchase alone is missing");
    let orders = &partly["data"]["viewer"]["orders"];
    assert_eq!(orders["nodes"], json!([{ "number": "O-1", "purchase": null }]));
    assert_eq!(orders["pageInfo"]["hasNextPage"], true);
    down(server).await;
    let away = edge
        .ask(Some(&anna), "{ viewer { orders { nodes { id } } } }", json!({}))
        .await;
    assert_eq!(code(&away), "UNAVAILABLE");
    assert_eq!(away["data"]["viewer"], json!({ "orders": null }));
    edge.stop().await;
}

#[tokio::test]
async fn operators_see_who_bought_and_nobody_else_does() {
    let lamp = product("LAMP", 100);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    let lines = json!([{ "productId": product_id(&lamp), "quantity": 1 }]);
    let token = edge
        .around
        .issuer
        .customer_with("anna", "Anna A.", Some("anna@shop.example"));
    let id = edge.submit(&token, fresh(), lines).await["purchase"]["id"].clone();
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let query = "query ($id: ID!) { purchase(id: $id) { deadlineAt createdAt customer { id name email } } }";
    let seen = edge.ask(Some(&operator), query, json!({ "id": id })).await;
    let bought = &seen["data"]["purchase"];
    let customer = encoded("Customer", "anna");
    assert_eq!(
        bought["customer"],
        json!({ "id": customer, "name": "Anna A.", "email": "anna@shop.example" }),
        "{seen}"
    );
    let time = |at: &Value| chrono::DateTime::parse_from_rfc3339(at.as_str().unwrap()).unwrap();
    let bound = time(&bought["deadlineAt"]) - time(&bought["createdAt"]);
    assert_eq!(bound.num_seconds(), contracts::operator::BOUND_SECONDS);

    let node = "query ($id: ID!) { node(id: $id) { ... on Customer { name } } }";
    let asked = async |token: Option<&str>, id: &str| {
        let answer = edge.ask(token, node, json!({ "id": id })).await;
        answer["data"]["node"].clone()
    };
    assert_eq!(asked(Some(&operator), &customer).await["name"], "Anna A.");
    assert_eq!(asked(Some(&token), &customer).await["name"], "Anna A.", "oneself");
    let unknown = encoded("Customer", "zoe");
    for token in [Some(edge.customer("bert")), None] {
        assert_eq!(asked(token.as_deref(), &customer).await, Value::Null);
        assert_eq!(asked(token.as_deref(), &unknown).await, Value::Null);
    }
    edge.stop().await;
}

const INSIDE: &str = "query ($id: ID!) { purchase(id: $id) { state traceId deadlineAt steps { error }
    messages(first: 1) { nodes { type topic partition offset schemaId step at } pageInfo { hasNextPage } } } }";

#[tokio::test]
async fn operators_see_the_inside_of_a_saga_and_admins_what_its_messages_say() {
    let edge = Edge::selling(&[]).await;
    let server = &edge.around.purchase_manager;
    let id = PurchaseId::fresh();
    let mut told = purchase(id, "anna", 4, "STUCK");
    told.steps = vec![contracts::purchase_manager::PurchaseStepView {
        name: "create-order".to_owned(),
        participant: "orders".to_owned(),
        direction: "FORWARD".to_owned(),
        state: "FAILED".to_owned(),
        attempt: 8,
        max_attempts: 8,
        started_at: None,
        finished_at: None,
        next_retry_at: None,
    }];
    let view = json!({ "purchase_id": id, "version": 4, "allowed_actions": [], "audit": [],
        "errors": [{ "step": "create-order", "direction": "FORWARD", "error": "no answer" }],
        "trace_id": "0af7651916cd43dd8448eb211c80319c" });
    let message = |place: i64| {
        json!({ "place": place, "message_type": "OrderCreated", "topic": "purchase.replies.v1", "partition": 3,
                "offset": 9_007_199_254_740_993_i64, "schema_id": 7, "step": "create-order",
                "at": 1_700_000_000_000_000_i64, "payload": { "order_number": "O-1" } })
    };
    server.reset().await;
    tell(server, "/purchases", json!({ "purchases": [told] })).await;
    tell(server, "/operator/purchases", json!({ "purchases": [view] })).await;
    tell(
        server,
        &format!("/operator/purchases/{id}/messages"),
        json!({ "messages": [message(4), message(6)] }),
    )
    .await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let variables = json!({ "id": purchase_id(id) });
    let seen = edge.ask(Some(&operator), INSIDE, variables.clone()).await;
    let nodes = json!([{ "type": "OrderCreated", "topic": "purchase.replies.v1", "partition": 3,
        "offset": "9007199254740993", "schemaId": 7, "step": "create-order", "at": "2023-11-14T22:13:20+00:00" }]);
    assert_eq!(
        seen["data"]["purchase"],
        json!({ "state": "STUCK", "traceId": "0af7651916cd43dd8448eb211c80319c", "deadlineAt": null,
                "steps": [{ "error": "no answer" }],
                "messages": { "nodes": nodes, "pageInfo": { "hasNextPage": true } } }),
        "{seen}"
    );
    let payload = "query ($id: ID!) { purchase(id: $id) { messages { nodes { type payload } } } }";
    let denied = edge.ask(Some(&operator), payload, variables.clone()).await;
    assert!(
        denied["errors"]
            .as_array()
            .unwrap()
            .iter()
            .all(|error| error["extensions"]["code"] == "FORBIDDEN")
    );
    let first = &denied["data"]["purchase"]["messages"]["nodes"][0];
    assert_eq!(first, &json!({ "type": "OrderCreated", "payload": null }));
    let admin = edge.around.issuer.token("ada", &["admin"]);
    let shown = edge.ask(Some(&admin), payload, variables.clone()).await;
    let first = &shown["data"]["purchase"]["messages"]["nodes"][0];
    assert_eq!(first["payload"], json!({ "order_number": "O-1" }));

    let anna = edge.customer("anna");
    for field in [
        "traceId",
        "deadlineAt",
        "messages { nodes { id } }",
        "steps { error }",
    ] {
        let query = format!("query ($id: ID!) {{ purchase(id: $id) {{ state {field} }} }}");
        let denied = edge.ask(Some(&anna), &query, variables.clone()).await;
        assert_eq!(code(&denied), "FORBIDDEN", "{field}");
        assert_eq!(denied["data"]["purchase"]["state"], "STUCK", "{field}");
    }
    // The reads for operators fail alone.
    server.reset().await;
    tell(
        server,
        "/purchases",
        json!({ "purchases": [purchase(id, "anna", 4, "STUCK")] }),
    )
    .await;
    Mock::given(wiremock::matchers::path_regex("^/operator/"))
        .respond_with(ResponseTemplate::new(503))
        .mount(server)
        .await;
    let query = "query ($id: ID!) { purchase(id: $id) { state messages { nodes { id } } } }";
    let away = edge.ask(Some(&operator), query, variables).await;
    assert_eq!(code(&away), "UNAVAILABLE");
    assert_eq!(
        away["data"]["purchase"],
        json!({ "state": "STUCK", "messages": null })
    );
    edge.stop().await;
}
