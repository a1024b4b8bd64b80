//! What tests need around the code that they test: a database of their own, a broker, a registry, messages.
//!
//! Everything is real and nothing has to be installed beyond PostgreSQL's programs. A test that asks for nothing starts
//! nothing; what one process needs twice is started once. All functions panic where a test would fail anyway, with a
//! sentence that says what to do.
//!
//! | module | gives |
//! |---|---|
//! | [`server`] | the PostgreSQL that the tests share, and the wrapper's own (`with-postgres`) |
//! | [`database`] | a migrated database for one test, copied from a template |
//! | [`broker`] | Kafka with the topics of the contract |
//! | [`registry`] | a schema registry, and codecs that know it |
//! | [`messages`] | messages as a handler gets them, without a broker |
//! | [`proxy`] | a TCP proxy that can fall silent |
//! | [`tls`] | TLS in front of a server that speaks none |
//! | [`smtp`] | a mail server that behaves as badly as it is told to |
//! | [`wait`] | waiting for a condition, with a bound |
//!
//! ```no_run
//! # async fn example(migrator: &sqlx::migrate::Migrator) {
//! let database = testkit::Database::create("orders", migrator).await;
//! let codec = testkit::codec("orders").await;
//! let pool = database.pool();
//! # }
//! ```

mod background;
pub mod broker;
pub mod database;
pub mod messages;
pub mod proxy;
pub mod registry;
pub mod server;
pub mod smtp;
pub mod tls;
pub mod wait;

pub use broker::{Kafka, kafka, kafka_with_one_partition};
pub use database::Database;
pub use messages::{command, decoded, handle, received, repeated};
pub use proxy::Proxy;
pub use registry::{codec, registry_url};
pub use smtp::MailServer;
pub use tls::TlsFront;
pub use wait::eventually;
