//! The real parts that the system runs on in production, as child processes: for tests, and for whoever wants to see the
//! system on them without containers.
//!
//! What each is, in which version, is in `parts/` at the root of the repository, whose `fetch` brings it into a cache. Every
//! part listens on free ports of 127.0.0.1, keeps its data in a temporary directory, waits until it answers before it is
//! handed out, and is gone, with its directory, when the process that started it is, by whatever means (test
//! `process::no_part_is_left_when_its_parent_is_killed`).
//!
//! | module | gives |
//! |---|---|
//! | [`kafka`] | Apache Kafka, one KRaft node, with a plain listener and, over TLS, one for passwords and one for certificates |
//! | [`certificates`] | a certificate authority for one test |
//! | [`registry`] | Apicurio's registry, by its Confluent-compatible interface |
//! | [`keycloak`] | Keycloak with the test realm, and tokens of whoever a test needs |
//! | [`mail`] | a mail catcher |
//! | [`connect`] | Kafka Connect with Debezium's connector for PostgreSQL |
//! | [`record`] | what was started in which version, for the end of a run |
//!
//! The program `with-parts` runs a command with parts whose addresses are in its environment ([`environment`]).

pub mod certificates;
pub mod connect;
pub mod environment;
mod home;
mod http;
mod java;
pub mod kafka;
pub mod keycloak;
pub mod mail;
mod place;
mod process;
pub mod record;
pub mod registry;

pub use certificates::Certificates;
pub use connect::Connect;
pub use kafka::{Kafka, KafkaOptions};
pub use keycloak::Keycloak;
pub use mail::Mail;
pub use registry::Registry;
