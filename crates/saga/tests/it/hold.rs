//! Goal: a participant whose hold ran out is told to keep it or to let go. Method: scripts.

use saga::{HoldAnswer, OperatorAction, Outcome, Resolution};

use crate::{
    sagas::{
        Reply::{No, Undone, Yes},
        purchase,
    },
    script::{Script, given},
};

#[test]
fn a_running_saga_keeps_what_is_held_for_it() {
    let running = given(purchase())
        .submit()
        .all_well_through("reserve")
        .expect_command("authorize");
    answers(running, "reserve", HoldAnswer::Kept)
        .expect_nothing_sent()
        .done();
}

#[test]
fn a_completed_or_parked_saga_keeps_what_is_held_for_it() {
    let parked = given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .never_answer("order");
    let parked = answers(parked, "reserve", HoldAnswer::Kept);
    let completed = parked
        .reply_to("order", Yes)
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("confirm", Yes)
        .reply_to("capture", Yes);
    answers(completed, "reserve", HoldAnswer::Kept).expect_completed();
}

#[test]
fn a_compensated_saga_sends_the_rollback_again_without_waiting_for_it() {
    let compensated = given(purchase())
        .submit()
        .all_well_through("validate")
        .expect_command("reserve")
        .reply(No)
        .expect_rollback("validate")
        .reply(Undone);
    answers(compensated, "validate", HoldAnswer::RolledBackAgain)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_outcome(&Outcome::LateReply)
        .expect_rejected("RESERVE_REFUSED", "reserve");
}

#[test]
fn a_compensating_saga_repeats_the_rollback_under_way_and_lets_the_others_wait_their_turn() {
    let compensating = given(purchase())
        .submit()
        .all_well_through("reserve")
        .expect_command("authorize")
        .reply(No)
        .expect_rollback("reserve");
    let compensating =
        answers(compensating, "reserve", HoldAnswer::RolledBackAgain).expect_rollback("reserve");
    let compensating = answers(compensating, "validate", HoldAnswer::RollbackToCome).expect_nothing_sent();
    answers(compensating, "authorize", HoldAnswer::NothingToRollBack)
        .expect_nothing_sent()
        .done();
}

#[test]
fn a_saga_cancelled_by_an_operator_lets_go_of_what_was_never_undone() {
    let resolved = given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .never_answer("order")
        .operator(OperatorAction::Resolve(Resolution::Cancelled));
    let resolved = answers(resolved, "reserve", HoldAnswer::RolledBackAgain).expect_rollback("reserve");
    answers(resolved, "capture", HoldAnswer::NothingToRollBack).expect_cancelled();
}

#[test]
fn a_saga_that_commanded_nobody_and_a_step_that_does_not_exist_have_nothing_to_roll_back() {
    let cancelled = given(purchase()).submit_cancelled();
    let cancelled = answers(cancelled, "reserve", HoldAnswer::NothingToRollBack);
    answers(cancelled, "no such step", HoldAnswer::NothingToRollBack).expect_cancelled();
}

fn answers(script: Script, step: &'static str, answer: HoldAnswer) -> Script {
    script.hold_expires(step).expect_outcome(&Outcome::Hold(answer))
}
