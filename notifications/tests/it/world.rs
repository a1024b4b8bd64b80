//! The service's database, handler and sender, with the other services as stubs.

use std::{sync::Arc, time::Duration};

use clap::Parser;
use contracts::{
    ids::{CustomerId, ProductId, PurchaseId},
    money::Currency,
    purchase_manager::{PurchaseFailureView, PurchaseLine, PurchaseUpdated},
    topics::PURCHASE_EVENTS,
};
use host::identity::{Identity, PrivateKey};
use mailbox::{Codec, Received};
use notifications::{
    Config, MIGRATOR, SERVICE, clients::Clients, feed::Feed, handlers::Events, mailer::Mailer, sender::Sender,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Database, MailServer};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

/// A week.
pub const STALE_AFTER: Duration = Duration::from_secs(604_800);

/// The customer of every purchase here.
pub const CUSTOMER: &str = "alice";
/// And where mail reaches her.
pub const ADDRESS: &str = "alice@example.com";

pub struct World {
    pub database: Database,
    pub codec: Codec,
    pub mail: MailServer,
    pub edge: MockServer,
    pub purchase_manager: MockServer,
    pub handler: Events,
}

/// A row, as far as tests look at it.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Row {
    pub state: String,
    pub attempts: i32,
    pub reason: Option<String>,
}

impl World {
    /// A service whose edge knows [`CUSTOMER`]'s address.
    pub async fn new() -> Self {
        let world = Self::without_contacts().await;
        world
            .knows(json!([{ "customer_id": CUSTOMER, "name": "Alice", "email": ADDRESS }]))
            .await;
        world
    }

    /// A service whose edge does not answer.
    pub async fn without_contacts() -> Self {
        Self {
            database: Database::create(SERVICE, &MIGRATOR).await,
            codec: testkit::codec(SERVICE).await,
            mail: MailServer::start().await,
            edge: MockServer::start().await,
            purchase_manager: MockServer::start().await,
            handler: Events::new(STALE_AFTER, Arc::new(Notify::new())),
        }
    }

    /// Has the edge answer with these contacts from now on.
    pub async fn knows(&self, contacts: Value) {
        self.edge.reset().await;
        Mock::given(method("POST"))
            .and(path("/contacts"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "contacts": contacts })))
            .mount(&self.edge)
            .await;
    }

    pub fn pool(&self) -> PgPool {
        self.database.pool()
    }

    pub fn clients(&self) -> Clients {
        let url = |server: &MockServer| server.uri().parse().unwrap();
        let identity = Identity::new(SERVICE, &PrivateKey::fresh());
        Clients::new(url(&self.purchase_manager), url(&self.edge), identity).unwrap()
    }

    pub fn feed(&self) -> Feed {
        let every = Duration::from_secs(60);
        Feed::new(
            self.pool(),
            self.clients(),
            STALE_AFTER,
            every,
            Arc::new(Notify::new()),
        )
    }

    /// A sender to the mail server, with patience for `max_attempts`.
    pub fn sender(&self, max_attempts: u32) -> Sender {
        self.sender_with(max_attempts, &[])
    }

    pub fn sender_with(&self, max_attempts: u32, more: &[&str]) -> Sender {
        let smtp = format!("--smtp={}", self.mail.url());
        let mut flags = vec![smtp.as_str()];
        if !more.iter().any(|flag| flag.starts_with("--smtp-timeout-ms")) {
            flags.push("--smtp-timeout-ms=500");
        }
        flags.extend(more);
        let mailer = Mailer::new(&config(&flags)).unwrap();
        Sender::new(
            self.pool(),
            self.clients(),
            mailer,
            max_attempts,
            Arc::new(Notify::new()),
        )
    }

    pub async fn event(&self, told: &PurchaseUpdated) -> Received {
        let outgoing = self
            .codec
            .outgoing(PURCHASE_EVENTS, told.purchase_id, told)
            .unwrap();
        testkit::received(&self.codec, &outgoing).await
    }

    /// Handles an event of each.
    pub async fn hear(&self, told: &[PurchaseUpdated]) {
        let mut batch = Vec::new();
        for one in told {
            batch.push(self.event(one).await);
        }
        testkit::handle(&self.pool(), &self.handler, &batch)
            .await
            .unwrap();
    }

    pub async fn now_micros(&self) -> i64 {
        sqlx::query_scalar("select (extract(epoch from now()) * 1000000)::bigint")
            .fetch_one(&self.pool())
            .await
            .unwrap()
    }

    /// A purchase that has just come to `state`.
    pub async fn purchase(&self, state: &str) -> PurchaseUpdated {
        ended(state, self.now_micros().await)
    }

    /// All rows, in the order in which they were made.
    pub async fn rows(&self) -> Vec<Row> {
        sqlx::query_as(
            "select state, attempts, reason from notification order by created_at, notification_id",
        )
        .fetch_all(&self.pool())
        .await
        .unwrap()
    }

    /// The only row.
    pub async fn row(&self) -> Row {
        let mut rows = self.rows().await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    /// Lets every pause be over.
    pub async fn later(&self) {
        sqlx::query("update notification set due_at = now() where due_at is not null")
            .execute(&self.pool())
            .await
            .unwrap();
    }
}

/// Sends what is due, once.
pub async fn send(sender: &Sender) {
    sender.send_due(&CancellationToken::new()).await.unwrap();
}

/// Settings with these flags beside the ones that are always needed.
pub fn config(more: &[&str]) -> Config {
    let needed = [
        "notifications",
        "--database-url=postgres://x",
        "--kafka=x:1",
        "--registry=http://x:1",
        "--caller=bff=A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
        "--identity-key=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA",
        "--purchase-manager=http://x:1",
        "--contacts=http://x:2",
    ];
    Config::try_parse_from(needed.iter().chain(more)).unwrap()
}

/// A purchase in `state` since `updated_at`.
pub fn ended(state: &str, updated_at: i64) -> PurchaseUpdated {
    let failure = (state != "COMPLETED").then(|| PurchaseFailureView {
        code: "INSUFFICIENT_STOCK".to_owned(),
        message: "There is not enough in stock. Rope 60 m: 3 requested, 1 available.".to_owned(),
        step: Some("reserve-products".to_owned()),
    });
    PurchaseUpdated {
        purchase_id: PurchaseId::fresh(),
        customer_id: CustomerId(CUSTOMER.to_owned()),
        reference: "P-7F3K2QX".to_owned(),
        version: 9,
        state: state.to_owned(),
        lines: vec![
            line("Rope 60 m", 3, 1_500),
            line("Tent \"Föhn\" <2 people> & pegs", 1, 19_999),
        ],
        currency: Currency::EUR,
        total_minor: 24_499,
        home_delivery: false,
        steps: Vec::new(),
        failure,
        created_at: updated_at,
        updated_at,
    }
}

pub fn line(name: &str, quantity: i32, unit_price_minor: i64) -> PurchaseLine {
    PurchaseLine {
        product_id: ProductId::fresh(),
        sku: "SKU".to_owned(),
        name: name.to_owned(),
        quantity,
        unit_price_minor,
    }
}
