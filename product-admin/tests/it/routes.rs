//! Goal: the routes answer as `contracts::http` says, and a malformed request learns what to send. Method: requests to
//! the router, without a listener.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use contracts::http::{Inventory, Movements, ProductWritten, Products, Refused};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

impl Bench {
    fn router(&self) -> Router {
        product_admin::http::routes(self.pool.clone(), self.desk.clone())
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, String) {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.ask(request.body(Body::from(body.to_string())).unwrap())
            .await
    }
}

fn restock(key: u128, quantity: i64) -> Value {
    json!({
        "idempotency_key": uuid::Uuid::from_u128(key),
        "actor": "anna",
        "quantity": quantity,
        "reason": "Delivery 4711",
    })
}

#[tokio::test]
async fn the_change_feed_is_read_page_by_page() {
    let bench = Bench::new().await;
    let (mut seen, mut path) = (Vec::new(), "/products/changes?limit=5".to_owned());
    loop {
        let page: Products = bench.read(&path).await;
        let Some(last) = page.products.last() else { break };
        path = format!(
            "/products/changes?since={}&after={}&limit=5",
            last.updated_at, last.product_id
        );
        seen.extend(page.products);
    }
    assert_eq!(seen.len(), 18);
    assert!(seen.is_sorted_by_key(|product| (product.updated_at, product.product_id)));

    let last = seen[17].updated_at;
    bench
        .post(&format!("/products/{}/restock", seeded(BOOTS)), &restock(1, 9))
        .await;
    let changed: Products = bench.read(&format!("/products/changes?since={}", last + 1)).await;
    assert_eq!(
        changed.products.iter().map(|p| p.product_id).collect::<Vec<_>>(),
        [seeded(BOOTS)]
    );
}

#[tokio::test]
async fn stock_is_read_for_several_products_and_unknown_ones_are_absent() {
    let bench = Bench::new().await;
    let path = format!(
        "/inventory?products={},{},{}",
        seeded(FLEECE),
        seeded(BOOTS),
        seeded(99)
    );
    let levels = bench.read::<Inventory>(&path).await.inventory;
    let read: Vec<_> = levels
        .iter()
        .map(|l| (l.product_id, l.on_hand, l.available, l.version))
        .collect();
    assert_eq!(read, [(seeded(FLEECE), 10, 10, 1), (seeded(BOOTS), 0, 0, 1)]);
}

#[tokio::test]
async fn movements_are_read_newest_first() {
    let bench = Bench::new().await;
    let path = format!("/products/{}", seeded(ROPE));
    for n in 1..=3 {
        let (status, body) = bench
            .post(&format!("{path}/restock"), &restock(n, n.try_into().unwrap()))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str::<ProductWritten>(&body).unwrap();
    }
    let newest: Movements = bench.read(&format!("{path}/movements?limit=2")).await;
    assert_eq!(
        newest.movements.iter().map(|m| m.delta).collect::<Vec<_>>(),
        [3, 2]
    );
    let before = newest.movements[1].movement_id;
    let oldest: Movements = bench.read(&format!("{path}/movements?before={before}")).await;
    assert_eq!(oldest.movements.iter().map(|m| m.delta).collect::<Vec<_>>(), [1]);
    assert_eq!(oldest.movements[0].actor, "anna");
}

#[tokio::test]
async fn a_refusal_is_answered_422_with_its_reasons() {
    let bench = Bench::new().await;
    let (status, body) = bench
        .post(&format!("/products/{}/restock", seeded(ROPE)), &restock(1, 0))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let refused: Refused = serde_json::from_str(&body).unwrap();
    assert_eq!(refused.errors[0].code, "INVALID");
}

#[tokio::test]
async fn a_product_is_changed_and_its_stock_corrected_by_their_routes() {
    let bench = Bench::new().await;
    let path = format!("/products/{}", seeded(ROPE));
    let who = json!({ "idempotency_key": uuid::Uuid::from_u128(1), "actor": "anna" });
    let with = |fields: Value| {
        let mut body = who.clone();
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        body
    };
    let change = with(json!({ "name": "Rope, tested", "price": { "minor": 17_500, "currency": "EUR" } }));
    let (status, body) = bench.post(&format!("{path}/update"), &change).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let written: ProductWritten = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (written.product.name.as_str(), written.product.price_minor),
        ("Rope, tested", 17_500)
    );
    let counted = with(json!({ "delta": -1, "expected_version": 1, "reason": "Counted" }));
    let (status, body) = bench.post(&format!("{path}/adjust"), &counted).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(bench.level(seeded(ROPE)).await, (499, 0));
}

#[tokio::test]
async fn a_malformed_request_learns_what_to_send() {
    let bench = Bench::new().await;
    let many = vec![seeded(ROPE).to_string(); 201].join(",");
    for path in [
        "/products/changes?since=yesterday",
        "/products/changes?since=-1",
        "/products/changes?since=9223372036854775807",
        "/products/changes?after=7",
        "/products/changes?limit=0",
        "/inventory",
        "/inventory?products=",
        "/inventory?products=7",
        &format!("/inventory?products={many}"),
        "/products/7/movements",
        &format!("/products/{}/movements?before=x", seeded(ROPE)),
    ] {
        let (status, body) = bench.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert!(body.contains("Send GET /"), "{path}: {body}");
    }
    for (path, body) in [
        ("/products/7/restock".to_owned(), restock(1, 1)),
        (format!("/products/{}/restock", seeded(ROPE)), restock(1, 1 << 40)),
        (format!("/products/{}/adjust", seeded(ROPE)), restock(1, 1)),
        ("/products/7/update".to_owned(), json!({})),
        ("/products".to_owned(), json!({})),
    ] {
        let (status, answer) = bench.post(&path, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
        assert!(answer.contains("Send POST /"), "{path}: {answer}");
    }
    let (status, _) = bench
        .ask(Request::post("/products").body(Body::from("{}")).unwrap())
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "without a content type");
}

#[tokio::test]
async fn a_database_that_is_away_is_503() {
    let bench = Bench::new().await;
    bench.pool.close().await;
    let (status, _) = bench.get("/products/changes").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
