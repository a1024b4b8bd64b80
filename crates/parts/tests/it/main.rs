//! The real parts start, do what the system needs of them, and leave nothing behind. What starts them is ignored by default:
//! `make test-real` runs it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod pinned;
mod process;
mod secured_kafka;
mod services;
