//! The payments service on a real PostgreSQL: through its participant as the consumer would drive it, and over HTTP.

#![expect(
    clippy::disallowed_methods,
    reason = "tests ask the database with statements of their own"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod http;
mod participant;

use contracts::{
    ids::{CustomerId, PurchaseId},
    money::Currency,
    payments::{AuthorizePayment, CapturePayment, VoidPayment},
    topics::PAYMENTS_COMMANDS,
};
use mailbox::{Codec, Fault, Outgoing, Received, participant::ParticipantHandler};
use payments::{SimulatedProvider, handlers::Payments, provider::TOKEN_OK};
use sqlx::PgPool;
use testkit::Database;

/// The service's database and its handler.
struct World {
    database: Database,
    codec: Codec,
    handler: ParticipantHandler<Payments>,
}

impl World {
    async fn new() -> Self {
        let database = Database::create(payments::SERVICE, &payments::MIGRATOR).await;
        let codec = testkit::codec(payments::SERVICE).await;
        let participant = Payments::new(SimulatedProvider::new(100_000));
        let handler = ParticipantHandler::new(participant, codec.clone());
        Self {
            database,
            codec,
            handler,
        }
    }

    fn pool(&self) -> PgPool {
        self.database.pool()
    }

    async fn authorize(&self, command: &AuthorizePayment) -> Received {
        testkit::command(&self.codec, PAYMENTS_COMMANDS, command.purchase_id, command).await
    }

    async fn void(&self, purchase_id: PurchaseId) -> Received {
        testkit::command(
            &self.codec,
            PAYMENTS_COMMANDS,
            purchase_id,
            &VoidPayment { purchase_id },
        )
        .await
    }

    async fn capture(&self, purchase_id: PurchaseId) -> Received {
        testkit::command(
            &self.codec,
            PAYMENTS_COMMANDS,
            purchase_id,
            &CapturePayment { purchase_id },
        )
        .await
    }

    async fn handle(&self, batch: &[Received]) -> Result<Vec<Outgoing>, Fault> {
        testkit::handle(&self.pool(), &self.handler, batch).await
    }

    /// Authorizes a payment that passes, and gives its purchase.
    async fn authorized(&self) -> PurchaseId {
        let command = authorize(2_550);
        self.handle(&[self.authorize(&command).await]).await.unwrap();
        command.purchase_id
    }

    /// The states of all payments, by purchase.
    async fn states(&self) -> Vec<String> {
        sqlx::query_scalar("select state from payment order by purchase_id")
            .fetch_all(&self.pool())
            .await
            .unwrap()
    }
}

fn authorize(amount_minor: i64) -> AuthorizePayment {
    AuthorizePayment {
        purchase_id: PurchaseId::fresh(),
        customer_id: CustomerId("customer-1".to_owned()),
        amount_minor,
        currency: Currency::EUR,
        method_token: TOKEN_OK.to_owned(),
    }
}
