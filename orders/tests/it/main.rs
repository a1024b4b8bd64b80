//! The orders service on a real PostgreSQL: through its participant as the consumer would drive it, and over HTTP.

#![expect(
    clippy::disallowed_methods,
    reason = "tests ask the database with statements of their own"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod http;
mod participant;

use contracts::{
    ids::{CustomerId, ProductId, PurchaseId},
    money::Currency,
    orders::{CancelOrder, CreateOrder, OrderLine},
    topics::ORDERS_COMMANDS,
};
use mailbox::{Codec, Fault, Outgoing, Received, participant::ParticipantHandler};
use orders::handlers::Orders;
use sqlx::PgPool;
use testkit::Database;

/// The service's database and its handler.
struct World {
    database: Database,
    codec: Codec,
    handler: ParticipantHandler<Orders>,
}

impl World {
    async fn new() -> Self {
        let database = Database::create(orders::SERVICE, &orders::MIGRATOR).await;
        let codec = testkit::codec(orders::SERVICE).await;
        let handler = ParticipantHandler::new(Orders, codec.clone());
        Self {
            database,
            codec,
            handler,
        }
    }

    fn pool(&self) -> PgPool {
        self.database.pool()
    }

    async fn create(&self, order: &CreateOrder) -> Received {
        testkit::command(&self.codec, ORDERS_COMMANDS, order.purchase_id, order).await
    }

    async fn cancel(&self, purchase_id: PurchaseId) -> Received {
        testkit::command(
            &self.codec,
            ORDERS_COMMANDS,
            purchase_id,
            &CancelOrder { purchase_id },
        )
        .await
    }

    async fn handle(&self, batch: &[Received]) -> Result<Vec<Outgoing>, Fault> {
        testkit::handle(&self.pool(), &self.handler, batch).await
    }

    /// The states of all orders, oldest first.
    async fn states(&self) -> Vec<String> {
        sqlx::query_scalar("select state from orders order by number")
            .fetch_all(&self.pool())
            .await
            .unwrap()
    }
}

/// Two lamps and a chair for 25.50 EUR.
fn order() -> CreateOrder {
    let line = |name: &str, quantity, unit_price_minor| OrderLine {
        product_id: ProductId::fresh(),
        sku: name.to_uppercase(),
        name: name.to_owned(),
        quantity,
        unit_price_minor,
    };
    CreateOrder {
        purchase_id: PurchaseId::fresh(),
        customer_id: CustomerId("customer-1".to_owned()),
        currency: Currency::EUR,
        total_minor: 2_550,
        home_delivery: true,
        lines: vec![line("Lamp", 2, 1_000), line("Chair", 1, 550)],
    }
}
