//! The orchestrator: takes a submitted purchase through its saga.
//!
//! Owns the sagas, their log and their timers. Accepts `SubmitPurchase`, the participants' replies,
//! `ReservationExpired` and, over HTTP, a customer's cancellation. Emits commands to the participants and `PurchaseUpdated`.
//!
//! | file | job |
//! |---|---|
//! | `purchase_saga.rs` | the definition: its versions; every step, what may be answered, how it is undone |
//! | `purchase.rs` | what the saga knows |
//! | `refusals.rs` | a participant's "no" in words that a shopper understands |
//! | `exchange.rs` | commands and replies as the engine sees them |
//! | `orchestrator.rs` | load, decide in order, save: every input goes through it |
//! | `record.rs` | one saga in memory, and its view for the customer |
//! | `store.rs` | all SQL |
//! | `handlers.rs` | messages from Kafka |
//! | `timers.rs` | commands that were not answered in time |
//! | `census.rs` | how many purchases are open, as metrics |
//! | `retention.rs` | how long the logs of ended purchases are kept |
//! | `http.rs` | reads, and the customer's cancellation |
//! | `operator.rs` | what operators do and see |
//! | `definitions.rs` | the versions of the definition that this program has |
//! | `rollout.rs` | which programs are at work, and which version new purchases follow |
//!
//! Invariants, stated as absences: no transition without its log, timers and messages in the same transaction; no
//! decision that reads a clock; no saga that waits without a timer.

mod census;
pub mod config;
mod console;
pub mod definitions;
pub mod exchange;
pub mod handlers;
pub mod http;
mod operator;
pub mod orchestrator;
pub mod purchase;
pub mod purchase_saga;
pub mod record;
pub mod refusals;
pub mod retention;
pub mod rollout;
pub mod store;
pub mod timers;

use std::sync::Arc;

use contracts::topics;
use host::{Host, Running};
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// The tables of the sagas.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Starts the service; it works until `shutdown`.
///
/// # Errors
/// What [`Host::start`] refuses, a definition whose shape is wrong, or live sagas of a version that this program lacks.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let mut host = Host::start("purchase-manager", &config.service, &MIGRATOR, shutdown).await?;
    let definitions = definitions::Definitions::with(config.versions, config.retry)?;
    // Before any work is taken.
    let rollout = rollout::Rollout::enter(host.pool(), &definitions).await?;
    let orchestrator = Arc::new(orchestrator::Orchestrator::new(
        definitions,
        host.codec(),
        host.outbox(),
        host.pool(),
    ));
    host.consume(
        &[topics::PURCHASE_COMMANDS, topics::PURCHASE_REPLIES],
        handlers::Messages::new(orchestrator.clone()),
    );
    let beating = orchestrator.clone();
    host.spawn(|shutdown| rollout.run(beating, shutdown));
    let timers = timers::Timers::new(orchestrator.clone());
    host.spawn(|shutdown| timers.run(shutdown));
    let pool = host.pool();
    host.spawn(|shutdown| census::run(pool, shutdown));
    let (pool, days) = (host.pool(), config.retention_saga_event_days);
    host.spawn(|shutdown| retention::run(pool, days, shutdown));
    Ok(host.run(http::routes(orchestrator)))
}
