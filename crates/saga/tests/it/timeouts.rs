//! Goal: a timeout means unknown. Ask again; when the budget is spent, turn back while that is possible,
//! else park, and let a reply that comes after all un-park. Method: scripts.

use saga::{Direction, Input, Outcome, TEMPORARILY_UNAVAILABLE, Timer};

use crate::{
    sagas::{
        Reply::{No, Undone, Yes},
        journey, purchase,
    },
    script::given,
};

#[test]
fn an_unanswered_command_is_sent_again_under_the_same_id() {
    given(purchase())
        .submit()
        .expect_command("validate")
        .time_out("validate")
        .expect_command_again("validate", 2)
        .time_out("validate")
        .expect_command_again("validate", 3)
        .reply(Yes)
        .expect_command("reserve")
        .done();
}

#[test]
fn a_spent_budget_before_the_pivot_turns_back_and_undoes_the_step_in_doubt_too() {
    given(purchase())
        .submit()
        .all_well_through("reserve")
        .expect_command("authorize")
        .never_answer("authorize")
        .expect_rollback("authorize")
        .reply(Undone)
        .expect_rollback("reserve")
        .reply(Undone)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_rejected(TEMPORARILY_UNAVAILABLE, "authorize");
}

#[test]
fn a_spent_budget_in_a_parallel_stage_undoes_the_sibling_in_doubt_as_well() {
    given(journey())
        .submit()
        .expect_command("flight")
        .expect_command("hotel")
        .never_answer("flight")
        .expect_rollback("hotel")
        .reply(Undone)
        .expect_rollback("flight")
        .reply(Undone)
        .expect_rejected(TEMPORARILY_UNAVAILABLE, "flight");
}

#[test]
fn an_unanswered_pivot_parks_the_saga_and_its_late_success_unparks_it() {
    given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .never_answer("order")
        .expect_nothing_sent()
        .expect_parked(Direction::Forward)
        .reply_to("order", Yes)
        .expect_running()
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("confirm", Yes)
        .reply_to("capture", Yes)
        .expect_completed();
}

#[test]
fn a_parked_pivot_that_is_refused_after_all_turns_back() {
    given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .never_answer("order")
        .reply_to("order", No)
        .expect_rollback("authorize")
        .reply(Undone)
        .expect_rollback("reserve")
        .reply(Undone)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_rejected("ORDER_REFUSED", "order");
}

#[test]
fn one_parked_step_does_not_stop_its_siblings_retries() {
    given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture")
        .never_answer("confirm")
        .expect_parked(Direction::Forward)
        .time_out("capture")
        .expect_command_again("capture", 2)
        .reply_to("capture", Yes)
        .expect_parked(Direction::Forward)
        .reply_to("confirm", Yes)
        .expect_completed();
}

#[test]
fn a_refused_retriable_step_parks_the_saga_with_its_refusal() {
    let script = given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("capture", No)
        .expect_parked(Direction::Forward)
        .reply_to("confirm", Yes)
        .expect_parked(Direction::Forward)
        .done();
    let capture = script
        .view()
        .into_iter()
        .find(|row| row.step.as_str() == "capture")
        .expect("a row");
    assert_eq!(capture.error.as_deref(), Some("CAPTURE_REFUSED: capture said no"));
}

#[test]
fn an_unacknowledged_rollback_parks_the_saga_and_its_late_acknowledgement_unparks_it() {
    given(purchase())
        .submit()
        .all_well_through("reserve")
        .expect_command("authorize")
        .reply(No)
        .expect_rollback("reserve")
        .never_acknowledge("reserve")
        .expect_nothing_sent()
        .expect_parked(Direction::Compensation)
        .reply_to_rollback("reserve", Undone)
        .expect_compensating()
        .expect_rollback("validate")
        .reply(Undone)
        .expect_rejected("AUTHORIZE_REFUSED", "authorize");
}

#[test]
fn a_timer_of_another_attempt_direction_or_step_is_stale() {
    let timer = |step: &str, direction, attempt| {
        Input::Timer(Timer {
            step: step.into(),
            direction,
            attempt,
        })
    };
    given(purchase())
        .submit()
        .expect_command("validate")
        .time_out("validate")
        .expect_command_again("validate", 2)
        .input(timer("validate", Direction::Forward, 1))
        .expect_outcome(&Outcome::StaleTimer)
        .input(timer("validate", Direction::Forward, 3))
        .expect_outcome(&Outcome::StaleTimer)
        .input(timer("validate", Direction::Compensation, 2))
        .expect_outcome(&Outcome::StaleTimer)
        .input(timer("reserve", Direction::Forward, 1))
        .expect_outcome(&Outcome::StaleTimer)
        .input(timer("no such step", Direction::Forward, 1))
        .expect_outcome(&Outcome::StaleTimer)
        .reply_to("validate", Yes)
        .expect_command("reserve")
        .input(timer("validate", Direction::Forward, 2))
        .expect_outcome(&Outcome::StaleTimer)
        .done();
}
