//! Payments: money held, taken, let go and given back, once per purchase.
//!
//! Owns the payments. Accepts `AuthorizePayment`, `VoidPayment` and `CapturePayment` on `payments.commands.v1` and
//! answers with `PaymentAuthorized`, `PaymentDeclined`, `PaymentVoided` or `PaymentCaptured` on `purchase.replies.v1`.
//! Emits nothing else.
//!
//! | module | job |
//! |---|---|
//! | [`domain`] | the states of a payment and what each allows: pure |
//! | [`provider`] | the simulated payment provider |
//! | [`handlers`] | the participant behind the operation barrier |
//! | [`store`] | all SQL |
//! | [`http`] | reads for the edge |
//! | [`config`] | what the service is told |
//!
//! # Why the provider is asked within the transaction
//!
//! The simulated provider is a pure function of the amount and the token: it has no memory and moves no money. Asking it
//! twice, or asking it and then losing the transaction, has no effect outside this database, so its answer can be had
//! while a batch is handled, and commits with the reply. A provider behind a network has effects that no rollback of ours
//! takes back, and a call to it must not hold a transaction open. It will need three transactions: commit the claim (the
//! operation with no outcome yet), call it with the operation's id as its idempotency key, commit outcome and reply; and a
//! rollback that meets a claim without an outcome waits and asks the provider what became of it.
//!
//! # Invariants
//!
//! A purchase has at most one payment (test `a_duplicate_command_is_answered_with_the_stored_reply` and the table's
//! constraint); none is held after its rollback, even when the command comes later (test
//! `a_rollback_that_overtakes_its_command_wins`); what was taken is given back (test `a_void_after_the_capture_refunds`);
//! a payment moves only as [`domain::State::after`] says (test `every_transition_is_decided`); a failed attempt is kept
//! (test `a_declined_payment_is_recorded`).

pub mod config;
pub mod domain;
pub mod handlers;
pub mod http;
pub mod provider;
pub mod store;

use contracts::topics;
use host::{Host, Running};
use mailbox::participant::ParticipantHandler;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Provider};
pub use provider::SimulatedProvider;

/// The service's name: its schema, its consumer group, its metrics.
pub const SERVICE: &str = "payments";

/// The service's own tables.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Starts the service.
///
/// # Errors
/// What [`Host::start`] cannot wait out: a taken port, a database that refuses, tables from a newer version.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let mut host = Host::start(SERVICE, &config.service, &MIGRATOR, shutdown).await?;
    let provider = match config.provider {
        Provider::Simulated => {
            tracing::info!("payments are simulated: no money moves");
            SimulatedProvider::new(config.decline_over_minor)
        }
    };
    let handler = ParticipantHandler::new(handlers::Payments::new(provider), host.codec());
    host.consume(&[topics::PAYMENTS_COMMANDS], handler);
    let routes = http::routes(host.pool());
    Ok(host.run(routes))
}
