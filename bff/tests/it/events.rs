use contracts::{ids::PurchaseId, topics::PURCHASE_EVENTS};
use reqwest::{Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::edge::{Around, Edge, SOON, answer, know_nothing, purchase, purchase_id};

const FOLLOW: &str = "subscription ($id: ID!) { purchaseUpdated(id: $id) { version state } }";

/// The events of a stream, comments left out.
pub struct Events {
    response: Response,
    read: String,
}

impl Events {
    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self {
            response,
            read: String::new(),
        }
    }

    /// Name and data of the next event; none at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((block, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let line = block
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    line.map(|value| value.trim().to_owned())
                };
                let event = field("event").map(|name| {
                    let data = field("data").unwrap_or_default();
                    (name, serde_json::from_str(&data).unwrap_or(Value::Null))
                });
                self.read = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let chunk = timeout(SOON, self.response.chunk())
                .await
                .expect("the edge goes on");
            self.read.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    /// The version and state of the next update.
    async fn update(&mut self) -> (i64, String) {
        let (name, data) = self.next().await.expect("an update");
        assert_eq!(name, "next", "{data}");
        let update = &data["data"]["purchaseUpdated"];
        (
            update["version"].as_i64().unwrap(),
            update["state"].as_str().unwrap().to_owned(),
        )
    }
}

async fn edge_with(id: PurchaseId) -> Edge {
    let around = Around::new().await.with_products(&[]).await;
    know_nothing(&around).await;
    let edge = around.start().await;
    answer(
        &edge.around.purchase_manager,
        "/purchases",
        json!({ "purchases": [purchase(id, "anna", 2, "RUNNING")] }),
    )
    .await;
    edge
}

pub async fn ask(edge: &Edge, token: &str, body: Value) -> Response {
    edge.http
        .post(edge.url("/graphql/stream"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "text/event-stream")
        .bearer_auth(token)
        .body(body.to_string())
        .send()
        .await
        .unwrap()
}

fn follow(id: PurchaseId) -> Value {
    json!({ "query": FOLLOW, "variables": { "id": purchase_id(id) } })
}

#[tokio::test]
async fn a_purchase_is_followed_to_its_end_and_the_stream_completes() {
    let id = PurchaseId::fresh();
    let edge = edge_with(id).await;
    let mut events = Events::of(ask(&edge, &edge.customer("anna"), follow(id)).await);
    assert_eq!(events.update().await, (2, "RUNNING".to_owned()));
    for (version, state) in [(2, "RUNNING"), (3, "RUNNING"), (4, "COMPLETED")] {
        edge.publish(PURCHASE_EVENTS, id.0, &purchase(id, "anna", version, state))
            .await;
    }
    assert_eq!(events.update().await, (3, "RUNNING".to_owned()));
    assert_eq!(events.update().await, (4, "COMPLETED".to_owned()));
    assert_eq!(events.next().await, Some(("complete".to_owned(), Value::Null)));
    assert_eq!(events.next().await, None);
    edge.stop().await;
}

#[tokio::test]
async fn a_query_is_one_result_also_by_get() {
    let edge = edge_with(PurchaseId::fresh()).await;
    let url = edge.url("/graphql/stream?query=%7B__typename%7D");
    let mut events = Events::of(edge.http.get(url).send().await.unwrap());
    assert_eq!(
        events.next().await,
        Some(("next".to_owned(), json!({ "data": { "__typename": "Query" } })))
    );
    assert_eq!(events.next().await, Some(("complete".to_owned(), Value::Null)));
    edge.stop().await;
}

#[tokio::test]
async fn what_may_not_come_this_way_is_refused_as_at_graphql() {
    let id = PurchaseId::fresh();
    let edge = edge_with(id).await;
    let url = edge.url("/graphql/stream");
    let by_get = format!("{url}?query=mutation%7BsubmitPurchase%7B__typename%7D%7D");
    let query = edge.http.get(format!("{url}?query=%7B__typename%7D"));
    let form = edge.http.post(&url).header(header::CONTENT_TYPE, "text/plain");
    let other = edge.http.get(&url).header(header::ACCEPT, "application/json");
    for (request, status) in [
        (edge.http.get(by_get), StatusCode::METHOD_NOT_ALLOWED),
        (edge.http.put(&url), StatusCode::METHOD_NOT_ALLOWED),
        (form.body("{}"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (other, StatusCode::NOT_ACCEPTABLE),
        (edge.http.get(&url), StatusCode::BAD_REQUEST),
        (query.bearer_auth("nonsense"), StatusCode::UNAUTHORIZED),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
    }
    let mut events = Events::of(ask(&edge, &edge.customer("bert"), follow(id)).await);
    let (name, refused) = events.next().await.unwrap();
    assert_eq!(name, "next");
    assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    assert_eq!(events.next().await, Some(("complete".to_owned(), Value::Null)));
    edge.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let id = PurchaseId::fresh();
    let edge = edge_with(id).await;
    let token = edge.around.issuer.short_lived("anna");
    let mut events = Events::of(ask(&edge, &token, follow(id)).await);
    assert_eq!(events.update().await, (2, "RUNNING".to_owned()));
    assert_eq!(events.next().await, Some(("complete".to_owned(), Value::Null)));
    assert_eq!(events.next().await, None);
    edge.stop().await;
}
