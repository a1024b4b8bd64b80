//! consolidator: is this purchase possible, and at these prices?
//!
//! Owns the schema `consolidator` in the inventory database, with the mailbox's tables and none of its own. It sees the
//! products through the view `product_admin.product_for_validation`, which its role may select and nothing else (test
//! `the_consolidator_s_role_is_enough_for_its_work`).
//!
//! | | |
//! |---|---|
//! | accepts | `ValidateInventory`, `CancelValidation` on `consolidator.commands.v1` |
//! | answers | `InventoryValidated`, `InventoryRejected`, `PriceChanged`, `ValidationCancelled` on `purchase.replies.v1` |
//!
//! | module | job |
//! |---|---|
//! | [`domain`] | the verdict over one purchase |
//! | [`handlers`] | commands: read the view once a batch, decide, answer |
//! | [`store`] | its one query |
//!
//! Its word is advice: it takes no lock, and what it has seen may be gone a moment later. Reserving is authoritative.
//! It spares a purchase without a chance the way through the other services, and tells the customer every product that
//! is short.

pub mod config;
pub mod domain;
pub mod handlers;
pub mod store;

use axum::Router;
use contracts::topics;
use host::{Host, Running};
use mailbox::participant::ParticipantHandler;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// The service's name: of its schema, its consumer group and its metrics.
pub const SERVICE: &str = "consolidator";

/// No migrations: the mailbox brings all the tables that the service has.
pub static MIGRATOR: Migrator = Migrator::DEFAULT;

/// Starts the service. It may start before product-admin has made the view: messages then wait.
///
/// # Errors
/// A taken port, a database or a registry that refuses; parts that are away are waited for, until `shutdown`.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let mut host = Host::start(SERVICE, &config.service, &MIGRATOR, shutdown).await?;
    let handler = ParticipantHandler::new(handlers::Validator, host.codec());
    host.consume(&[topics::CONSOLIDATOR_COMMANDS], handler);
    Ok(host.run(Router::new()))
}
