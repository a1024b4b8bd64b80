//! What must hold for every decision of the engine, whatever led to it.

use saga::{Cause, Decision, Direction, Effect, Kind, Outcome, State, StepState, Tries};

use crate::scenario::{Scenario, Setting};

type StateOf<S> = State<<S as Scenario>::Data>;
type DecisionOf<S> = Decision<<S as Scenario>::Data, <S as Scenario>::Command, <S as Scenario>::Reply>;

/// Whether the saga waits for this step.
pub(crate) const fn is_current(step: &StepState) -> bool {
    match step {
        StepState::Pending { .. } | StepState::Undoing { .. } => true,
        // A refused step holds its saga up when nothing may be rolled back for it.
        StepState::Refused { .. } => true,
        StepState::Idle | StepState::Done { .. } | StepState::InDoubt { .. } | StepState::Undone { .. } => {
            false
        }
    }
}

/// Checks one decision against the state before it; none: the saga began.
pub(crate) fn check<S: Scenario>(
    setting: &Setting<'_, S>,
    before: Option<&StateOf<S>>,
    decision: &DecisionOf<S>,
    retries: u32,
) -> Result<(), String> {
    changes_are_told(before, decision)?;
    commands_are_allowed(setting, before, decision, retries)?;
    if let Some(before) = before {
        ended_is_ended(before, decision)?;
        the_pivot_holds(setting, before, &decision.state)?;
    }
    Ok(())
}

fn changes_are_told<S>(
    before: Option<&State<S>>,
    decision: &Decision<S, impl Sized, impl Sized>,
) -> Result<(), String>
where
    S: PartialEq,
{
    let told = decision
        .effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Changed))
        .count();
    let applied = decision.outcome == Outcome::Applied;
    if told != usize::from(applied) {
        return Err(format!(
            "an input that was taken as {:?} is told {told} times",
            decision.outcome
        ));
    }
    if before.is_some_and(|before| (*before == decision.state) == applied) {
        return Err(format!(
            "an input was taken as {:?}, which the state belies",
            decision.outcome
        ));
    }
    Ok(())
}

fn commands_are_allowed<S: Scenario>(
    setting: &Setting<'_, S>,
    before: Option<&StateOf<S>>,
    decision: &DecisionOf<S>,
    retries: u32,
) -> Result<(), String> {
    let turned_back = before.is_some_and(|before| before.status().cause().is_some());
    let sends = setting.definition.retry().sends() * (retries + 1);
    for sent in decision.commands() {
        let Some(step) = setting.step(&sent.step) else {
            return Err(format!("{} is not a step", sent.step));
        };
        if sent.attempt > sends {
            return Err(format!(
                "{} is sent for the {}. time, {sends} are allowed",
                sent.step, sent.attempt
            ));
        }
        match sent.direction {
            Direction::Forward if turned_back => {
                return Err(format!(
                    "{} is commanded although the saga has turned back",
                    sent.step
                ));
            }
            Direction::Forward => {}
            Direction::Compensation if !setting.steps[step].can_roll_back => {
                return Err(format!(
                    "{} is rolled back although it comes after the pivot",
                    sent.step
                ));
            }
            Direction::Compensation => newest_first(setting, &decision.state, step)?,
        }
    }
    Ok(())
}

/// Whatever was commanded later is settled before a step is undone.
fn newest_first<S: Scenario>(
    setting: &Setting<'_, S>,
    state: &StateOf<S>,
    step: usize,
) -> Result<(), String> {
    if state.has_ended() {
        return Ok(());
    }
    for later in setting.steps[step + 1..]
        .iter()
        .filter(|later| later.can_roll_back)
    {
        match state.step(&later.name) {
            StepState::Idle | StepState::Refused { .. } | StepState::Undone { .. } => {}
            open @ (StepState::Pending { .. }
            | StepState::Done { .. }
            | StepState::InDoubt { .. }
            | StepState::Undoing { .. }) => {
                return Err(format!(
                    "{} is undone while {} is {open:?}",
                    setting.steps[step].name, later.name
                ));
            }
        }
    }
    Ok(())
}

fn ended_is_ended<D: PartialEq, C, R>(before: &State<D>, decision: &Decision<D, C, R>) -> Result<(), String> {
    if before.has_ended() && *before != decision.state {
        return Err("a saga that had ended changed".to_owned());
    }
    Ok(())
}

fn the_pivot_holds<S: Scenario>(
    setting: &Setting<'_, S>,
    before: &StateOf<S>,
    after: &StateOf<S>,
) -> Result<(), String> {
    if before.status().cause().is_some() {
        return Ok(());
    }
    let Some(pivot) = setting.steps.iter().find(|step| step.kind == Kind::Pivot) else {
        return Err("there is no pivot".to_owned());
    };
    let passed = !matches!(before.step(&pivot.name), StepState::Idle);
    match after.status().cause() {
        Some(Cause::Refused { step, .. }) if passed && *step != pivot.name => Err(format!(
            "the refusal of {step} turned the saga back after the pivot"
        )),
        Some(Cause::BudgetSpent { .. } | Cause::Cancelled { .. }) if passed => {
            Err("time or the customer turned the saga back after the pivot".to_owned())
        }
        Some(
            Cause::Refused { .. }
            | Cause::BudgetSpent { .. }
            | Cause::Cancelled { .. }
            | Cause::Operator { .. },
        )
        | None => Ok(()),
    }
}

/// Whether a pending command still has a running timer.
pub(crate) const fn is_live(step: &StepState) -> bool {
    match step {
        StepState::Pending {
            tries: Tries::Live { .. },
        }
        | StepState::Undoing {
            tries: Tries::Live { .. },
            ..
        } => true,
        StepState::Pending {
            tries: Tries::Spent { .. },
        }
        | StepState::Undoing {
            tries: Tries::Spent { .. },
            ..
        }
        | StepState::Idle
        | StepState::Done { .. }
        | StepState::Refused { .. }
        | StepState::InDoubt { .. }
        | StepState::Undone { .. } => false,
    }
}
