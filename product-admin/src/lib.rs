//! product-admin: the products, their prices and their stock.
//!
//! Owns the schema `product_admin` in the inventory database, which it shares with the consolidator: that one may
//! select the view `product_for_validation` and nothing else (test
//! `the_consolidator_sees_the_view_and_nothing_else`).
//!
//! | | |
//! |---|---|
//! | accepts | `ReserveProducts`, `ReleaseProducts`, `ConfirmReservation` on `product-admin.commands.v1`; HTTP of [`http`] |
//! | answers | `ProductsReserved`, `ReservationRejected`, `ProductsReleased`, `ReservationConfirmed` on `purchase.replies.v1` |
//! | emits | `ProductChanged` on `product.events.v1`, when name, price or status changes or availability crosses |
//! | asks | `ReservationExpired` on `purchase.commands.v1`, when units are held for longer than they should be |
//!
//! | module | job |
//! |---|---|
//! | [`domain`] | decisions in memory |
//! | [`handlers`] | commands of purchases |
//! | [`expiry`] | asks the sagas of reservations that have passed their time |
//! | [`desk`] | writes of staff, once per idempotency key |
//! | [`store`] | all SQL |
//! | [`http`] | routes |
//!
//! Invariants, stated as absences: no product is promised beyond its stock (I1; test
//! `many_buyers_of_the_last_units_never_oversell`); no unit appears or vanishes without a movement (I2; test
//! `what_came_in_is_what_is_there`), and no correction takes promised ones (test
//! `a_correction_that_cannot_be_leaves_nothing_behind`); nothing is reserved in part (test
//! `a_purchase_gets_all_of_its_lines_or_none`); nothing is given back by a clock (test
//! `a_reservation_that_has_passed_its_time_is_asked_about_and_stays`).
//!
//! The seeded products are not announced: the catalogue reads the change feed when it starts.

pub mod config;
pub mod desk;
pub mod domain;
pub mod expiry;
pub mod handlers;
pub mod http;
pub mod store;

use contracts::topics;
use host::{Host, Running};
use mailbox::participant::ParticipantHandler;
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// The service's name: of its schema, its consumer group and its metrics.
pub const SERVICE: &str = "product-admin";

/// The service's own tables and its first products.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Starts the service.
///
/// # Errors
/// A taken port, a database or a registry that refuses; parts that are away are waited for, until `shutdown`.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let mut host = Host::start(SERVICE, &config.service, &MIGRATOR, shutdown).await?;
    let keeper = handlers::StockKeeper::new(host.codec(), config.reservation_ttl());
    let handler = ParticipantHandler::new(keeper, host.codec());
    host.consume(&[topics::PRODUCT_ADMIN_COMMANDS], handler);
    let inquiry = expiry::Inquiry::new(host.pool(), host.codec(), host.outbox());
    host.spawn(|shutdown| inquiry.run(shutdown));
    let desk = desk::Desk::new(host.pool(), host.codec(), host.outbox());
    let routes = http::routes(host.pool(), desk);
    Ok(host.run(routes))
}
