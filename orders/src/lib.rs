//! Orders: what a customer has bought, once the saga of the purchase has come so far.
//!
//! Owns the orders and their lines. Accepts `CreateOrder` and `CancelOrder` on `orders.commands.v1` and answers with
//! `OrderCreated`, `OrderRejected` or `OrderCancelled` on `purchase.replies.v1`. Emits nothing else.
//!
//! | module | job |
//! |---|---|
//! | [`domain`] | which orders are well-formed, and what their states allow: pure |
//! | [`handlers`] | the participant behind the operation barrier |
//! | [`store`] | all SQL |
//! | [`http`] | reads for the edge |
//! | [`config`] | what the service is told |
//!
//! Invariants: a purchase has at most one order (test `a_duplicate_command_is_answered_with_the_stored_reply` and the
//! table's constraint); a cancelled purchase gets none, even when the command comes after its rollback (test
//! `a_rollback_that_overtakes_its_command_wins`); what was dispatched is not cancelled (test
//! `a_dispatched_order_cannot_be_cancelled`).

pub mod config;
pub mod domain;
pub mod handlers;
pub mod http;
pub mod store;

use contracts::topics;
use host::{Host, Running};
use mailbox::participant::ParticipantHandler;
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// The service's name: its schema, its consumer group, its metrics.
pub const SERVICE: &str = "orders";

/// The service's own tables.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Starts the service.
///
/// # Errors
/// What [`Host::start`] cannot wait out: a taken port, a database that refuses, tables from a newer version.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let mut host = Host::start(SERVICE, &config.service, &MIGRATOR, shutdown).await?;
    let handler = ParticipantHandler::new(handlers::Orders, host.codec());
    host.consume(&[topics::ORDERS_COMMANDS], handler);
    let routes = http::routes(host.pool());
    Ok(host.run(routes))
}
