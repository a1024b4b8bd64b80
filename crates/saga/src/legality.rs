//! When a cancel or an operator's action is allowed: one match over the status each. The same functions
//! answer before the fact, for buttons, and at the fact, within a decision.

use serde::{Deserialize, Serialize};

use crate::{
    definition::Definition,
    input::{OperatorAction, Resolution},
    state::{Parked, State, Status, StepState},
    step::Kind,
};

/// Why a customer's cancel was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CancelRefused {
    #[error("it is past the point of no return")]
    PastPointOfNoReturn,
    #[error("it has already ended")]
    AlreadyEnded,
    #[error("it is already being rolled back")]
    AlreadyRollingBack,
}

/// Why an operator's action was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ActionRefused {
    #[error("it is not parked: it goes on by itself")]
    NotParked,
    #[error("it has already ended")]
    AlreadyEnded,
    #[error("it is already being rolled back")]
    AlreadyRollingBack,
}

/// Whether the customer may cancel now.
///
/// # Errors
///
/// Says why not. A commanded pivot counts as passed, answered or not.
pub fn may_cancel<D, C, R>(definition: &Definition<D, C, R>, state: &State<D>) -> Result<(), CancelRefused> {
    match state.status() {
        Status::Running if pivot_is_commanded(definition, state) => Err(CancelRefused::PastPointOfNoReturn),
        Status::Running => Ok(()),
        Status::Parked {
            parked: Parked::Forward,
        } => Err(CancelRefused::PastPointOfNoReturn),
        Status::Compensating { .. }
        | Status::Parked {
            parked: Parked::Compensation { .. },
        } => Err(CancelRefused::AlreadyRollingBack),
        Status::Completed { .. } | Status::Compensated { .. } => Err(CancelRefused::AlreadyEnded),
    }
}

/// Whether an operator may do `action` now.
///
/// # Errors
///
/// Says why not. What has begun to be rolled back can't be declared completed: part of it is gone.
pub fn may_act<D>(state: &State<D>, action: OperatorAction) -> Result<(), ActionRefused> {
    match (state.status(), action) {
        (Status::Completed { .. } | Status::Compensated { .. }, _) => Err(ActionRefused::AlreadyEnded),
        (Status::Parked { .. }, OperatorAction::Retry | OperatorAction::Resolve(Resolution::Cancelled))
        | (
            Status::Parked {
                parked: Parked::Forward,
            },
            OperatorAction::Compensate | OperatorAction::Resolve(Resolution::Completed),
        )
        | (Status::Running, OperatorAction::Compensate) => Ok(()),
        (
            Status::Parked {
                parked: Parked::Compensation { .. },
            },
            OperatorAction::Compensate | OperatorAction::Resolve(Resolution::Completed),
        )
        | (Status::Compensating { .. }, OperatorAction::Compensate) => Err(ActionRefused::AlreadyRollingBack),
        (
            Status::Running | Status::Compensating { .. },
            OperatorAction::Retry | OperatorAction::Resolve(Resolution::Completed | Resolution::Cancelled),
        ) => Err(ActionRefused::NotParked),
    }
}

/// From here on neither time nor the customer turns the saga back.
pub(crate) fn pivot_is_commanded<D, C, R>(definition: &Definition<D, C, R>, state: &State<D>) -> bool {
    definition
        .steps()
        .any(|step| step.kind == Kind::Pivot && !matches!(state.step(&step.name), StepState::Idle))
}
