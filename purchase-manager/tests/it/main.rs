//! Tests of purchase-manager: the saga as scripts (pure), and the orchestrator on real PostgreSQL.

#![expect(
    clippy::disallowed_methods,
    reason = "tests look into the tables as they need"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod console;
mod half_open;
mod holds;
mod operator;
mod orchestrator;
mod purchase;
mod retention;
mod saga_script;
mod script;
mod transcript;
mod versions;
