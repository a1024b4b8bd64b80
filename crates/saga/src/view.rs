//! The steps as a customer or an operator sees them.

use serde::{Deserialize, Serialize};

use crate::{
    definition::{DefinedStep, Definition},
    names::{Direction, Participant, StepName},
    state::{Left, State, StepState, Tries},
};

/// One command of the saga as it stands, forward or rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    pub step: StepName,
    pub participant: Participant,
    pub direction: Direction,
    pub state: StepViewState,
    /// How often the command was sent; 0 when it never was.
    pub attempt: u32,
    /// How often it will be sent before its budget is spent. Grows when an operator retries.
    pub max_attempts: u32,
    /// What went wrong, for operators.
    pub error: Option<String>,
}

/// The state of one command, written in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepViewState {
    /// Its turn has not come.
    Pending,
    /// Sent once.
    Running,
    Succeeded,
    /// Sent again, because no reply came.
    Retrying,
    /// Refused, given up, or waiting for an operator.
    Failed,
    /// Its turn will not come.
    Skipped,
}

/// The forward commands in the order of the definition, then, if the saga turned back, the rollbacks in
/// the order in which they are sent. A pure function of definition and state; times are the caller's.
#[must_use]
pub fn view<D, C, R>(definition: &Definition<D, C, R>, state: &State<D>) -> Vec<StepView> {
    let viewer = Viewer {
        state,
        sends: definition.retry().sends(),
    };
    let forward = definition.steps().map(|step| viewer.forward(step));
    let rollbacks = definition.steps().rev().filter_map(|step| viewer.rollback(step));
    forward.chain(rollbacks).collect()
}

struct Viewer<'a, D> {
    state: &'a State<D>,
    sends: u32,
}

/// How one command stands.
struct Seen {
    state: StepViewState,
    attempt: u32,
    /// The last attempt that its budget allows, while it has one.
    last: Option<u32>,
    error: Option<String>,
}

impl<D> Viewer<'_, D> {
    fn forward<C, R>(&self, step: &DefinedStep<D, C, R>) -> StepView {
        let goes_forward = self.state.status().cause().is_none() && !self.state.has_ended();
        let seen = match self.state.step(&step.name) {
            StepState::Idle if goes_forward => Seen::at(StepViewState::Pending, 0),
            StepState::Idle => Seen::at(StepViewState::Skipped, 0),
            StepState::Pending { tries } => Seen::waiting(*tries),
            StepState::Refused { attempts, refusal } => {
                Seen::failed(*attempts, format!("{}: {}", refusal.code, refusal.message))
            }
            StepState::Done { attempts }
            | StepState::Undoing {
                left: Left::Done { attempts },
                ..
            }
            | StepState::Undone {
                left: Left::Done { attempts },
                ..
            } => Seen::at(StepViewState::Succeeded, *attempts),
            StepState::InDoubt { attempts }
            | StepState::Undoing {
                left: Left::InDoubt { attempts },
                ..
            }
            | StepState::Undone {
                left: Left::InDoubt { attempts },
                ..
            } => Seen::failed(*attempts, "given up without a reply".to_owned()),
        };
        self.row(step, Direction::Forward, seen)
    }

    fn rollback<C, R>(&self, step: &DefinedStep<D, C, R>) -> Option<StepView> {
        self.state.status().cause()?;
        step.rollback.as_ref()?;
        let seen = match *self.state.step(&step.name) {
            StepState::Done { .. } | StepState::InDoubt { .. } if self.state.has_ended() => {
                Seen::at(StepViewState::Skipped, 0)
            }
            StepState::Done { .. } | StepState::InDoubt { .. } => Seen::at(StepViewState::Pending, 0),
            StepState::Undoing { tries, .. } => Seen::waiting(tries),
            StepState::Undone { attempts, .. } => Seen::at(StepViewState::Succeeded, attempts),
            StepState::Idle | StepState::Pending { .. } | StepState::Refused { .. } => return None,
        };
        Some(self.row(step, Direction::Compensation, seen))
    }

    fn row<C, R>(&self, step: &DefinedStep<D, C, R>, direction: Direction, seen: Seen) -> StepView {
        let Seen {
            state,
            attempt,
            last,
            error,
        } = seen;
        StepView {
            step: step.name.clone(),
            participant: step.participant.clone(),
            direction,
            state,
            attempt,
            max_attempts: last.unwrap_or_else(|| attempt.max(self.sends)),
            error,
        }
    }
}

impl Seen {
    const fn at(state: StepViewState, attempt: u32) -> Self {
        Self {
            state,
            attempt,
            last: None,
            error: None,
        }
    }

    const fn failed(attempt: u32, error: String) -> Self {
        Self {
            state: StepViewState::Failed,
            attempt,
            last: None,
            error: Some(error),
        }
    }

    fn waiting(tries: Tries) -> Self {
        match tries {
            Tries::Live { attempt, last } => {
                let state = if attempt == 1 {
                    StepViewState::Running
                } else {
                    StepViewState::Retrying
                };
                Self {
                    state,
                    attempt,
                    last: Some(last),
                    error: None,
                }
            }
            Tries::Spent { attempts } => Self::failed(attempts, format!("no reply to {attempts} sends")),
        }
    }
}
