//! Goal: the rules hold in every state that a saga can come to, for everything that can happen there.
//! Method: follow every move from every state, breadth first, until no new state appears. States that
//! differ only in how often a settled step was asked count as one; an operator retries each step once.

use std::collections::{BTreeSet, VecDeque};

use saga::{Input, OperatorAction, Outcome, State, Status, StepState, Tries, decide, start};

use crate::{
    moves::Move,
    rules,
    sagas::{Heard, Reply, Saga, journey_with, purchase_with, two_sends},
    script::SAGA_ID,
};

#[test]
fn the_rules_hold_in_every_state_of_a_purchase() {
    explore(&purchase_with(two_sends()));
}

#[test]
fn the_rules_hold_in_every_state_of_a_journey() {
    explore(&journey_with(two_sends()));
}

fn explore(saga: &Saga) {
    let definition = &saga.definition;
    let moves = Move::all(definition.step_names().count());
    let begun = start(definition, SAGA_ID, Heard::default());
    rules::check(saga, None, None, &begun);
    let mut seen = BTreeSet::from([key(&begun.state)]);
    let mut kinds = BTreeSet::new();
    let mut queue = VecDeque::from([begun.state]);
    while let Some(state) = queue.pop_front() {
        kinds.insert(state.status().kind());
        let timers = rules::live(&state);
        for input in moves.iter().filter_map(|its| its.input(saga, &state)) {
            if was_retried(&state) && is_retry(&input) {
                continue;
            }
            let decision = decide(definition, SAGA_ID, state.clone(), input.clone());
            rules::check(saga, Some((&state, &timers)), Some(&input), &decision);
            assert!(!matches!(decision.outcome, Outcome::Incompatible(_)));
            if seen.insert(key(&decision.state)) {
                queue.push_back(decision.state);
            }
        }
    }
    assert_eq!(kinds.len(), 5, "every status was reached: {kinds:?}");
    assert!(seen.len() > 200, "only {} states", seen.len());
}

fn is_retry(input: &Input<Reply>) -> bool {
    matches!(
        input,
        Input::Operator {
            action: OperatorAction::Retry,
            ..
        }
    )
}

/// Some pending or refused step has had more than one budget.
fn was_retried(state: &State<Heard>) -> bool {
    state.steps().any(|(_, step)| match step {
        StepState::Pending { tries } | StepState::Undoing { tries, .. } => tries.attempts() > 2,
        StepState::Refused { attempts, .. } => *attempts > 2,
        StepState::Idle | StepState::Done { .. } | StepState::InDoubt { .. } | StepState::Undone { .. } => {
            false
        }
    })
}

fn key(state: &State<Heard>) -> String {
    let steps: Vec<_> = state.steps().map(|(_, step)| essence(step)).collect();
    let status = match state.status() {
        Status::Parked { parked } => format!("parked {}", parked.direction()),
        status @ (Status::Running
        | Status::Compensating { .. }
        | Status::Completed { .. }
        | Status::Compensated { .. }) => status.kind().to_owned(),
    };
    format!("{status} {:?} {steps:?}", state.standing())
}

fn essence(step: &StepState) -> String {
    let tries = |tries: Tries| match tries {
        Tries::Live { attempt, last } => format!("{attempt}/{last}"),
        Tries::Spent { attempts } => format!("{attempts} spent"),
    };
    match step {
        StepState::Idle => "idle".to_owned(),
        StepState::Pending { tries: its } => format!("pending {}", tries(*its)),
        StepState::Done { .. } => "done".to_owned(),
        StepState::Refused { attempts, .. } => format!("refused {}", attempts > &2),
        StepState::InDoubt { .. } => "in doubt".to_owned(),
        StepState::Undoing { tries: its, .. } => format!("undoing {}", tries(*its)),
        StepState::Undone { .. } => "undone".to_owned(),
    }
}
