//! The whole system in memory, under every fault: the real engine, and models of the operation barrier, inbox, outbox,
//! relay and broker around it.
//!
//! A *schedule* says what happens next, move by move: a transaction is opened or committed, a batch sent, a timer fires; an
//! instance dies, a message is lost, held back or delivered twice, the customer cancels. It is drawn from a seed, and what
//! follows it is fair: everything is delivered and every timer fires, until nothing moves. Then the rules are checked, operators
//! settle what is parked, and they are checked again. A schedule that breaks a rule is made as small as it will go and
//! told as a script. docs/simulation.md says what is modelled and what is not.
//!
//! Any saga can be simulated: a [`Scenario`] gives its definition and what its messages look like, and the rest is
//! derived from the definition.
//!
//! | file | holds |
//! |---|---|
//! | `scenario.rs` | what has to be told of a saga |
//! | `barrier.rs`, `inbox.rs` | the models of `mailbox::barrier` and `mailbox::inbox`, held to them by tests |
//! | `broker.rs`, `service.rs` | topics and offsets; outbox, relay and transactions under way |
//! | `orchestrator.rs`, `participant.rs` | what services do in a transaction |
//! | `world.rs` and below | what can happen, and how it happens |
//! | `rules/` | what must hold, for each decision and at rest |
//! | `fault.rs`, `coverage.rs` | what goes wrong, what can be switched off, and what was seen |
//! | `choices.rs`, `run.rs` | schedules: drawn, explored, replayed, made small |
//! | `sagas/` | the purchase, the flight reservation of the engine's examples, a journey, and three that are broken |
//!
//! Absent: no clock, no thread, no randomness but the seed's; the same schedule gives the same script on every machine.

pub mod barrier;
mod broker;
mod choices;
mod coverage;
mod fault;
pub mod inbox;
mod orchestrator;
mod participant;
pub mod random;
mod rules;
mod run;
pub mod sagas;
mod scenario;
mod service;
mod world;

pub use coverage::Coverage;
pub use fault::{Mutation, Seen};
pub use run::{Simulation, Violation};
pub use scenario::{Answer, MOST_SAGAS, Scenario};
