//! Goal: the rules hold whatever happens, in whatever order. Method: random runs of two sagas, seeded and
//! shrinking; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` choose others.

use std::{cell::RefCell, collections::HashSet};

use proptest::{
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof},
    sample::select,
    test_runner::{RngSeed, TestRunner},
};
use saga::{State, decide, rebuild, replay, start};

use crate::{
    moves::{ACTIONS, Move, REPLIES},
    rules,
    sagas::{DIRECTIONS, Heard, Reply, Saga, journey_with, purchase_with, two_sends},
    script::SAGA_ID,
};

const SEED: u64 = 0x5a6a_2024;
const CASES: u32 = 2000;
const LONGEST: usize = 40;

#[test]
fn whatever_happens_the_rules_of_the_engine_hold() {
    run(&purchase_with(two_sends()));
}

#[test]
fn whatever_happens_the_rules_hold_with_parallel_steps_before_the_pivot() {
    run(&journey_with(two_sends()));
}

#[test]
fn the_random_runs_end_in_every_standing() {
    let saga = purchase_with(two_sends());
    let seen = RefCell::new(HashSet::new());
    runner(500)
        .run(&moves(), |moves| {
            seen.borrow_mut().insert(play(&saga, &moves).standing());
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(seen.borrow().len(), 7, "the runs are too tame: {seen:?}");
}

fn run(saga: &Saga) {
    runner(CASES)
        .run(&moves(), |moves| {
            play(saga, &moves);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Runs `cases` cases from the fixed seed, unless the environment asks for others.
fn runner(cases: u32) -> TestRunner {
    let asked = ProptestConfig::default();
    let unasked = std::env::var_os("PROPTEST_CASES").is_none();
    let cases = if unasked { cases } else { asked.cases };
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(SEED),
        RngSeed::Fixed(seed) => RngSeed::Fixed(seed),
    };
    TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases,
        rng_seed,
        ..asked
    })
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let reply = || select(REPLIES.to_vec());
    let direction = || select(DIRECTIONS.to_vec());
    let nth = || any::<usize>().prop_map(|nth| nth % 12);
    let well = prop_oneof![3 => Just(Reply::Yes), 1 => Just(Reply::Undone)];
    let answer = prop_oneof![10 => well, 1 => reply()];
    let step = prop_oneof![
        12 => (nth(), answer).prop_map(|(nth, reply)| Move::Answer(nth, reply)),
        5 => nth().prop_map(Move::TimeOut),
        2 => (nth(), direction(), reply()).prop_map(|(nth, direction, reply)| Move::Stray(nth, direction, reply)),
        1 => (nth(), direction(), 0..5_u32).prop_map(|(nth, direction, n)| Move::StrayTimer(nth, direction, n)),
        1 => reply().prop_map(Move::Foreign),
        1 => Just(Move::Cancel),
        1 => select(ACTIONS.to_vec()).prop_map(Move::Operator),
        1 => nth().prop_map(Move::HoldExpires),
    ];
    proptest::collection::vec(step, 0..LONGEST)
}

/// Plays the moves and checks the rules after each, and at the end that inputs and log rebuild the state.
fn play(saga: &Saga, moves: &[Move]) -> State<Heard> {
    let definition = &saga.definition;
    let begun = start(definition, SAGA_ID, Heard::default());
    let mut timers = rules::check(saga, None, None, &begun);
    let mut log: Vec<_> = begun.log().cloned().collect();
    let mut inputs = vec![];
    let mut state = begun.state;
    for input in moves {
        let Some(input) = input.input(saga, &state) else {
            continue;
        };
        let decision = decide(definition, SAGA_ID, state.clone(), input.clone());
        timers = rules::check(saga, Some((&state, &timers)), Some(&input), &decision);
        log.extend(decision.log().cloned());
        inputs.push(input);
        state = decision.state;
    }
    assert_eq!(
        replay(definition, SAGA_ID, Heard::default(), inputs),
        state,
        "the inputs rebuild the state"
    );
    assert_eq!(
        rebuild(definition, SAGA_ID, log).as_ref(),
        Ok(&state),
        "the log rebuilds the state"
    );
    state
}
