//! A running edge and everything around it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bff::{Config, MIGRATOR, SERVICE};
use clap::Parser;
use contracts::{
    Message,
    ids::{CustomerId, ProductId, PurchaseId},
    money::Currency,
    product_admin::ProductChanged,
    purchase_manager::{PurchaseLine, PurchaseUpdated},
};
use host::{
    Running,
    identity::{Identity, PrivateKey},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Database, Kafka, eventually};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::tokens::Issuer;

/// How long a test waits for what has to happen.
pub const SOON: Duration = Duration::from_secs(20);

/// The parts, before the edge is started.
pub struct Around {
    pub database: Database,
    pub kafka: Kafka,
    pub issuer: Issuer,
    pub purchase_manager: MockServer,
    pub product_admin: MockServer,
    pub orders: MockServer,
    pub payments: MockServer,
    /// Who asks the edge's internal address in tests.
    pub notifications: Identity,
    notifications_key: PrivateKey,
    /// Further flags of the edge.
    pub flags: Vec<&'static str>,
}

/// The parts and the running edge.
pub struct Edge {
    pub around: Around,
    running: Option<Running>,
    pub http: reqwest::Client,
}

impl Around {
    pub async fn new() -> Self {
        let notifications_key = PrivateKey::fresh();
        Self {
            notifications: Identity::new("notifications", &notifications_key),
            notifications_key,
            database: Database::create(SERVICE, &MIGRATOR).await,
            kafka: testkit::kafka(),
            issuer: Issuer::start().await,
            purchase_manager: MockServer::start().await,
            product_admin: MockServer::start().await,
            orders: MockServer::start().await,
            payments: MockServer::start().await,
            flags: vec!["--introspection=everyone"],
        }
    }

    /// Has product-admin answer with these products when the catalogue is compared.
    pub async fn with_products(self, products: &[ProductChanged]) -> Self {
        answer(
            &self.product_admin,
            "/products/changes",
            json!({ "products": products }),
        )
        .await;
        self
    }

    pub async fn start(self) -> Edge {
        let kafka = self.kafka.settings();
        let mut arguments = vec![
            "bff".to_owned(),
            format!("--database-url={}", self.database.url()),
            format!("--kafka={}", kafka.bootstrap),
            format!("--kafka-fetch-wait-ms={}", kafka.fetch_wait_ms),
            format!("--registry={}", testkit::registry_url().await),
            "--http=127.0.0.1:0".to_owned(),
            format!("--caller=notifications={}", self.notifications_key.public()),
            format!("--identity-key={}", PrivateKey::fresh().reveal()),
            format!("--issuer={}", self.issuer.url()),
            format!("--purchase-manager={}", self.purchase_manager.uri()),
            format!("--product-admin={}", self.product_admin.uri()),
            format!("--orders={}", self.orders.uri()),
            format!("--payments={}", self.payments.uri()),
            "--allowed-origin=https://shop.example".to_owned(),
            "--internal-http=127.0.0.1:0".to_owned(),
        ];
        arguments.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        arguments.extend(
            kafka
                .properties
                .iter()
                .map(|(name, value)| format!("--kafka-property={name}={value}")),
        );
        let config = Config::parse_from(arguments);
        let running = Box::pin(bff::start(config, CancellationToken::new()))
            .await
            .unwrap();
        Edge {
            around: self,
            running: Some(running),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }
}

impl Edge {
    /// An edge that sells these products, and whose other services know nothing.
    pub async fn selling(products: &[ProductChanged]) -> Self {
        let around = Around::new().await.with_products(products).await;
        know_nothing(&around).await;
        let edge = around.start().await;
        edge.catalogue_has(products.len()).await;
        edge
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.as_ref().unwrap().address())
    }

    /// Where the edge answers our own services.
    pub fn internal_url(&self) -> String {
        let running = self.running.as_ref().unwrap();
        format!("http://{}", running.internal_address().unwrap())
    }

    pub fn pool(&self) -> PgPool {
        self.around.database.pool()
    }

    pub fn customer(&self, subject: &str) -> String {
        self.around.issuer.customer(subject)
    }

    /// Asks and gives data and errors. What the answer says of its cost is left out: two answers to the same question differ in it.
    pub async fn ask(&self, token: Option<&str>, query: &str, variables: Value) -> Value {
        let mut answer = self.ask_whole(token, query, variables).await;
        if let Some(extensions) = answer.get_mut("extensions").and_then(Value::as_object_mut) {
            extensions.remove("cost");
            if extensions.is_empty() {
                answer
                    .as_object_mut()
                    .expect("an answer is an object")
                    .remove("extensions");
            }
        }
        answer
    }

    /// Asks and gives the whole answer.
    pub async fn ask_whole(&self, token: Option<&str>, query: &str, variables: Value) -> Value {
        let request = self
            .http
            .post(self.url("/graphql"))
            .json(&json!({ "query": query, "variables": variables }));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Submits and gives the payload.
    pub async fn submit(&self, token: &str, key: Uuid, lines: Value) -> Value {
        let input = json!({ "idempotencyKey": key, "lines": lines, "paymentMethodToken": "tok_ok" });
        self.submit_input(token, input).await
    }

    /// Submits this input and gives the payload.
    pub async fn submit_input(&self, token: &str, input: Value) -> Value {
        let query = "mutation ($input: SubmitPurchaseInput!) { submitPurchase(input: $input) {
            deduplicated
            purchase { id reference state version total { amount currency } allowedActions lines { sku quantity } }
            userErrors { code message field retryable } } }";
        let answer = self.ask(Some(token), query, json!({ "input": input })).await;
        assert!(answer["errors"].is_null(), "{answer}");
        answer["data"]["submitPurchase"].clone()
    }

    pub async fn catalogue_has(&self, count: usize) {
        let pool = self.pool();
        eventually("the catalogue has its products", SOON, async || {
            let known: i64 = sqlx::query_scalar("select count(*) from catalogue_product")
                .fetch_one(&pool)
                .await
                .unwrap();
            (usize::try_from(known).unwrap() >= count).then_some(())
        })
        .await;
    }

    /// Publishes a message as another service would: by way of this service's own relay.
    pub async fn publish<M: Message>(&self, topic: &'static str, key: Uuid, message: &M) {
        let codec = testkit::codec("another").await;
        let outgoing = codec.outgoing(topic, key, message).unwrap();
        let mut connection = self.pool().acquire().await.unwrap();
        mailbox::Outbox::new()
            .append(&mut connection, &[outgoing])
            .await
            .unwrap();
    }

    pub async fn stop(mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }
}

/// Has a service answer every GET of `at` with `body`, from now on.
pub async fn answer(server: &MockServer, at: &str, body: Value) {
    server.reset().await;
    Mock::given(method("GET"))
        .and(path(at))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(server)
        .await;
}

/// Has a service be in trouble.
pub async fn down(server: &MockServer) {
    server.reset().await;
    Mock::given(wiremock::matchers::any())
        .respond_with(ResponseTemplate::new(503))
        .mount(server)
        .await;
}

/// Has the services that know purchases know none.
pub async fn know_nothing(around: &Around) {
    answer(&around.purchase_manager, "/purchases", json!({ "purchases": [] })).await;
    answer(&around.orders, "/orders", json!({ "orders": [] })).await;
    answer(&around.payments, "/payments", json!({ "payments": [] })).await;
}

/// A product on sale.
pub fn product(sku: &str, price_minor: i64) -> ProductChanged {
    ProductChanged {
        product_id: ProductId::fresh(),
        sku: sku.to_owned(),
        name: format!("The {sku}"),
        description: Some("Something useful".to_owned()),
        price_minor,
        currency: Currency::EUR,
        status: "ACTIVE".to_owned(),
        availability: "IN_STOCK".to_owned(),
        version: 1,
        updated_at: 1_700_000_000_000_000,
    }
}

/// A purchase as purchase-manager tells of it.
pub fn purchase(id: PurchaseId, customer: &str, version: i32, state: &str) -> PurchaseUpdated {
    PurchaseUpdated {
        purchase_id: id,
        customer_id: CustomerId(customer.to_owned()),
        reference: id.reference(),
        version,
        state: state.to_owned(),
        lines: vec![PurchaseLine {
            product_id: ProductId::fresh(),
            sku: "LAMP".to_owned(),
            name: "The LAMP".to_owned(),
            quantity: 2,
            unit_price_minor: 1_000,
        }],
        currency: Currency::EUR,
        total_minor: 2_000,
        home_delivery: false,
        steps: Vec::new(),
        failure: None,
        created_at: 1_700_000_000_000_000,
        updated_at: 1_700_000_000_000_000,
    }
}

/// The id of a product as clients have it.
pub fn product_id(product: &ProductChanged) -> String {
    URL_SAFE_NO_PAD.encode(format!("Product:{}", product.product_id))
}

/// The id of a purchase as clients have it.
pub fn purchase_id(id: PurchaseId) -> String {
    URL_SAFE_NO_PAD.encode(format!("Purchase:{id}"))
}

/// An id as clients have it.
pub fn encoded(tag: &str, value: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{tag}:{value}"))
}

/// The purchase that a client's id stands for.
pub fn decoded(id: &Value) -> PurchaseId {
    let text = URL_SAFE_NO_PAD.decode(id.as_str().unwrap()).unwrap();
    String::from_utf8(text)
        .unwrap()
        .strip_prefix("Purchase:")
        .unwrap()
        .parse()
        .unwrap()
}

/// The `extensions.code` of the only error.
pub fn code(answer: &Value) -> &str {
    let errors = answer["errors"]
        .as_array()
        .unwrap_or_else(|| panic!("no errors in {answer}"));
    assert_eq!(errors.len(), 1, "{answer}");
    errors[0]["extensions"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no code in {answer}"))
}
