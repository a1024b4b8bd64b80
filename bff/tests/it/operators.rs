//! What operators do at the edge: stuck purchases and parked messages.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use contracts::ids::{PurchaseId, fresh};
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{body_partial_json, method, path},
};

use crate::edge::{Edge, answer, code, down, purchase, purchase_id};

const RETRY: &str = "mutation ($input: SagaActionInput!) { retrySaga(input: $input) {
    purchase { state } effects userErrors { code field } } }";
const RESOLVE: &str = "mutation ($input: ResolvePurchaseInput!) { resolveSaga(input: $input) {
    effects userErrors { code } } }";
const SETTLE: &str = "mutation ($input: DeadLettersInput!) { replayDeadLetters(input: $input) {
    deadLetters { id replaying } userErrors { code field } } }";
const DISCARD: &str = "mutation ($input: DeadLettersInput!) { discardDeadLetters(input: $input) {
    deadLetters { discardedAt } userErrors { code } } }";
const LIST: &str = "query ($first: Int, $after: String, $filter: DeadLetterFilter) {
    deadLetters(first: $first, after: $after, filter: $filter) {
        nodes { id service errorClass waitsBehind purchase { id } } unavailable
        pageInfo { hasNextPage endCursor } } }";

#[tokio::test]
async fn an_operator_sees_and_does_what_purchase_manager_allows() {
    let edge = Edge::selling(&[]).await;
    let server = &edge.around.purchase_manager;
    let id = PurchaseId::fresh();
    let stuck = purchase(id, "carl", 7, "STUCK");
    let get = async |at: &str, body: Value| {
        Mock::given(method("GET"))
            .and(path(at))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(server)
            .await;
    };
    server.reset().await;
    get("/purchases", json!({ "purchases": [stuck] })).await;
    let audit = json!([{ "action": "retry", "actor": "olga", "reason": "it is back", "at": 1_700_000_000_000_000_i64 }]);
    let view = json!({ "purchase_id": id, "version": 7, "allowed_actions": ["RETRY", "RESOLVE"], "errors": [], "audit": audit });
    get("/operator/purchases", json!({ "purchases": [view] })).await;

    let look = "query ($id: ID!) { purchase(id: $id) { allowedActions audit { action actor reason } } }";
    let variables = json!({ "id": purchase_id(id) });
    let token = |role: &str| edge.around.issuer.token("olga", &[role]);
    let seen = edge.ask(Some(&token("operator")), look, variables.clone()).await;
    assert_eq!(
        seen["data"]["purchase"]["allowedActions"],
        json!(["RETRY"]),
        "{seen}"
    );
    assert_eq!(seen["data"]["purchase"]["audit"][0]["actor"], "olga");
    let seen = edge.ask(Some(&token("admin")), look, variables.clone()).await;
    assert_eq!(
        seen["data"]["purchase"]["allowedActions"],
        json!(["RETRY", "RESOLVE"])
    );
    let own = edge.customer("carl");
    let actions = "query ($id: ID!) { purchase(id: $id) { allowedActions } }";
    let seen = edge.ask(Some(&own), actions, variables.clone()).await;
    assert_eq!(seen["data"]["purchase"]["allowedActions"], json!([]));
    assert_eq!(code(&edge.ask(Some(&own), look, variables).await), "FORBIDDEN");

    let input = json!({ "input": { "idempotencyKey": fresh(), "purchaseId": purchase_id(id), "expectedVersion": 7,
        "reason": "it is back", "dryRun": true } });
    let foretold = json!({ "purchase": purchase(id, "carl", 7, "STUCK"), "effects": ["the purchase goes from STUCK to RUNNING"] });
    Mock::given(method("POST"))
        .and(path(format!("/purchases/{id}/retry")))
        .and(body_partial_json(
            json!({ "actor": "olga", "expected_version": 7, "dry_run": true, "reason": "it is back" }),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(foretold))
        .mount(server)
        .await;
    let told = edge.ask(Some(&token("operator")), RETRY, input.clone()).await;
    assert_eq!(
        told["data"]["retrySaga"],
        json!({ "purchase": { "state": "STUCK" }, "effects": ["the purchase goes from STUCK to RUNNING"], "userErrors": [] })
    );
    assert_eq!(
        code(&edge.ask(Some(&own), RETRY, input.clone()).await),
        "FORBIDDEN"
    );
    let mut silent = input.clone();
    silent["input"]["reason"] = json!(" ");
    let refused = edge.ask(Some(&token("operator")), RETRY, silent).await;
    assert_eq!(
        refused["data"]["retrySaga"]["userErrors"],
        json!([{ "code": "INVALID", "field": ["reason"] }])
    );

    let mut resolve = input;
    resolve["input"]["outcome"] = json!("MARK_CANCELLED");
    assert_eq!(
        code(&edge.ask(Some(&token("operator")), RESOLVE, resolve.clone()).await),
        "FORBIDDEN"
    );
    let conflict = json!({ "errors": [{ "code": "VERSION_CONFLICT", "message": "Look again.", "field": null, "retryable": false }] });
    Mock::given(method("POST"))
        .and(path(format!("/purchases/{id}/resolve")))
        .and(body_partial_json(json!({ "outcome": "MARK_CANCELLED" })))
        .respond_with(ResponseTemplate::new(422).set_body_json(conflict))
        .mount(server)
        .await;
    let refused = edge.ask(Some(&token("admin")), RESOLVE, resolve.clone()).await;
    assert_eq!(
        refused["data"]["resolveSaga"]["userErrors"],
        json!([{ "code": "VERSION_CONFLICT" }])
    );
    down(server).await;
    let away = edge.ask(Some(&token("admin")), RESOLVE, resolve).await;
    assert_eq!(
        away["data"]["resolveSaga"]["userErrors"],
        json!([{ "code": "TEMPORARILY_UNAVAILABLE" }])
    );
    edge.stop().await;
}

fn parked(service: &str, seq: i64, at: i64) -> Value {
    json!({
        "id": Uuid::from_u128(u128::try_from(seq).unwrap()), "seq": seq, "service": service, "consumer": format!("belay.{service}"),
        "topic": "orders.commands.v1", "partition": 0, "offset": 1, "key": null, "message_id": null, "message_type": null,
        "command_id": null, "cause": "failed", "error_class": "data", "error": "it does not fit", "attempts": 1,
        "parked_at": at, "failed_at": at, "replaying": false, "resolved_at": null, "resolution": null,
        "resolved_by": null, "reason": null,
    })
}

fn dead_letter_id(service: &str, id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(format!("DeadLetter:{service}/{id}"))
}

#[tokio::test]
async fn parked_messages_of_all_services_are_one_list_newest_first() {
    let edge = Edge::selling(&[]).await;
    let around = &edge.around;
    let none = json!({ "parked": [], "more": false });
    answer(&around.purchase_manager, "/parked", none.clone()).await;
    answer(&around.product_admin, "/parked", none.clone()).await;
    answer(
        &around.orders,
        "/parked",
        json!({ "parked": [parked("orders", 9, 40), parked("orders", 8, 20)], "more": false }),
    )
    .await;
    answer(
        &around.payments,
        "/parked",
        json!({ "parked": [parked("payments", 3, 30)], "more": false }),
    )
    .await;
    let own = Uuid::from_u128(77);
    sqlx::query(
        "insert into parked (id, consumer, topic, key, headers, cause, error_class, error, parked_at)
         values ($1, 'belay.bff.catalogue', 'product.events.v1', 'key', '{}', 'failed', 'decoding', '-', 'epoch')",
    )
    .bind(own)
    .execute(&edge.pool())
    .await
    .unwrap();
    let operator = around.issuer.token("olga", &["operator"]);
    let all = edge.ask(Some(&operator), LIST, json!({})).await;
    let nodes = all["data"]["deadLetters"]["nodes"]
        .as_array()
        .unwrap_or_else(|| panic!("{all}"));
    let services: Vec<_> = nodes
        .iter()
        .map(|node| node["service"].as_str().unwrap())
        .collect();
    assert_eq!(services, ["orders", "payments", "orders", "bff"]);
    assert_eq!(nodes[3]["id"], dead_letter_id("bff", own));

    let page = edge.ask(Some(&operator), LIST, json!({ "first": 2 })).await;
    assert_eq!(page["data"]["deadLetters"]["pageInfo"]["hasNextPage"], true);
    let cursor = &page["data"]["deadLetters"]["pageInfo"]["endCursor"];
    let places = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor.as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(places, "orders:9,payments:3");
    let only = json!({ "filter": { "service": "bff", "errorClass": "decoding" } });
    let only = edge.ask(Some(&operator), LIST, only).await;
    assert_eq!(only["data"]["deadLetters"]["nodes"].as_array().unwrap().len(), 1);

    let node = "query ($id: ID!) { node(id: $id) { ... on DeadLetter { errorClass } } }";
    let id = json!({ "id": dead_letter_id("bff", own) });
    let shown = edge.ask(Some(&operator), node, id.clone()).await;
    assert_eq!(shown["data"]["node"]["errorClass"], "decoding");
    let customer = edge.customer("carl");
    assert_eq!(
        edge.ask(Some(&customer), node, id).await["data"]["node"],
        Value::Null
    );
    assert_eq!(
        code(&edge.ask(Some(&customer), LIST, json!({})).await),
        "FORBIDDEN"
    );
    down(&around.payments).await;
    let partly = edge.ask(Some(&operator), LIST, json!({})).await;
    let list = &partly["data"]["deadLetters"];
    assert_eq!(list["unavailable"], json!(["payments"]), "{partly}");
    assert_eq!(
        list["nodes"].as_array().unwrap().len(),
        3,
        "the others' are shown"
    );
    let only = json!({ "filter": { "service": "payments" } });
    assert_eq!(code(&edge.ask(Some(&operator), LIST, only).await), "UNAVAILABLE");
    edge.stop().await;
}

#[tokio::test]
async fn parked_messages_are_settled_where_they_are() {
    let edge = Edge::selling(&[]).await;
    let theirs = Uuid::from_u128(9);
    let own = Uuid::from_u128(77);
    sqlx::query(
        "insert into parked (id, consumer, topic, key, headers, cause, error_class, error)
         values ($1, 'nobody', 'product.events.v1', 'key', '{}', 'failed', 'decoding', '-')",
    )
    .bind(own)
    .execute(&edge.pool())
    .await
    .unwrap();
    let server = &edge.around.orders;
    answer(server, &format!("/parked/{theirs}"), parked("orders", 9, 40)).await;
    Mock::given(method("POST"))
        .and(path("/parked/replay"))
        .and(body_partial_json(
            json!({ "actor": "olga", "ids": [theirs], "reason": "mended" }),
        ))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(json!({ "settled": [{ "id": theirs, "outcome": "replaying" }] })),
        )
        .mount(server)
        .await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let ids = [dead_letter_id("orders", theirs), dead_letter_id("bff", own)];
    let input = json!({ "input": { "idempotencyKey": fresh(), "ids": ids, "reason": "mended" } });
    let done = edge.ask(Some(&operator), SETTLE, input.clone()).await;
    let done = &done["data"]["replayDeadLetters"];
    assert_eq!(done["userErrors"], json!([]), "{done}");
    assert_eq!(
        done["deadLetters"][0],
        json!({ "id": ids[1], "replaying": true }),
        "{done}"
    );
    assert_eq!(done["deadLetters"].as_array().unwrap().len(), 2);

    let unknown = json!({ "input": { "idempotencyKey": fresh(), "ids": [dead_letter_id("bff", Uuid::nil())], "reason": "x" } });
    let unknown = edge.ask(Some(&operator), SETTLE, unknown).await;
    assert_eq!(
        unknown["data"]["replayDeadLetters"]["userErrors"],
        json!([{ "code": "NOT_FOUND", "field": ["ids"] }])
    );

    assert_eq!(
        code(&edge.ask(Some(&operator), DISCARD, input).await),
        "FORBIDDEN"
    );
    let admin = edge.around.issuer.token("ada", &["admin"]);
    let input = json!({ "input": { "idempotencyKey": fresh(), "ids": [ids[1]], "reason": "not ours" } });
    let gone = edge.ask(Some(&admin), DISCARD, input).await;
    assert!(
        gone["data"]["discardDeadLetters"]["deadLetters"][0]["discardedAt"].is_string(),
        "{gone}"
    );
    edge.stop().await;
}

/// The routes of parked messages are for operators of the machine, not for the public.
#[tokio::test]
async fn the_public_cannot_reach_parked_messages_but_by_graphql() {
    let edge = Edge::selling(&[]).await;
    for path in ["/parked", "/parked/00000000-0000-0000-0000-00000000004d"] {
        let response = edge.http.get(edge.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
    let response = edge
        .http
        .post(edge.url("/parked/discard"))
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 404);
    edge.stop().await;
}
