//! The whole system in one process, each test on a system of its own or, where it disturbs nobody, on a shared one.

mod contention;
mod edge;
mod notifications;
mod outages;
mod outcomes;
