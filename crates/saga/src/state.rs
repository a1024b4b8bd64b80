//! Where a saga stands: its status, the state of each of its steps and its data. Everything that a decision
//! depends on is here, and nothing about time: due times are the caller's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    definition::Definition,
    input::{Cancellation, OperatorNote},
    names::{Direction, StepName},
    step::Refusal,
};

/// The failure code of a saga that was given up because a participant did not answer.
pub const TEMPORARILY_UNAVAILABLE: &str = "TEMPORARILY_UNAVAILABLE";

/// The durable state of one saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State<D> {
    definition: String,
    version: u16,
    pub(crate) status: Status,
    steps: BTreeMap<StepName, StepState>,
    pub(crate) data: D,
}

/// The saga as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Status {
    /// On its way to completion.
    Running,
    /// Undoing, step by step, what was commanded.
    Compensating { cause: Cause },
    /// Ended: everything was done.
    Completed { ending: Ending },
    /// Ended: everything that was commanded is undone.
    Compensated { cause: Cause, ending: Ending },
    /// Waits for an operator, or for a reply that comes after all.
    Parked { parked: Parked },
}

/// What a parked saga was about when it came to a halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "direction", rename_all = "snake_case")]
pub enum Parked {
    /// A step from the pivot on was not answered, or a retriable one was refused.
    Forward,
    /// A rollback was not acknowledged.
    Compensation { cause: Cause },
}

/// Why a saga turned back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// A participant said no.
    Refused { step: StepName, refusal: Refusal },
    /// A participant did not answer, as often as it was asked.
    BudgetSpent { step: StepName },
    /// The customer cancelled.
    Cancelled { cancellation: Cancellation },
    /// An operator decided so.
    Operator { note: OperatorNote },
}

/// How a saga came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ending {
    /// By its own steps.
    Reached,
    /// By an operator's word. Steps may have been left in doubt or not undone.
    Resolved { note: OperatorNote },
}

/// One step of a saga.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepState {
    /// Never commanded.
    Idle,
    /// Commanded; its reply counts.
    Pending { tries: Tries },
    /// Accepted.
    Done { attempts: u32 },
    /// The participant said no; there is nothing to undo.
    Refused { attempts: u32, refusal: Refusal },
    /// Commanded, never answered, and its reply no longer counts: the saga moved on without it.
    InDoubt { attempts: u32 },
    /// Its rollback is commanded; the acknowledgement counts.
    Undoing { left: Left, tries: Tries },
    /// Its rollback is acknowledged.
    Undone { left: Left, attempts: u32 },
}

/// What the forward run of a step left to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Left {
    Done { attempts: u32 },
    InDoubt { attempts: u32 },
}

/// How often a pending command was sent. Attempts count on over an operator's retry, so a timer that was
/// set for an earlier attempt can never be taken for a later one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Tries {
    /// A timer runs for this attempt; `last` is the last that the budget allows.
    Live { attempt: u32, last: u32 },
    /// The budget is spent: nothing is sent until an operator retries. A reply still counts.
    Spent { attempts: u32 },
}

/// Why a saga failed, as its customer may be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub detail: Value,
    pub step: StepName,
}

/// A saga in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Commanded, and nothing heard yet.
    Pending,
    Running,
    Compensating,
    Completed,
    /// Rolled back because a participant refused or did not answer.
    Rejected,
    /// Rolled back by the customer's or an operator's wish.
    Cancelled,
    /// Parked.
    Stuck,
}

impl<D> State<D> {
    pub(crate) fn fresh<C, R>(definition: &Definition<D, C, R>, data: D) -> Self {
        Self {
            definition: definition.name().to_owned(),
            version: definition.version(),
            status: Status::Running,
            steps: definition
                .step_names()
                .map(|name| (name.clone(), StepState::Idle))
                .collect(),
            data,
        }
    }

    /// The name of the definition that this saga follows.
    #[must_use]
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// The version of the definition, kept for the saga's life.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }

    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// What the saga knows: what it was started with and what its replies taught it.
    #[must_use]
    pub const fn data(&self) -> &D {
        &self.data
    }

    /// The state of a step; `Idle` for a step that this saga does not have.
    #[must_use]
    pub fn step(&self, name: &StepName) -> &StepState {
        self.steps.get(name).unwrap_or(&StepState::Idle)
    }

    /// All steps, by name.
    pub fn steps(&self) -> impl Iterator<Item = (&StepName, &StepState)> {
        self.steps.iter()
    }

    /// Whether the saga has ended and will never change again (test
    /// `whatever_happens_the_rules_of_the_engine_hold`).
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.status.has_ended()
    }

    /// The saga in one word.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.status {
            Status::Running if self.steps.values().all(StepState::is_unheard) => Standing::Pending,
            Status::Running => Standing::Running,
            Status::Compensating { .. } => Standing::Compensating,
            Status::Completed { .. } => Standing::Completed,
            Status::Compensated {
                ending: Ending::Resolved { .. },
                ..
            } => Standing::Cancelled,
            Status::Compensated {
                ending: Ending::Reached,
                cause,
            } => match cause {
                Cause::Refused { .. } | Cause::BudgetSpent { .. } => Standing::Rejected,
                Cause::Cancelled { .. } | Cause::Operator { .. } => Standing::Cancelled,
            },
            Status::Parked { .. } => Standing::Stuck,
        }
    }

    /// Why the saga turned back, when a participant's refusal or silence was the cause. What a parked saga
    /// waits for is in its steps: see [`crate::view`].
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match self.status.cause()? {
            Cause::Refused { step, refusal } => Some(Failure {
                code: refusal.code.clone(),
                message: refusal.message.clone(),
                detail: refusal.detail.clone(),
                step: step.clone(),
            }),
            Cause::BudgetSpent { step } => Some(Failure {
                code: TEMPORARILY_UNAVAILABLE.to_owned(),
                message: "this could not be done at the moment; please try again later".to_owned(),
                detail: Value::Null,
                step: step.clone(),
            }),
            Cause::Cancelled { .. } | Cause::Operator { .. } => None,
        }
    }

    pub(crate) fn has_step(&self, name: &StepName) -> bool {
        self.steps.contains_key(name)
    }

    pub(crate) fn set_step(&mut self, name: &StepName, state: StepState) {
        self.steps.insert(name.clone(), state);
    }
}

impl Status {
    /// The status as one word for a column: `running`, `compensating`, `completed`, `compensated` or
    /// `parked`, as serde writes it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating { .. } => "compensating",
            Self::Completed { .. } => "completed",
            Self::Compensated { .. } => "compensated",
            Self::Parked { .. } => "parked",
        }
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        match self {
            Self::Completed { .. } | Self::Compensated { .. } => true,
            Self::Running | Self::Compensating { .. } | Self::Parked { .. } => false,
        }
    }

    /// Why the saga turned back, if it did.
    #[must_use]
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Compensating { cause }
            | Self::Compensated { cause, .. }
            | Self::Parked {
                parked: Parked::Compensation { cause },
            } => Some(cause),
            Self::Running
            | Self::Completed { .. }
            | Self::Parked {
                parked: Parked::Forward,
            } => None,
        }
    }
}

impl Parked {
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self {
            Self::Forward => Direction::Forward,
            Self::Compensation { .. } => Direction::Compensation,
        }
    }
}

impl StepState {
    /// What there is to undo, if nothing has begun to undo it.
    pub(crate) const fn left(&self) -> Option<Left> {
        match *self {
            Self::Done { attempts } => Some(Left::Done { attempts }),
            Self::InDoubt { attempts } => Some(Left::InDoubt { attempts }),
            Self::Idle
            | Self::Pending { .. }
            | Self::Refused { .. }
            | Self::Undoing { .. }
            | Self::Undone { .. } => None,
        }
    }

    /// Nothing was heard of the step.
    const fn is_unheard(&self) -> bool {
        match self {
            Self::Idle | Self::Pending { .. } => true,
            Self::Done { .. }
            | Self::Refused { .. }
            | Self::InDoubt { .. }
            | Self::Undoing { .. }
            | Self::Undone { .. } => false,
        }
    }
}

impl Tries {
    /// How often the command was sent so far.
    #[must_use]
    pub const fn attempts(self) -> u32 {
        match self {
            Self::Live { attempt, .. } => attempt,
            Self::Spent { attempts } => attempts,
        }
    }
}
