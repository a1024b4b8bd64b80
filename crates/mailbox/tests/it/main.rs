//! The mailbox on a real PostgreSQL and a mock broker: what DESIGN.md says of relay, consumer, inbox and registry.

#![expect(
    clippy::disallowed_methods,
    reason = "tests ask the database with statements of their own"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod bench;
mod bloat;
mod codec;
mod consumer;
mod fault;
mod half_open;
mod inbox;
mod outbox;
mod parking;
mod races;
mod recorder;
mod registry_login;
mod relay;
mod report;
mod request;
mod retention;
mod settling;
mod tail;

use std::time::Duration;

/// Long enough for a busy machine; nothing waits this long when all is well.
const LIMIT: Duration = Duration::from_secs(30);
