//! The steps as a customer or an operator sees them.

use serde::{Deserialize, Serialize};

use crate::{
    definition::{DefinedStep, Definition},
    names::{Direction, Participant, StepName},
    state::{Left, State, Status, StepState, Tries},
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

impl<D> Viewer<'_, D> {
    fn forward<C, R>(&self, step: &DefinedStep<D, C, R>) -> StepView {
        let goes_forward = self.state.status().cause().is_none() && !self.state.has_ended();
        let (state, attempt, error) = match self.state.step(&step.name) {
            StepState::Idle if goes_forward => (StepViewState::Pending, 0, None),
            StepState::Idle => (StepViewState::Skipped, 0, None),
            StepState::Pending { tries } => waiting(*tries),
            StepState::Refused { attempts, refusal } => (
                StepViewState::Failed,
                *attempts,
                Some(format!("{}: {}", refusal.code, refusal.message)),
            ),
            StepState::Done { attempts }
            | StepState::Undoing {
                left: Left::Done { attempts },
                ..
            }
            | StepState::Undone {
                left: Left::Done { attempts },
                ..
            } => (StepViewState::Succeeded, *attempts, None),
            StepState::InDoubt { attempts }
            | StepState::Undoing {
                left: Left::InDoubt { attempts },
                ..
            }
            | StepState::Undone {
                left: Left::InDoubt { attempts },
                ..
            } => (
                StepViewState::Failed,
                *attempts,
                Some("given up without a reply".to_owned()),
            ),
        };
        self.row(step, Direction::Forward, state, attempt, error)
    }

    fn rollback<C, R>(&self, step: &DefinedStep<D, C, R>) -> Option<StepView> {
        self.state.status().cause()?;
        step.rollback.as_ref()?;
        let (state, attempt, error) = match *self.state.step(&step.name) {
            StepState::Done { .. } | StepState::InDoubt { .. } => match self.state.status() {
                Status::Compensated { .. } => (StepViewState::Skipped, 0, None),
                Status::Running
                | Status::Compensating { .. }
                | Status::Completed { .. }
                | Status::Parked { .. } => (StepViewState::Pending, 0, None),
            },
            StepState::Undoing { tries, .. } => waiting(tries),
            StepState::Undone { attempts, .. } => (StepViewState::Succeeded, attempts, None),
            StepState::Idle | StepState::Pending { .. } | StepState::Refused { .. } => return None,
        };
        Some(self.row(step, Direction::Compensation, state, attempt, error))
    }

    fn row<C, R>(
        &self,
        step: &DefinedStep<D, C, R>,
        direction: Direction,
        state: StepViewState,
        attempt: u32,
        error: Option<String>,
    ) -> StepView {
        let last = match (self.state.step(&step.name), direction) {
            (
                StepState::Pending {
                    tries: Tries::Live { last, .. },
                },
                Direction::Forward,
            )
            | (
                StepState::Undoing {
                    tries: Tries::Live { last, .. },
                    ..
                },
                Direction::Compensation,
            ) => *last,
            _ => attempt.max(self.sends),
        };
        StepView {
            step: step.name.clone(),
            participant: step.participant.clone(),
            direction,
            state,
            attempt,
            max_attempts: last,
            error,
        }
    }
}

fn waiting(tries: Tries) -> (StepViewState, u32, Option<String>) {
    match tries {
        Tries::Live { attempt: 1, .. } => (StepViewState::Running, 1, None),
        Tries::Live { attempt, .. } => (StepViewState::Retrying, attempt, None),
        Tries::Spent { attempts } => (
            StepViewState::Failed,
            attempts,
            Some(format!("no reply to {attempts} sends")),
        ),
    }
}
