//! The tables of all services without the services, and rows as these would have left them.

use std::collections::BTreeMap;

use contracts::{
    ids::{CustomerId, ProductId, PurchaseId},
    money::Currency,
    purchase_manager::PurchaseLine,
};
use purchase_manager::purchase::Purchase;
use saga::{Ending, OperatorNote, Status};
use serde_json::{Value, json};
use sqlx::{PgPool, migrate::Migrator};
use testkit::Database;
use uuid::Uuid;

/// Units of every purchase that is put here.
pub const UNITS: i32 = 2;

/// The services, each with its tables.
pub fn services() -> [(&'static str, &'static Migrator); 7] {
    [
        ("product-admin", &product_admin::MIGRATOR),
        ("consolidator", &consolidator::MIGRATOR),
        ("bff", &bff::MIGRATOR),
        ("purchase-manager", &purchase_manager::MIGRATOR),
        ("orders", &orders::MIGRATOR),
        ("payments", &payments::MIGRATOR),
        ("notifications", &notifications::MIGRATOR),
    ]
}

/// The schemas of one system. They are in one database, which takes a fifth of the time to make: the audit opens a
/// connection for each service all the same, and the whole-system tests have them apart.
pub struct Databases(Database);

/// A purchase as it was put into the databases.
#[derive(Debug, Clone, Copy)]
pub struct Put {
    pub id: Uuid,
    pub product: Uuid,
}

impl Databases {
    /// Schemas with every service's tables, and product-admin's seed.
    pub async fn create() -> Self {
        Self(Database::create_shared(&services()).await)
    }

    /// Their addresses, as the audit takes them.
    pub fn urls(&self) -> BTreeMap<String, String> {
        let urls = services().map(|(service, _)| (service.to_owned(), self.0.url_of(service)));
        BTreeMap::from(urls)
    }

    pub fn bff(&self) -> PgPool {
        self.0.pool_of("bff")
    }

    pub fn purchase_manager(&self) -> PgPool {
        self.0.pool_of("purchase-manager")
    }

    pub fn product_admin(&self) -> PgPool {
        self.0.pool_of("product-admin")
    }

    pub fn consolidator(&self) -> PgPool {
        self.0.pool_of("consolidator")
    }

    pub fn orders(&self) -> PgPool {
        self.0.pool_of("orders")
    }

    pub fn payments(&self) -> PgPool {
        self.0.pool_of("payments")
    }

    pub fn notifications(&self) -> PgPool {
        self.0.pool_of("notifications")
    }

    /// A purchase that went all the way.
    pub async fn completed(&self) -> Put {
        let put = self
            .accepted(
                "COMPLETED",
                &Status::Completed {
                    ending: Ending::Reached,
                },
            )
            .await;
        self.reservation(put, "confirmed").await;
        self.payment(put, "CAPTURED").await;
        self.order(put, "PLACED").await;
        put
    }

    /// A purchase that was rolled back after its payment was authorized.
    pub async fn cancelled(&self) -> Put {
        let put = self
            .accepted(
                "CANCELLED",
                &Status::Completed {
                    ending: Ending::Reached,
                },
            )
            .await;
        self.reservation(put, "released").await;
        self.payment(put, "VOIDED").await;
        put
    }

    /// A purchase that was rejected because the payment was declined.
    pub async fn declined(&self) -> Put {
        let put = self
            .accepted(
                "REJECTED",
                &Status::Completed {
                    ending: Ending::Reached,
                },
            )
            .await;
        self.reservation(put, "released").await;
        self.payment(put, "DECLINED").await;
        put
    }

    /// A purchase that is under way.
    pub async fn running(&self) -> Put {
        self.accepted("RUNNING", &Status::Running).await
    }

    /// A purchase that an operator declared completed while nothing of it was done.
    pub async fn resolved(&self) -> Put {
        let note = OperatorNote {
            actor: "operator".to_owned(),
            reason: "the goods were handed over".to_owned(),
        };
        let put = self
            .accepted(
                "COMPLETED",
                &Status::Completed {
                    ending: Ending::Resolved { note },
                },
            )
            .await;
        self.reservation(put, "held").await;
        put
    }

    /// A purchase in the tables of the edge and of purchase-manager.
    pub async fn accepted(&self, standing: &str, status: &Status) -> Put {
        let put = Put {
            id: contracts::ids::fresh(),
            product: self.some_product().await,
        };
        self.saga(put, standing, status).await;
        if matches!(standing, "COMPLETED" | "REJECTED" | "CANCELLED") {
            self.notification(put, standing).await;
        }
        self.submission(put.id, Uuid::from_u128(put.id.as_u128() ^ 1))
            .await;
        put
    }

    /// A notification of the outcome that was sent.
    pub async fn notification(&self, put: Put, outcome: &str) {
        sqlx::query(
            "insert into notification (notification_id, purchase_id, outcome, customer_id, ended_at, state)
             values ($1, $2, $3, 'alice', now(), 'sent')",
        )
        .bind(contracts::ids::fresh())
        .bind(put.id)
        .bind(outcome)
        .execute(&self.notifications())
        .await
        .unwrap();
    }

    /// An acknowledged submission.
    pub async fn submission(&self, purchase: Uuid, key: Uuid) {
        sqlx::query(
            "insert into submission (purchase_id, customer_id, idempotency_key, request_hash, reference, lines, currency,
                                     total_minor, payment_method_token, home_delivery, trace, next_send_at,
                                     acknowledged_at, expires_at)
             values ($1, 'alice', $2, '', 'P-1', '[]', 'EUR', 200, 'tok_ok', false, '', now(), now(), now() + '1 day')",
        )
        .bind(purchase)
        .bind(key)
        .execute(&self.bff())
        .await
        .unwrap();
    }

    async fn saga(&self, put: Put, standing: &str, status: &Status) {
        sqlx::query(
            "insert into saga (id, customer_id, definition, definition_version, version, standing, state)
             values ($1, 'alice', 'purchase', 1, 1, $2, $3)",
        )
        .bind(put.id)
        .bind(standing)
        .bind(state(put, status))
        .execute(&self.purchase_manager())
        .await
        .unwrap();
    }

    /// A reservation of [`UNITS`], counted at its product as product-admin does.
    pub async fn reservation(&self, put: Put, state: &str) {
        let pool = self.product_admin();
        sqlx::query(
            "insert into reservation (purchase_id, product_id, quantity, state) values ($1, $2, $3, $4)",
        )
        .bind(put.id)
        .bind(put.product)
        .bind(UNITS)
        .bind(state)
        .execute(&pool)
        .await
        .unwrap();
        let held = if state == "released" { 0 } else { UNITS };
        sqlx::query("update product set reserved = reserved + $2 where id = $1")
            .bind(put.product)
            .bind(held)
            .execute(&pool)
            .await
            .unwrap();
    }

    /// An order of the purchase.
    pub async fn order(&self, put: Put, state: &str) {
        sqlx::query(
            "insert into orders (order_id, purchase_id, customer_id, number, state, total_minor, currency, home_delivery,
                                 cancelled_at)
             values ($1, $2, 'alice', $1::text, $3, 200, 'EUR', false, case $3 when 'CANCELLED' then now() end)",
        )
        .bind(contracts::ids::fresh())
        .bind(put.id)
        .bind(state)
        .execute(&self.orders())
        .await
        .unwrap();
    }

    /// A payment for the purchase.
    pub async fn payment(&self, put: Put, state: &str) {
        sqlx::query(
            "insert into payment (payment_id, purchase_id, customer_id, state, amount_minor, currency, method_label,
                                  decline_message)
             values ($1, $2, 'alice', $3, 200, 'EUR', 'card', case $3 when 'DECLINED' then 'no' end)",
        )
        .bind(contracts::ids::fresh())
        .bind(put.id)
        .bind(state)
        .execute(&self.payments())
        .await
        .unwrap();
    }

    /// A message in the outbox of the service with this pool.
    pub async fn waiting_message(&self, pool: &PgPool) {
        sqlx::query(
            "insert into outbox (id, aggregatetype, aggregateid, type, payload, source)
             values ($1, 'orders.commands.v1', 'key', 'belay.orders.CreateOrder', '', 'test')",
        )
        .bind(contracts::ids::fresh())
        .execute(pool)
        .await
        .unwrap();
    }

    /// A parked message with this key.
    pub async fn parked_message(&self, pool: &PgPool, key: &str) {
        sqlx::query(
            "insert into parked (id, consumer, topic, key, headers, cause, error_class, error)
             values ($1, 'belay.orders', 'orders.commands.v1', $2, '{}', 'failed', 'decoding', 'not Avro')",
        )
        .bind(contracts::ids::fresh())
        .bind(key)
        .execute(pool)
        .await
        .unwrap();
    }

    async fn some_product(&self) -> Uuid {
        sqlx::query_scalar("select id from product order by on_hand desc limit 1")
            .fetch_one(&self.product_admin())
            .await
            .unwrap()
    }
}

/// Runs a statement that plants a fault.
pub async fn plant(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

/// The engine's state as purchase-manager keeps it, but for the steps, which the audit does not look at.
fn state(put: Put, status: &Status) -> Value {
    let line = PurchaseLine {
        product_id: ProductId(put.product),
        sku: "SKU".to_owned(),
        name: "A thing".to_owned(),
        quantity: UNITS,
        unit_price_minor: 100,
    };
    let data = Purchase {
        id: PurchaseId(put.id),
        customer_id: CustomerId("alice".to_owned()),
        reference: "P-1".to_owned(),
        lines: vec![line],
        currency: Currency::EUR,
        total_minor: 200,
        payment_method_token: "tok_ok".to_owned(),
        home_delivery: false,
        note: None,
        submitted_at: 0,
    };
    json!({ "definition": "purchase", "version": 1, "status": status, "steps": {}, "data": data })
}
