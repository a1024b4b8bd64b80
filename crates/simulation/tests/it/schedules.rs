//! Goal: no rule is broken by any of many schedules, and every fault meets every step among them.
//! Method: schedules drawn from consecutive seeds, and all schedules near the fair one.

use simulation::{
    Scenario, Simulation,
    sagas::{flight::Flight, journey::Journey, purchase::Purchase},
};

/// Schedules over all sagas together; `BELAY_SCHEDULES` asks for another number.
const SCHEDULES: u64 = 100_000;
/// Fewer than that do not meet everything.
const ENOUGH_FOR_COVERAGE: u64 = 20_000;

fn share(percent: u64) -> u64 {
    let asked = std::env::var("BELAY_SCHEDULES").ok();
    let all = asked.map_or(SCHEDULES, |asked| {
        asked.parse().expect("BELAY_SCHEDULES is a number")
    });
    all * percent / 100
}

fn hold<S: Scenario>(scenario: &S, schedules: u64) {
    let mut simulation = Simulation::new(scenario);
    if let Err(violation) = simulation.run(1, schedules) {
        panic!("{violation}");
    }
    assert_eq!(simulation.schedules(), schedules);
    if schedules >= ENOUGH_FOR_COVERAGE {
        let missing = simulation.coverage().missing();
        assert!(
            missing.is_empty(),
            "never happened: {missing:?}\n{}",
            simulation.coverage()
        );
    }
}

#[test]
fn a_purchase_keeps_every_rule_under_every_fault_at_every_step() {
    hold(&Purchase::new().unwrap(), share(50));
}

#[test]
fn a_flight_reservation_keeps_every_rule_under_every_fault_at_every_step() {
    hold(&Flight::new().unwrap(), share(25));
}

#[test]
fn a_journey_keeps_every_rule_under_every_fault_at_every_step() {
    hold(&Journey::new().unwrap(), share(25));
}

/// Everything that can happen instead, and everything that can go wrong, at every move of the fair run.
#[test]
fn one_departure_from_the_fair_run_anywhere_breaks_no_rule() {
    explore(&Purchase::new().unwrap(), 1, 1_000);
    explore(&Flight::new().unwrap(), 1, 500);
    explore(&Journey::new().unwrap(), 1, 500);
}

/// The same for every pair of which one follows the other at once.
#[test]
fn two_departures_in_a_row_from_the_fair_run_of_a_small_saga_break_no_rule() {
    explore(&Journey::smallest().unwrap(), 2, 10_000);
}

fn explore<S: Scenario>(scenario: &S, departures: u32, at_least: u64) {
    let mut simulation = Simulation::new(scenario);
    if let Err(violation) = simulation.explore(departures, 1) {
        panic!("{violation}");
    }
    let explored = simulation.schedules();
    assert!(
        explored >= at_least,
        "only {explored} schedules of {}",
        scenario.name()
    );
}

#[test]
fn a_seed_always_gives_the_same_schedule() {
    let purchase = Purchase::new().unwrap();
    for seed in 0..50 {
        let first = Simulation::new(&purchase).tell(seed).unwrap();
        let again = Simulation::new(&purchase).tell(seed).unwrap();
        assert!(first.len() > 5);
        assert_eq!(first, again);
    }
}
