//! The saga engine: a pure function from (definition, state, input) to (state, effects).
//!
//! This crate owns the rules of a long-running business transaction: the order of its steps, the point of
//! no return, what is undone and in which order, how often an unanswered command is sent again, and when a
//! person has to look. It knows no purchase, no database, no broker, no clock and draws no random number;
//! whoever embeds it loads a [`State`], calls [`decide`] and carries out the [`Effect`]s in the transaction
//! that saves the new state. The same input on the same state gives the same decision on every instance.
//!
//! | File | Holds |
//! |---|---|
//! | `names.rs` | step and participant names, directions, the command id |
//! | `step.rs` | how one step is written down: command, reply, rollback |
//! | `definition.rs` | a whole saga as stages of steps; whether it can carry on a stored state |
//! | `shape.rs` | what every definition must look like, checked when it is built |
//! | `retry.rs` | how often and when an unanswered command is sent again |
//! | `state.rs` | where a saga stands: its status and the state of each step |
//! | `input.rs` | what can happen to a saga, and what came of it |
//! | `legality.rs` | when a cancel or an operator's action is allowed |
//! | `effect.rs`, `log.rs` | what the caller has to do, and to write down |
//! | `decide.rs`, `run.rs` | the decisions, and the moves they are made of |
//! | `replay.rs` | rebuilding a state from its inputs or its log |
//! | `view.rs` | the steps as a customer or an operator sees them |
//!
//! # Rules
//!
//! Every script, every random run (`tests/it/properties.rs`) and every move from every state that a saga can
//! come to (`tests/it/model.rs`) is checked against these by `tests/it/rules.rs`:
//!
//! - Nothing is rolled back that was never commanded or was refused; everything else that was commanded and
//!   has a rollback is rolled back, newest first, one at a time, before the saga counts as compensated.
//! - No forward command follows once the saga turned back.
//! - Once the pivot is commanded only its refusal or an operator turns the saga back.
//! - A saga that has not ended and is not parked waits for a reply under a running timer.
//! - An ended saga never changes again.
//! - Every input that is not a stale timer, and every command, is logged once; the inputs, and so the log,
//!   rebuild the state.

mod decide;
mod definition;
mod effect;
mod input;
mod legality;
mod log;
mod names;
mod replay;
mod retry;
mod run;
mod shape;
mod state;
mod step;
mod view;

pub use decide::{decide, start, start_cancelled};
pub use definition::{Definition, DefinitionBuilder, Incompatible, StepOutline};
pub use effect::{Decision, Effect, SentCommand, TimerKey};
pub use input::{Cancellation, HoldAnswer, Input, OperatorAction, OperatorNote, Outcome, Resolution, Timer};
pub use legality::{ActionRefused, CancelRefused, may_act, may_cancel};
pub use log::LogEntry;
pub use names::{Direction, Participant, StepName, command_id};
pub use replay::{RebuildError, rebuild, replay};
pub use retry::{MAX_SENDS, MIN_FIRST_TIMEOUT, RetryPolicy};
pub use shape::ShapeError;
pub use state::{
    Cause, Ending, Failure, Left, Parked, Standing, State, Status, StepState, TEMPORARILY_UNAVAILABLE, Tries,
};
pub use step::{Kind, Refusal, Step, Verdict};
pub use view::{StepView, StepViewState, view};
