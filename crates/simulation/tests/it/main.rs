//! The system in memory under every fault, and its models held to the tables that they model.

#![expect(
    clippy::disallowed_methods,
    reason = "tests ask the database with statements of their own"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod barrier;
mod found;
mod inbox;
mod schedules;
