//! What Belay runs on when no real part is given: `belay up` and the tests start these.
//!
//! Nothing here knows purchases. The services get the addresses of these parts through the same
//! configuration as in production, so each part can be replaced by a real one.
//!
//! | module | stands in for | keeps over a restart |
//! |---|---|---|
//! | [`postgres`] | a PostgreSQL server: a private child process | everything |
//! | [`broker`] | Kafka: librdkafka's mock cluster, inside this process | nothing |
//! | [`registry`] | a schema registry with Confluent's REST API | ids, versions, levels |
//! | [`issuer`] | an OpenID provider's discovery document and keys | its key |
//!
//! Every part listens on 127.0.0.1 only.
//!
//! # Directories
//!
//! The caller decides where the parts keep their files. [`postgres`] and [`issuer`] each take a
//! directory of their own, create it, and narrow its permissions: secrets are files of mode 0600,
//! and only the account that runs Belay can read them (see [`postgres::Postgres::start`] for what
//! happens when that account is root).

pub mod broker;
pub mod issuer;
pub mod postgres;
pub mod registry;

mod http;
mod secret_file;
