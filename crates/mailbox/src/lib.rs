//! Messages that are neither lost nor handled twice: outbox, relay, inbox, consumer loop, operation barrier.
//!
//! Owns its tables in each service's schema (`migrations/`) and everything that touches Kafka. Knows nothing of
//! purchases. A service writes its change and its messages in one transaction; what happens between two services is
//! this crate's business.
//!
//! | module | job |
//! |---|---|
//! | [`outbox`] | messages written with the business change |
//! | [`relay`] | from the outbox to Kafka, in order, one leader per service |
//! | [`capture`] | change data capture in the relay's place |
//! | [`consumer`] | from Kafka to a [`Handler`]: one transaction per batch, bisecting and parking what cannot be handled |
//! | [`inbox`] | messages already handled |
//! | [`barrier`] | commands already carried out, and their answers |
//! | [`participant`] | the shell of a service that carries out commands: lock, decide in order, write once |
//! | [`tail`] | live messages for this process alone, without group and inbox |
//! | [`backlog`] | how far behind a service is, as metrics |
//! | [`codec`] | Confluent's wire format, and the registry's part in it |
//! | [`request`] | HTTP writes already carried out |
//! | [`retention`] | how long all that is remembered |
//! | [`parked`] | messages that wait for an operator |
//! | [`fault`] | what to try again, and what to park |
//! | [`failpoint`] | places at which a test build dies or pauses on demand |
//! | [`limit`] | how long the database may leave a question open |
//! | [`kafka`] | clients of the broker and how they log in |
//! | [`closing`] | clients that are closed on threads of their own |
//!
//! Invariants, stated as absences: no position is kept in the outbox, so no row can be skipped; no `NOTIFY` in a
//! business transaction; no network call inside a transaction; no message is dropped without a row in `parked`.

pub mod backlog;
pub mod barrier;
pub mod capture;
pub mod closing;
pub mod codec;
pub mod consumer;
pub mod failpoint;
pub mod fault;
pub mod inbox;
pub mod kafka;
pub mod limit;
pub mod outbox;
pub mod parked;
pub mod participant;
mod received;
mod registry;
pub mod relay;
pub mod report;
pub mod request;
pub mod retention;
pub mod tail;

pub use codec::Codec;
pub use consumer::Handler;
pub use fault::Fault;
pub use kafka::KafkaSettings;
pub use outbox::{Carrier, Outbox, Outgoing};
pub use received::Received;

/// The mailbox's tables. A test database is known by the migrations in it, hence public.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Brings the mailbox's tables in the connection's schema up to date. Idempotent; waits for another instance's run.
///
/// # Errors
/// When the database is away, or the tables come from a newer version than this program.
pub async fn migrate(pool: &sqlx::PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATOR.run(pool).await
}
