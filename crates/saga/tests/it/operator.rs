//! Goal: an operator can retry, compensate and resolve, each only where it makes sense. Method: scripts.

use saga::{
    ActionRefused, Direction, Ending, OperatorAction, Outcome, Resolution, Standing, Status, decide, may_act,
};

use crate::{
    sagas::{
        Reply::{No, Undone, Yes},
        purchase,
    },
    script::{SAGA_ID, Script, given, note},
};

const CANCELLED: OperatorAction = OperatorAction::Resolve(Resolution::Cancelled);
const COMPLETED: OperatorAction = OperatorAction::Resolve(Resolution::Completed);

#[test]
fn a_retry_sends_the_parked_command_again_with_a_fresh_budget() {
    parked_at_the_pivot()
        .operator(OperatorAction::Retry)
        .expect_running()
        .expect_command_again("order", 9)
        .never_answer("order")
        .expect_parked(Direction::Forward)
        .operator(OperatorAction::Retry)
        .expect_command_again("order", 17)
        .reply(Yes)
        .expect_command("confirm")
        .expect_command("capture")
        .done();
}

#[test]
fn a_retry_asks_a_refused_retriable_step_again_and_leaves_its_sibling_alone() {
    given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("capture", No)
        .operator(OperatorAction::Retry)
        .expect_command_again("capture", 2)
        .expect_running()
        .reply(Yes)
        .reply_to("confirm", Yes)
        .expect_completed();
}

#[test]
fn a_retry_sends_a_parked_rollback_again() {
    parked_in_rollback()
        .operator(OperatorAction::Retry)
        .expect_compensating()
        .expect_rollback_again("validate", 9)
        .reply(Undone)
        .expect_rejected("RESERVE_REFUSED", "reserve");
}

#[test]
fn a_retry_of_a_rollback_leaves_a_refused_retriable_step_alone() {
    given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("capture", No)
        .operator(OperatorAction::Compensate)
        .expect_rollback("order")
        .never_acknowledge("order")
        .operator(OperatorAction::Retry)
        .expect_rollback_again("order", 9)
        .done();
}

#[test]
fn an_operator_compensates_a_parked_saga_pivot_first() {
    parked_at_the_pivot()
        .operator(OperatorAction::Compensate)
        .expect_compensating()
        .expect_rollback("order")
        .reply(Undone)
        .expect_rollback("authorize")
        .reply(Undone)
        .expect_rollback("reserve")
        .reply(Undone)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_cancelled();
}

#[test]
fn an_operator_compensates_a_running_saga_after_the_pivot_and_retriable_steps_have_no_rollback() {
    given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("confirm", Yes)
        .operator(OperatorAction::Compensate)
        .expect_rollback("order")
        .reply_to("capture", Yes)
        .expect_outcome(&Outcome::LateReply)
        .reply_to_rollback("order", Undone)
        .expect_rollback("authorize")
        .reply(Undone)
        .expect_rollback("reserve")
        .reply(Undone)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_cancelled();
}

#[test]
fn an_operator_resolves_a_parked_saga_as_completed() {
    let script = parked_at_the_pivot().operator(COMPLETED).expect_completed();
    assert_eq!(
        *script.state.status(),
        Status::Completed {
            ending: Ending::Resolved { note: note() }
        }
    );
    script
        .reply_to("order", Yes)
        .expect_outcome(&Outcome::LateReply)
        .done();
}

#[test]
fn an_operator_resolves_a_parked_saga_as_cancelled() {
    parked_at_the_pivot().operator(CANCELLED).expect_cancelled();
    parked_in_rollback()
        .operator(CANCELLED)
        .expect_standing(Standing::Cancelled)
        .done();
}

#[test]
fn resolving_stops_the_timers_of_what_was_still_pending() {
    given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("capture", No)
        .operator(COMPLETED)
        .expect_completed();
}

#[test]
fn what_is_rolled_back_cannot_be_declared_completed_or_compensated_twice() {
    for action in [COMPLETED, OperatorAction::Compensate] {
        refuses(parked_in_rollback(), action, ActionRefused::AlreadyRollingBack);
    }
    refuses(
        rolling_back(),
        OperatorAction::Compensate,
        ActionRefused::AlreadyRollingBack,
    );
}

#[test]
fn only_a_parked_saga_is_retried_or_resolved() {
    for action in [OperatorAction::Retry, COMPLETED, CANCELLED] {
        let running = given(purchase()).submit().expect_command("validate");
        refuses(running, action, ActionRefused::NotParked);
        refuses(rolling_back(), action, ActionRefused::NotParked);
    }
}

#[test]
fn an_ended_saga_takes_no_action() {
    for action in [
        OperatorAction::Retry,
        OperatorAction::Compensate,
        COMPLETED,
        CANCELLED,
    ] {
        let ended = given(purchase()).submit().expect_command("validate").reply(No);
        refuses(ended, action, ActionRefused::AlreadyEnded);
    }
}

#[test]
fn a_dry_run_tells_the_effects_in_words() {
    let parked = parked_at_the_pivot();
    let input = saga::Input::Operator {
        action: OperatorAction::Compensate,
        note: note(),
    };
    let decision = decide(&parked.saga.definition, SAGA_ID, parked.state.clone(), input);
    let words: Vec<_> = decision.effects.iter().map(ToString::to_string).collect();
    assert!(
        words.contains(&"send the rollback of order to the order desk (attempt 1)".to_owned()),
        "{words:?}"
    );
    parked.expect_parked(Direction::Forward);
}

fn parked_at_the_pivot() -> Script {
    given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .never_answer("order")
        .expect_parked(Direction::Forward)
}

fn rolling_back() -> Script {
    given(purchase())
        .submit()
        .all_well_through("validate")
        .expect_command("reserve")
        .reply(No)
        .expect_rollback("validate")
}

fn parked_in_rollback() -> Script {
    rolling_back()
        .never_acknowledge("validate")
        .expect_parked(Direction::Compensation)
}

fn refuses(script: Script, action: OperatorAction, why: ActionRefused) {
    assert_eq!(may_act(&script.state, action), Err(why));
    script
        .operator(action)
        .expect_outcome(&Outcome::ActionRefused(why))
        .expect_last_log("operator_refused")
        .expect_nothing_sent()
        .done();
}
