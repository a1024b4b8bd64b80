//! product-admin on a real PostgreSQL: its commands, its desk, its routes, its rights.

#![expect(
    clippy::disallowed_methods,
    reason = "tests look at the tables with statements of their own"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod desk;
mod expiry;
mod routes;
mod seed;
mod stock;

use std::time::Duration;

use contracts::ids::{ProductId, PurchaseId};
use mailbox::{Codec, participant::ParticipantHandler};
use product_admin::{MIGRATOR, SERVICE, desk::Desk, handlers::StockKeeper};
use sqlx::PgPool;
use testkit::Database;

/// How long units are held before their saga is asked.
const TTL: Duration = Duration::from_secs(3_600);
/// The seeded product with exactly 10 units.
const FLEECE: u128 = 9;
/// A seeded product with plenty of units.
const ROPE: u128 = 1;
/// A seeded product that is sold out.
const BOOTS: u128 = 16;

/// The seeded product with this number. The digits of the ids are decimal, to be read by people.
fn seeded(number: u128) -> ProductId {
    format!("be1a0000-0000-4000-8000-{number:012}").parse().unwrap()
}

fn purchase(number: u128) -> PurchaseId {
    PurchaseId(uuid::Uuid::from_u128(number))
}

/// A seeded database, and what works on it.
struct Bench {
    /// Keeps the database until the test has ended.
    _database: Database,
    pool: PgPool,
    codec: Codec,
    keeper: ParticipantHandler<StockKeeper>,
    desk: Desk,
}

impl Bench {
    async fn new() -> Self {
        let database = Database::create(SERVICE, &MIGRATOR).await;
        let (pool, codec) = (database.pool(), testkit::codec(SERVICE).await);
        let keeper = ParticipantHandler::new(StockKeeper::new(codec.clone(), TTL), codec.clone());
        let desk = Desk::new(pool.clone(), codec.clone(), mailbox::Outbox::new());
        Self {
            _database: database,
            pool,
            codec,
            keeper,
            desk,
        }
    }

    async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// Units on hand and reserved.
    async fn level(&self, product: ProductId) -> (i32, i32) {
        sqlx::query_as("select on_hand, reserved from product where id = $1")
            .bind(product.0)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Fails unless the stock adds up: invariants I1 and I2, and the reservations behind `reserved`.
    async fn audit(&self) {
        let wrong = self
            .number(
                "select count(*) from product p
                 where on_hand - reserved < 0
                    or on_hand <> initial_on_hand
                       + (select coalesce(sum(delta), 0) from stock_movement where product_id = p.id)
                    or reserved <> (select coalesce(sum(quantity), 0) from reservation
                                    where product_id = p.id and state in ('held', 'confirmed'))",
            )
            .await;
        assert_eq!(wrong, 0, "the stock does not add up");
    }
}
