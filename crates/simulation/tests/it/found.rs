//! Goal: the rules are worth something. Method: with a part switched off, or with a definition that is wrong, a schedule
//! that breaks a rule is found, is small, and is found again by what it prints.

use simulation::{
    Mutation, Scenario, Simulation, Violation,
    sagas::{broken, flight::Flight, journey::Journey, purchase::Purchase},
};

/// Far fewer than in every run of the suite.
const SCHEDULES: u64 = 20_000;

fn violation<S: Scenario>(scenario: &S, mutation: Option<Mutation>) -> Violation {
    let mut simulation = Simulation::new(scenario).without(mutation);
    let found = simulation.run(1, SCHEDULES);
    let violation = *found.expect_err("a broken part breaks a rule");
    // The same again, by seed and by choices.
    let seed = violation.seed.expect("it was drawn");
    assert_eq!(
        Simulation::new(scenario).without(mutation).tell(seed),
        Err(Box::new(violation.clone()))
    );
    let played = Simulation::new(scenario)
        .without(mutation)
        .play(&violation.choices);
    assert_eq!(
        played.map_err(|again| again.script),
        Err(violation.script.clone())
    );
    // And it is that part, not the schedule.
    violation
}

#[test]
fn each_part_that_is_switched_off_is_missed() {
    let told = [
        (Mutation::NoInbox, "was handled twice"),
        (Mutation::NoBarrier, " times"),
        (Mutation::NoCompareAndSet, ""),
        (Mutation::DeleteUnacknowledged, "was deleted and never sent"),
        (Mutation::OffsetsFirst, ""),
    ];
    assert_eq!(told.map(|(mutation, _)| mutation), Mutation::ALL);
    let (purchase, flight) = (Purchase::new().unwrap(), Flight::new().unwrap());
    let journey = Journey::new().unwrap();
    for (mutation, rule) in told {
        for found in [
            violation(&purchase, Some(mutation)),
            violation(&flight, Some(mutation)),
            violation(&journey, Some(mutation)),
        ] {
            assert!(found.rule.contains(rule), "{mutation:?}: {found}");
            assert!(
                found
                    .to_string()
                    .contains(&format!("--without {}", mutation.name()))
            );
            // Without the mutation the same schedule breaks nothing.
            let sound = match found.saga {
                "purchase" => Simulation::new(&purchase).play(&found.choices).is_ok(),
                "flight" => Simulation::new(&flight).play(&found.choices).is_ok(),
                _ => Simulation::new(&journey).play(&found.choices).is_ok(),
            };
            assert!(sound, "{mutation:?}");
        }
    }
}

#[test]
fn a_rollback_that_was_copied_from_another_step_is_found() {
    let found = violation(&broken::copied_rollback().unwrap(), None);
    assert!(
        found.rule.contains("pay") || found.rule.contains("reserve-seat"),
        "{found}"
    );
}

#[test]
fn a_refusal_that_is_taken_for_a_yes_is_found() {
    let found = violation(&broken::swallowed_refusal().unwrap(), None);
    assert!(found.rule.contains("hotel is Done"), "{found}");
}

#[test]
fn a_command_that_says_something_else_when_it_is_sent_again_is_found() {
    let found = violation(&broken::drifting_command().unwrap(), None);
    assert!(found.rule.contains("with another content"), "{found}");
}

#[test]
fn what_is_found_is_small() {
    let found = violation(&Purchase::new().unwrap(), Some(Mutation::NoInbox));
    assert!(found.script.len() < 40, "{found}");
    assert!(
        found
            .to_string()
            .contains("Replay: cargo run -p simulation -- --saga purchase --seed")
    );
}
