//! What can happen to a saga, and what came of it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    definition::Incompatible,
    legality::{ActionRefused, CancelRefused},
    names::{Direction, StepName},
};

/// Something that happens to a saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum Input<R> {
    /// A participant answered. The reply counts only while the command is pending.
    Reply { command_id: Uuid, reply: R },
    /// A timer ran out.
    Timer(Timer),
    /// The customer wants out.
    Cancel(Cancellation),
    /// An operator acts.
    Operator {
        action: OperatorAction,
        note: OperatorNote,
    },
    /// What a participant holds for a step has passed its time, and it asks whether to keep it.
    HoldExpired { step: StepName },
}

/// A timer and the attempt that it was set for. A timer of another attempt is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    pub step: StepName,
    pub direction: Direction,
    pub attempt: u32,
}

/// A customer's cancel. The caller can keep it for a saga that it has not seen yet: see
/// [`crate::start_cancelled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// An id, not a name: it is stored and logged.
    pub by: String,
    pub reason: Option<String>,
}

/// Who acted and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorNote {
    /// An id, not a name: it is stored and logged.
    pub actor: String,
    pub reason: String,
}

/// What an operator can do. For a dry run, decide and drop the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorAction {
    /// Send what a parked saga waits for again, with a fresh budget. A refused retriable step is asked
    /// again under the same command id.
    Retry,
    /// Roll everything back, the pivot included.
    Compensate,
    /// Declare a parked saga ended, after putting things right by hand.
    Resolve(Resolution),
}

/// The end that an operator declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    Completed,
    Cancelled,
}

/// What came of an input. Every outcome but `Applied` leaves the state as it was (test
/// `whatever_happens_the_rules_of_the_engine_hold`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The state changed.
    Applied,
    /// The timer was for an attempt that is over; there are no effects.
    StaleTimer,
    /// The reply answers no pending command: a duplicate, or the saga moved on. Logged.
    LateReply,
    /// The pending command cannot have this reply. Logged; the command stays pending.
    UnexpectedReply,
    CancelRefused(CancelRefused),
    ActionRefused(ActionRefused),
    /// The answer to [`Input::HoldExpired`].
    Hold(HoldAnswer),
    /// The state is not one of this definition's: nothing was looked at, nothing logged.
    Incompatible(Incompatible),
}

/// Whether a participant keeps what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldAnswer {
    /// The saga runs or is completed: the hold stays.
    Kept,
    /// The rollback is sent once more; nobody waits for its acknowledgement.
    RolledBackAgain,
    /// The saga is rolling back and this step's turn comes by itself.
    RollbackToCome,
    /// The step was never commanded, was refused, or has no rollback.
    NothingToRollBack,
}
