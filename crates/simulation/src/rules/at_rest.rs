//! What must hold when nothing moves any more: no message, no timer, no transaction is left.

use saga::{Ending, Status, StepState, StepViewState, rebuild, view};

use crate::{
    broker::{Broker, reader_of},
    rules::engine::is_live,
    scenario::Scenario,
    world::World,
};

/// Checks everything.
///
/// # Errors
/// The first rule that does not hold, in words.
pub(crate) fn check<S: Scenario>(world: &World<'_, '_, S>) -> Result<(), String> {
    nothing_is_left(world)?;
    for saga in 0..world.sagas.rows.len() {
        let number = saga + 1;
        let about = |error: String| format!("saga {number}: {error}");
        ended_or_parked(world, saga).map_err(about)?;
        effects_agree(world, saga).map_err(about)?;
        the_log_tells_the_state(world, saga).map_err(about)?;
        the_view_is_settled(world, saga).map_err(about)?;
        the_edge_knows(world, saga).map_err(about)?;
    }
    Ok(())
}

/// Outboxes are empty and everything that was sent was read, but for a service that is away.
fn nothing_is_left<S: Scenario>(world: &World<'_, '_, S>) -> Result<(), String> {
    for (service, name) in world.services.iter().zip(&world.setting.services) {
        if service.is_here() && !service.outbox.rows.is_empty() {
            return Err(format!("the outbox of {name} is not empty"));
        }
    }
    for (place, partition) in world.broker.partitions.iter().enumerate() {
        let reader = reader_of(Broker::<S>::topic(place));
        if world.services[reader].is_here() && !partition.unread().is_empty() {
            return Err(format!(
                "{} has not read everything",
                world.setting.services[reader]
            ));
        }
    }
    Ok(())
}

fn ended_or_parked<S: Scenario>(world: &World<'_, '_, S>, saga: usize) -> Result<(), String> {
    let Some(row) = &world.sagas.rows[saga] else {
        return Err("it was submitted and there is no saga".to_owned());
    };
    let Some(state) = &row.state else {
        return Err("it was cancelled, and its submission never came".to_owned());
    };
    let live = state.steps().filter(|(_, step)| is_live(step)).count();
    match state.status() {
        Status::Completed { .. } | Status::Compensated { .. } => Ok(()),
        Status::Parked { .. } if live == 0 => Ok(()),
        Status::Parked { .. } | Status::Running | Status::Compensating { .. } => Err(format!(
            "it waits for something that will never come: {} with {live} commands",
            state.status().kind()
        )),
    }
}

/// What the participants have is what the saga believes.
fn effects_agree<S: Scenario>(world: &World<'_, '_, S>, saga: usize) -> Result<(), String> {
    let Some(state) = world.sagas.state(saga) else {
        return Ok(());
    };
    let by_word = match state.status() {
        Status::Completed {
            ending: Ending::Resolved { .. },
        }
        | Status::Compensated {
            ending: Ending::Resolved { .. },
            ..
        } => true,
        Status::Completed { .. }
        | Status::Compensated { .. }
        | Status::Running
        | Status::Compensating { .. }
        | Status::Parked { .. } => false,
    };
    let turned_back = state.status().cause().is_some();
    for (index, step) in world.setting.steps.iter().enumerate() {
        let effects = world.effects(saga)[index];
        let name = &step.name;
        let wrong = |what: &str| {
            Err(format!(
                "{name} is {:?}, but {what}: {effects:?}",
                state.step(name)
            ))
        };
        if matches!(state.status(), Status::Completed { .. })
            && !by_word
            && !(effects.live && effects.done == 1)
        {
            return wrong("the saga is completed and its effect is not there");
        }
        if matches!(state.status(), Status::Compensated { .. }) && !by_word && effects.live {
            let is_to_be_undone = step.can_roll_back || world.setting.is_undone_with_others(index);
            if is_to_be_undone {
                return wrong("the saga is compensated and its effect is there");
            }
        }
        match state.step(name) {
            StepState::Idle if effects.done > 0 => return wrong("it was done without a command"),
            StepState::Done { .. } if effects.done != 1 => return wrong("it was not done once"),
            StepState::Done { .. } if !effects.live && !turned_back && !by_word => {
                return wrong("it is gone");
            }
            StepState::Refused { .. } if effects.done > 0 => return wrong("it was done after all"),
            StepState::Undone { .. } if effects.live => return wrong("it is still there"),
            StepState::Idle
            | StepState::Pending { .. }
            | StepState::Done { .. }
            | StepState::Refused { .. }
            | StepState::InDoubt { .. }
            | StepState::Undoing { .. }
            | StepState::Undone { .. } => {}
        }
    }
    Ok(())
}

fn the_log_tells_the_state<S: Scenario>(world: &World<'_, '_, S>, saga: usize) -> Result<(), String> {
    let log = world.sagas.logs[saga].iter().cloned();
    let rebuilt = rebuild(world.setting.definition, world.setting.ids[saga], log)
        .map_err(|error| format!("its log cannot be replayed: {error}"))?;
    if world.sagas.state(saga) == Some(&rebuilt) {
        Ok(())
    } else {
        let stored = world.sagas.state(saga);
        Err(format!(
            "its log tells another state: {rebuilt:?} instead of {stored:?}"
        ))
    }
}

/// Nothing is shown as going on in a saga that has ended.
fn the_view_is_settled<S: Scenario>(world: &World<'_, '_, S>, saga: usize) -> Result<(), String> {
    let Some(state) = world.sagas.state(saga).filter(|state| state.has_ended()) else {
        return Ok(());
    };
    for row in view(world.setting.definition, state) {
        match row.state {
            StepViewState::Succeeded | StepViewState::Failed | StepViewState::Skipped => {}
            // A rollback that an operator's word left as it was.
            StepViewState::Running | StepViewState::Retrying
                if matches!(state.step(&row.step), StepState::Undoing { .. }) => {}
            StepViewState::Pending | StepViewState::Running | StepViewState::Retrying => {
                return Err(format!(
                    "it has ended, and {} ({}) is shown as {:?}",
                    row.step, row.direction, row.state
                ));
            }
        }
    }
    Ok(())
}

/// The edge has heard of the last change, unless the broker lost it.
fn the_edge_knows<S: Scenario>(world: &World<'_, '_, S>, saga: usize) -> Result<(), String> {
    let version = world.sagas.rows[saga].as_ref().map_or(0, |row| row.version);
    let told = world.submissions[saga].told;
    if told > version {
        return Err(format!(
            "the edge was told of version {told}, the saga is at {version}"
        ));
    }
    if told < version && !world.events_were_lost {
        return Err(format!(
            "the edge was told of version {told} only, the saga is at {version}"
        ));
    }
    Ok(())
}
