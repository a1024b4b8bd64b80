//! The commands of `belay` but for `up` and `load`, which the whole-system suite covers.

#![expect(
    clippy::disallowed_methods,
    reason = "tests put rows where the services would have put them"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod audit;
mod commands;
mod databases;
mod doctor;
mod identity;
mod operators;
mod process;
mod provision;
mod token;
mod traffic;
mod versions;
mod watch;
