//! Somebody at the GraphQL edge, over HTTP as any client.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testkit::eventually;
use uuid::Uuid;

use crate::{subscription::Subscription, world::PATIENCE};

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct Customer {
    http: String,
    token: String,
    client: reqwest::Client,
}

/// What the edge and purchase-manager tell of a purchase.
pub const BASIC: &str = "id reference state version total { amount currency } \
    lines { quantity sku unitPrice { amount } } failure { code message step } allowedActions \
    steps { name direction state }";

/// What the participants add to it. Blank, with an error of its own, while they are away.
pub const DETAIL: &str = "order { number state } payments { state amount { amount } }";

impl Customer {
    /// Somebody who presents `token` at the edge at `http`.
    #[must_use]
    pub fn new(http: &str, token: String) -> Self {
        Self {
            http: http.to_owned(),
            token,
            client: reqwest::Client::new(),
        }
    }

    /// The same person, as part of a trace that began outside: every request carries this `traceparent`.
    ///
    /// # Panics
    /// When it is no header value.
    #[must_use]
    pub fn within(self, traceparent: &str) -> Self {
        let value = traceparent.parse().expect("a traceparent is a header value");
        let headers = reqwest::header::HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static("traceparent"),
            value,
        )]);
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .build()
            .expect("the client can be made");
        Self { client, ..self }
    }

    /// The raw answer to a request.
    ///
    /// # Panics
    /// When the edge does not answer with JSON.
    pub async fn ask(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let response = self
            .client
            .post(format!("{}/graphql", self.http))
            .header("content-type", "application/json")
            .bearer_auth(&self.token)
            .body(body)
            .send()
            .await
            .expect("the edge answers");
        let bytes = response.bytes().await.expect("the edge answers in full");
        serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&bytes)))
    }

    /// The data of a request that must succeed.
    ///
    /// # Panics
    /// When the answer has errors.
    pub async fn data(&self, query: &str, variables: Value) -> Value {
        let answer = self.ask(query, variables).await;
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"].clone()
    }

    /// The id of the first product whose name or number holds `text`, once it is known.
    pub async fn find_product(&self, text: &str) -> Option<String> {
        let query = "query($text: String) { products(first: 1, filter: { text: $text }) { nodes { id } } }";
        let answer = self.ask(query, json!({ "text": text })).await;
        answer
            .pointer("/data/products/nodes/0/id")
            .and_then(Value::as_str)
            .map(str::to_owned)
    }

    /// Makes a product (as an admin) and waits until it can be bought.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn create_product(&self, name: &str, price: &str, stock: i32) -> String {
        let sku = format!("T-{}", &contracts::ids::fresh().simple().to_string()[20..]);
        let query = "mutation($input: CreateProductInput!) { createProduct(input: $input) { product { id } userErrors { code message } } }";
        let input = json!({
            "idempotencyKey": contracts::ids::fresh(), "sku": sku, "name": name,
            "price": { "amount": price, "currency": "EUR" }, "initialStock": stock,
        });
        let data = self.data(query, json!({ "input": input })).await;
        let id = data["createProduct"]["product"]["id"]
            .as_str()
            .unwrap_or_else(|| panic!("the product is refused: {data}"))
            .to_owned();
        eventually("the product is in the catalogue", PATIENCE, async || {
            self.find_product(&sku).await
        })
        .await;
        id
    }

    /// Submits a purchase and gives the whole payload.
    pub async fn submit_with(&self, key: Uuid, lines: &[(&str, i32)], method: &str) -> Value {
        let query = format!(
            "mutation($input: SubmitPurchaseInput!) {{ submitPurchase(input: $input) {{ deduplicated purchase {{ {BASIC} }} userErrors {{ code message field retryable }} }} }}"
        );
        let lines: Vec<Value> = lines
            .iter()
            .map(|(id, quantity)| json!({ "productId": id, "quantity": quantity }))
            .collect();
        let input = json!({ "idempotencyKey": key, "lines": lines, "paymentMethodToken": method });
        self.data(&query, json!({ "input": input })).await["submitPurchase"].clone()
    }

    /// Submits a purchase that must be accepted, and gives its id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn submit(&self, lines: &[(&str, i32)], method: &str) -> String {
        let payload = self.submit_with(contracts::ids::fresh(), lines, method).await;
        assert_eq!(payload["userErrors"], json!([]), "{payload}");
        assert_eq!(payload["purchase"]["state"], "PENDING");
        payload["purchase"]["id"]
            .as_str()
            .expect("an accepted purchase has an id")
            .to_owned()
    }

    /// Who the token says this is: a name with the embedded issuer, an id with another.
    ///
    /// # Panics
    /// When the token is none.
    #[must_use]
    pub fn subject(&self) -> String {
        let claims = self.token.split('.').nth(1).expect("a token has three parts");
        let claims = URL_SAFE_NO_PAD.decode(claims).expect("its claims are base64");
        let claims: Value = serde_json::from_slice(&claims).expect("its claims are JSON");
        claims["sub"].as_str().expect("it names a subject").to_owned()
    }

    /// The purchase as the edge tells it now; null when it is not this customer's.
    pub async fn purchase(&self, id: &str) -> Value {
        let query = format!("query($id: ID!) {{ purchase(id: $id) {{ {BASIC} {DETAIL} }} }}");
        self.ask(&query, json!({ "id": id })).await["data"]["purchase"].clone()
    }

    /// Cancels, and gives the payload.
    pub async fn cancel(&self, id: &str) -> Value {
        let query = "mutation($input: CancelPurchaseInput!) { cancelPurchase(input: $input) { purchase { id state } userErrors { code message retryable } } }";
        let input = json!({ "idempotencyKey": contracts::ids::fresh(), "purchaseId": id });
        self.data(query, json!({ "input": input })).await["cancelPurchase"].clone()
    }

    /// Waits until the purchase has ended, and gives it.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub async fn ended(&self, id: &str) -> Value {
        eventually(&format!("the purchase {id} ends"), PATIENCE, async || {
            let purchase = self.purchase(id).await;
            let state = purchase["state"].as_str().unwrap_or_default();
            matches!(state, "COMPLETED" | "REJECTED" | "CANCELLED" | "STUCK").then_some(purchase)
        })
        .await
    }

    /// Follows the purchase by subscription to its end, and gives its last state. For tests with many customers, who would
    /// drown the edge if each of them kept asking. As any client, subscribes again when a service was too busy to answer.
    ///
    /// # Panics
    /// When the subscription ends before the purchase does, or services stay busy for [`PATIENCE`].
    pub async fn followed(&self, id: &str) -> Value {
        eventually(
            &format!("the purchase {id} can be followed to its end"),
            PATIENCE,
            async || {
                let mut updates = self.watch(id).await;
                let mut last = Value::Null;
                while let Some(event) = updates.event().await {
                    let error = event.pointer("/errors/0");
                    if error.is_some_and(|error| error["extensions"]["code"] == "UNAVAILABLE") {
                        return None;
                    }
                    assert!(error.is_none(), "{event}");
                    last = event["data"]["purchaseUpdated"].clone();
                }
                Some(last)
            },
        )
        .await
    }

    /// Follows a subscription.
    pub async fn follow(&self, query: &str, variables: Value) -> Subscription {
        Subscription::open(&self.http, &self.token, query, variables).await
    }

    /// Subscribes to `purchaseUpdated`.
    ///
    /// # Panics
    /// When the edge refuses.
    pub async fn watch(&self, id: &str) -> Subscription {
        let query = format!("subscription($id: ID!) {{ purchaseUpdated(id: $id) {{ {BASIC} }} }}");
        Subscription::open(&self.http, &self.token, &query, json!({ "id": id })).await
    }

    /// Stock of a product, as an operator sees it: on hand, reserved, available.
    ///
    /// # Panics
    /// When this person may not see it.
    pub async fn stock(&self, product: &str) -> (i64, i64, i64) {
        let query = "query($id: ID) { product(id: $id) { inventory { onHand reserved available } } }";
        let data = self.data(query, json!({ "id": product })).await;
        let level = &data["product"]["inventory"];
        let number = |name: &str| {
            level[name]
                .as_i64()
                .unwrap_or_else(|| panic!("no {name}: {data}"))
        };
        (number("onHand"), number("reserved"), number("available"))
    }
}
