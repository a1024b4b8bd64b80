//! What every definition must look like. Checked once, when it is built, so that no running saga can come
//! to a step that cannot be undone and must be.

use std::time::Duration;

use crate::{
    definition::DefinitionBuilder,
    names::StepName,
    retry::{MAX_SENDS, MIN_FIRST_TIMEOUT},
    step::{Kind, Step},
};

/// Why a definition was refused, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("the saga has no name: give builder() the name that its states will carry")]
    NoName,
    #[error("the saga '{saga}' has no steps: add at least a pivot")]
    NoSteps { saga: &'static str },
    #[error("stage {stage} of the saga '{saga}' is empty: put a step into it or leave it out")]
    EmptyStage { saga: &'static str, stage: usize },
    #[error("a step of stage {stage} has no name: name it after what it does")]
    NoStepName { stage: usize },
    #[error("two steps are called '{step}': command ids are made from the name, so rename one")]
    DuplicateStep { step: StepName },
    #[error("the step '{step}' has no participant: name the service that carries it out")]
    NoParticipant { step: StepName },
    #[error("the step '{step}' has no command: say with .command() what it sends")]
    NoCommand { step: StepName },
    #[error("the step '{step}' does not read its reply: say with .reply() what it makes of it")]
    NoReply { step: StepName },
    #[error(
        "the saga '{saga}' has no pivot: make the step after which there is no way back with Step::pivot"
    )]
    NoPivot { saga: &'static str },
    #[error("both '{first}' and '{second}' are pivots: keep one, there is one point of no return")]
    SeveralPivots { first: StepName, second: StepName },
    #[error("the pivot '{step}' is in a parallel stage: give it a stage of its own")]
    PivotInParallel { step: StepName },
    #[error(
        "the step '{step}' comes before the pivot but can only be retried: make it with Step::compensatable"
    )]
    RetriableBeforePivot { step: StepName },
    #[error(
        "the step '{step}' comes after the pivot, where nothing turns back: make it with Step::retriable"
    )]
    CompensatableAfterPivot { step: StepName },
    #[error("the step '{step}' has no rollback: say with .rollback() how it is undone")]
    NoRollback { step: StepName },
    #[error(
        "the step '{step}' is only ever retried but has a rollback: remove it, or move the step before the pivot"
    )]
    RollbackAfterPivot { step: StepName },
    #[error("the first timeout is zero: a command needs time to be answered")]
    ZeroTimeout,
    #[error(
        "the first timeout is {first:?}, under {MIN_FIRST_TIMEOUT:?}: re-sends would amplify a backlog; \
         raise it, or use RetryPolicy::fast in a test"
    )]
    TimeoutTooShort { first: Duration },
    #[error("the timeout's cap {cap:?} is under the first timeout {first:?}: raise the cap")]
    CapUnderFirst { first: Duration, cap: Duration },
    #[error("a command is never sent: allow at least one send")]
    NoSends,
    #[error(
        "{sends} sends a step are more than {MAX_SENDS}: a backlog would be amplified, so lower the number"
    )]
    TooManySends { sends: u32 },
}

pub(crate) fn check<D, C, R>(definition: &DefinitionBuilder<D, C, R>) -> Result<(), ShapeError> {
    definition.retry.check()?;
    if definition.name.is_empty() {
        return Err(ShapeError::NoName);
    }
    check_stages(definition)?;
    check_names(definition)?;
    let pivot_stage = check_pivot(definition)?;
    for (stage, steps) in definition.stages.iter().enumerate() {
        for step in steps {
            check_side(step, stage < pivot_stage)?;
            check_rollback(step)?;
        }
    }
    Ok(())
}

fn check_stages<D, C, R>(definition: &DefinitionBuilder<D, C, R>) -> Result<(), ShapeError> {
    let saga = definition.name;
    if definition.stages.is_empty() {
        return Err(ShapeError::NoSteps { saga });
    }
    match definition.stages.iter().position(Vec::is_empty) {
        Some(index) => Err(ShapeError::EmptyStage {
            saga,
            stage: index + 1,
        }),
        None => Ok(()),
    }
}

fn check_names<D, C, R>(definition: &DefinitionBuilder<D, C, R>) -> Result<(), ShapeError> {
    let mut seen = Vec::new();
    for (index, stage) in definition.stages.iter().enumerate() {
        for step in stage {
            if step.name.as_str().is_empty() {
                return Err(ShapeError::NoStepName { stage: index + 1 });
            }
            if seen.contains(&&step.name) {
                return Err(ShapeError::DuplicateStep {
                    step: step.name.clone(),
                });
            }
            if step.participant.as_str().is_empty() {
                return Err(ShapeError::NoParticipant {
                    step: step.name.clone(),
                });
            }
            seen.push(&step.name);
        }
    }
    Ok(())
}

/// Gives the index of the pivot's stage.
fn check_pivot<D, C, R>(definition: &DefinitionBuilder<D, C, R>) -> Result<usize, ShapeError> {
    let mut pivots = definition
        .stages
        .iter()
        .enumerate()
        .flat_map(|(index, stage)| stage.iter().map(move |step| (index, step)))
        .filter(|(_, step)| step.kind == Kind::Pivot);
    let Some((stage, pivot)) = pivots.next() else {
        return Err(ShapeError::NoPivot {
            saga: definition.name,
        });
    };
    if let Some((_, second)) = pivots.next() {
        return Err(ShapeError::SeveralPivots {
            first: pivot.name.clone(),
            second: second.name.clone(),
        });
    }
    if definition.stages[stage].len() > 1 {
        return Err(ShapeError::PivotInParallel {
            step: pivot.name.clone(),
        });
    }
    Ok(stage)
}

fn check_side<D, C, R>(step: &Step<D, C, R>, before_pivot: bool) -> Result<(), ShapeError> {
    match step.kind {
        Kind::Retriable if before_pivot => Err(ShapeError::RetriableBeforePivot {
            step: step.name.clone(),
        }),
        Kind::Compensatable if !before_pivot => Err(ShapeError::CompensatableAfterPivot {
            step: step.name.clone(),
        }),
        Kind::Compensatable | Kind::Pivot | Kind::Retriable => Ok(()),
    }
}

fn check_rollback<D, C, R>(step: &Step<D, C, R>) -> Result<(), ShapeError> {
    match (step.kind, step.rollback.is_some()) {
        (Kind::Compensatable | Kind::Pivot, false) => Err(ShapeError::NoRollback {
            step: step.name.clone(),
        }),
        (Kind::Retriable, true) => Err(ShapeError::RollbackAfterPivot {
            step: step.name.clone(),
        }),
        (Kind::Compensatable | Kind::Pivot, true) | (Kind::Retriable, false) => Ok(()),
    }
}
