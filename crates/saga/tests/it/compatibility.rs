//! Goal: a state is carried on only by the definition that it was made with.

use saga::{Definition, Incompatible, Input, Outcome, RetryPolicy, State, Verdict, decide, start};

use crate::{
    sagas::{Command, Heard, Reply, TestDefinition, TestStep, purchase},
    script::{SAGA_ID, cancellation},
};

fn of(name: &'static str, version: u16, steps: &[&'static str]) -> TestDefinition {
    let ask = |step: TestStep| {
        step.command(|_| Command::Do(String::new()))
            .reply(|_, _| Verdict::Accepted)
    };
    let pivot =
        ask(TestStep::pivot("pivot", "somebody")).rollback(|_| Command::Undo(String::new()), |_| true);
    steps
        .iter()
        .fold(
            Definition::builder(name, version).pivot(pivot),
            |builder, step| builder.step(ask(TestStep::retriable(step, "somebody"))),
        )
        .build()
        .expect("the shape is right")
}

fn state_of(definition: &TestDefinition) -> State<Heard> {
    start(definition, SAGA_ID, Heard::default()).state
}

#[test]
fn a_definition_accepts_its_own_states_after_they_were_stored() {
    let definition = purchase().definition;
    let stored = serde_json::to_string(&state_of(&definition)).expect("a state can be written");
    let loaded: State<Heard> = serde_json::from_str(&stored).expect("and read");
    assert_eq!(loaded, state_of(&definition));
    assert_eq!(definition.accepts(&loaded), Ok(()));
}

#[test]
fn another_name_version_or_list_of_steps_is_refused() {
    let state = state_of(&of("trip", 1, &["a"]));
    let refused = |definition: TestDefinition| definition.accepts(&state).expect_err("it differs");
    assert_eq!(
        refused(of("tour", 1, &["a"])),
        Incompatible::Name {
            expected: "tour",
            found: "trip".to_owned()
        }
    );
    assert_eq!(
        refused(of("trip", 2, &["a"])),
        Incompatible::Version {
            expected: 2,
            found: 1
        }
    );
    assert_eq!(
        refused(of("trip", 1, &["a", "b"])),
        Incompatible::MissingStep { step: "b".into() }
    );
    assert_eq!(
        refused(of("trip", 1, &[])),
        Incompatible::UnknownStep { step: "a".into() }
    );
}

#[test]
fn a_decision_on_a_foreign_state_does_nothing_and_says_so() {
    let state = state_of(&of("trip", 1, &["a"]));
    let newer = of("trip", 2, &["a"]);
    let decision = decide(
        &newer,
        SAGA_ID,
        state.clone(),
        Input::<Reply>::Cancel(cancellation()),
    );
    assert_eq!(
        decision.outcome,
        Outcome::Incompatible(Incompatible::Version {
            expected: 2,
            found: 1
        })
    );
    assert_eq!(decision.effects, []);
    assert_eq!(decision.state, state);
}

#[test]
fn another_retry_policy_is_no_other_definition() {
    let patient = crate::sagas::purchase_with(RetryPolicy::default());
    let hasty = crate::sagas::purchase_with(crate::sagas::two_sends());
    assert_eq!(hasty.definition.accepts(&state_of(&patient.definition)), Ok(()));
}
