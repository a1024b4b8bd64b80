//! The whole system in one process, each test on a system of its own or, where it disturbs nobody, on a shared one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contention;
mod edge;
mod identity;
mod inventory;
mod notifications;
mod outages;
mod outcomes;
