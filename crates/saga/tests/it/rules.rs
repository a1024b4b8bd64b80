//! What holds at every step of every saga, whatever happens to it.

use std::collections::BTreeMap;

use saga::{
    Cause, Decision, Direction, Effect, Ending, Input, LogEntry, Outcome, Parked, State, Status, StepName,
    StepState, TimerKey, Tries,
};

use crate::sagas::{Command, Heard, Reply, Saga};

/// The running timers and the attempts that they are for.
pub type Timers = BTreeMap<TimerKey, u32>;
pub type TestDecision = Decision<Heard, Command, Reply>;

/// Checks one decision against the state before it (`None`: the saga began). Gives the timers that run now.
pub fn check(
    saga: &Saga,
    before: Option<(&State<Heard>, &Timers)>,
    input: Option<&Input<Reply>>,
    decision: &TestDecision,
) -> Timers {
    let timers = timers_after(before.map(|(_, timers)| timers), input, decision);
    let after = &decision.state;
    effects_tell_of_the_outcome(before.map(|(state, _)| state), input, decision);
    rollbacks_follow_commands(saga, decision);
    if let Some((before, _)) = before {
        ended_is_ended(before, input, decision);
        nothing_goes_forward_once_turned_back(before, decision);
        the_pivot_holds(saga, before, after);
    }
    something_is_always_under_way(after);
    assert_eq!(timers, live(after), "exactly the live commands have timers");
    rollbacks_go_newest_first(saga, after);
    an_end_leaves_nothing_open(saga, after);
    timers
}

/// The timers that a state needs.
pub fn live(state: &State<Heard>) -> Timers {
    if state.has_ended() {
        return Timers::new();
    }
    pending(state)
        .filter_map(|(step, direction, tries)| match tries {
            Tries::Live { attempt, .. } => Some((TimerKey { step, direction }, attempt)),
            Tries::Spent { .. } => None,
        })
        .collect()
}

/// The pending commands of a state.
pub fn pending(state: &State<Heard>) -> impl Iterator<Item = (StepName, Direction, Tries)> {
    state.steps().filter_map(|(name, step)| match *step {
        StepState::Pending { tries } => Some((name.clone(), Direction::Forward, tries)),
        StepState::Undoing { tries, .. } => Some((name.clone(), Direction::Compensation, tries)),
        StepState::Idle
        | StepState::Done { .. }
        | StepState::Refused { .. }
        | StepState::InDoubt { .. }
        | StepState::Undone { .. } => None,
    })
}

fn timers_after(before: Option<&Timers>, input: Option<&Input<Reply>>, decision: &TestDecision) -> Timers {
    let mut timers = before.cloned().unwrap_or_default();
    if let Some(Input::Timer(timer)) = input {
        let key = TimerKey {
            step: timer.step.clone(),
            direction: timer.direction,
        };
        if timers.get(&key) == Some(&timer.attempt) {
            timers.remove(&key);
        }
    }
    for effect in &decision.effects {
        match effect {
            Effect::SetTimer { timer, .. } => {
                timers.insert(
                    TimerKey {
                        step: timer.step.clone(),
                        direction: timer.direction,
                    },
                    timer.attempt,
                );
            }
            Effect::ClearTimer(key) => assert!(timers.remove(key).is_some(), "{key:?} did not run"),
            Effect::Send(_) | Effect::Log(_) | Effect::Changed => {}
        }
    }
    timers
}

fn effects_tell_of_the_outcome(
    before: Option<&State<Heard>>,
    input: Option<&Input<Reply>>,
    decision: &TestDecision,
) {
    let changes = decision
        .effects
        .iter()
        .filter(|effect| **effect == Effect::Changed)
        .count();
    if decision.outcome == Outcome::Applied {
        assert_eq!(changes, 1);
        assert_eq!(decision.effects.last(), Some(&Effect::Changed));
        assert_ne!(before, Some(&decision.state), "applied means changed");
    } else {
        assert_eq!(changes, 0);
        assert_eq!(
            before,
            Some(&decision.state),
            "anything but applied changes nothing"
        );
    }
    let logged: Vec<_> = decision
        .log()
        .filter_map(|entry| entry.clone().into_input())
        .collect();
    match (input, &decision.outcome) {
        (None, _) | (Some(_), Outcome::StaleTimer) => assert_eq!(logged, []),
        (Some(input), _) => assert_eq!(logged, std::slice::from_ref(input), "every input is logged, once"),
    }
    let sent: Vec<_> = decision.commands().collect();
    let sent_by_the_log: Vec<_> = decision
        .log()
        .filter_map(|entry| {
            if let LogEntry::CommandSent(sent) = entry {
                Some(sent)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(sent, sent_by_the_log, "every command is logged");
}

fn rollbacks_follow_commands(saga: &Saga, decision: &TestDecision) {
    for sent in decision
        .commands()
        .filter(|sent| sent.direction == Direction::Compensation)
    {
        assert!(
            saga.undoable.contains(&sent.step),
            "{} has no rollback",
            sent.step
        );
        let step = decision.state.step(&sent.step);
        assert!(
            !matches!(step, StepState::Idle | StepState::Refused { .. }),
            "{} has nothing to roll back: {step:?}",
            sent.step
        );
    }
}

fn ended_is_ended(before: &State<Heard>, input: Option<&Input<Reply>>, decision: &TestDecision) {
    if before.has_ended() {
        assert_eq!(before, &decision.state);
        let asked_to_roll_back_again = matches!(input, Some(Input::HoldExpired { .. }));
        assert!(asked_to_roll_back_again || decision.commands().next().is_none());
    }
}

fn nothing_goes_forward_once_turned_back(before: &State<Heard>, decision: &TestDecision) {
    if before.status().cause().is_some() {
        assert!(decision.state.status().cause().is_some() || decision.state == *before);
        assert!(
            decision
                .commands()
                .all(|sent| sent.direction == Direction::Compensation)
        );
    }
}

fn the_pivot_holds(saga: &Saga, before: &State<Heard>, after: &State<Heard>) {
    let passed = *before.step(&saga.pivot) != StepState::Idle;
    let turned = if before.status().cause().is_none() {
        after.status().cause()
    } else {
        None
    };
    match turned {
        Some(Cause::Refused { step, .. }) if passed => assert_eq!(*step, saga.pivot),
        Some(Cause::BudgetSpent { .. } | Cause::Cancelled { .. }) => {
            assert!(!passed, "turned back after the pivot")
        }
        Some(Cause::Refused { .. } | Cause::Operator { .. }) | None => {}
    }
}

fn something_is_always_under_way(state: &State<Heard>) {
    let live = live(state).len();
    let waiting = pending(state).count();
    let refused_for_good = state
        .steps()
        .any(|(_, step)| matches!(step, StepState::Refused { .. }));
    let spent = waiting - live;
    match state.status() {
        Status::Running | Status::Compensating { .. } => {
            assert!(
                live > 0 && spent == 0,
                "nothing would ever wake this saga: {state:?}"
            );
        }
        Status::Parked {
            parked: Parked::Forward,
        } => assert!(spent > 0 || refused_for_good, "{state:?}"),
        Status::Parked {
            parked: Parked::Compensation { .. },
        } => assert!(spent == 1 && live == 0, "{state:?}"),
        Status::Completed { .. } | Status::Compensated { .. } => {}
    }
}

fn rollbacks_go_newest_first(saga: &Saga, state: &State<Heard>) {
    let mut rolling = saga.undoable.iter().rev().map(|step| state.step(step));
    let newer_are_settled = rolling
        .by_ref()
        .take_while(|step| !matches!(step, StepState::Undoing { .. }))
        .all(|step| {
            matches!(
                step,
                StepState::Idle | StepState::Refused { .. } | StepState::Undone { .. }
            )
        });
    let older: Vec<_> = rolling.collect();
    let is_undoing = pending(state).any(|(_, direction, _)| direction == Direction::Compensation);
    if is_undoing {
        assert!(newer_are_settled, "a newer step is not undone yet: {state:?}");
        assert!(
            older.iter().all(|step| step_is_untouched_by_rollback(step)),
            "an older step was undone too early: {state:?}"
        );
    }
}

const fn step_is_untouched_by_rollback(step: &StepState) -> bool {
    !matches!(step, StepState::Undoing { .. } | StepState::Undone { .. })
}

fn an_end_leaves_nothing_open(saga: &Saga, state: &State<Heard>) {
    match state.status() {
        Status::Completed {
            ending: Ending::Reached,
        } => {
            assert!(
                state
                    .steps()
                    .all(|(_, step)| matches!(step, StepState::Done { .. })),
                "{state:?}"
            );
        }
        Status::Compensated {
            ending: Ending::Reached,
            ..
        } => {
            for step in saga.undoable.iter().map(|step| state.step(step)) {
                assert!(
                    matches!(
                        step,
                        StepState::Idle | StepState::Refused { .. } | StepState::Undone { .. }
                    ),
                    "commanded, not refused, and not undone: {state:?}"
                );
            }
        }
        Status::Completed {
            ending: Ending::Resolved { .. },
        }
        | Status::Compensated {
            ending: Ending::Resolved { .. },
            ..
        }
        | Status::Running
        | Status::Compensating { .. }
        | Status::Parked { .. } => {}
    }
}
