//! Goal: the customer may cancel until the pivot is commanded. Method: scripts.

use saga::{CancelRefused, Outcome, Standing, Status, may_cancel};

use crate::{
    sagas::{
        Reply::{No, Undone, Yes},
        journey, purchase,
    },
    script::{Script, given},
};

#[test]
fn a_cancel_undoes_the_step_in_doubt_and_everything_before_it() {
    given(purchase())
        .submit()
        .all_well_through("validate")
        .expect_command("reserve")
        .cancel()
        .expect_outcome(&Outcome::Applied)
        .expect_standing(Standing::Compensating)
        .expect_rollback("reserve")
        .reply(Undone)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_cancelled();
}

#[test]
fn a_cancel_in_a_parallel_stage_undoes_both_steps() {
    given(journey())
        .submit()
        .expect_command("flight")
        .expect_command("hotel")
        .cancel()
        .expect_rollback("hotel")
        .reply(Undone)
        .expect_rollback("flight")
        .reply(Undone)
        .expect_cancelled();
}

#[test]
fn a_cancel_is_refused_once_the_pivot_is_commanded() {
    let ordered = given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order");
    refuses(ordered, CancelRefused::PastPointOfNoReturn);
}

#[test]
fn a_cancel_is_refused_when_the_pivot_is_done() {
    let done = given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture");
    refuses(done, CancelRefused::PastPointOfNoReturn);
}

#[test]
fn a_cancel_is_refused_while_the_saga_is_parked_at_the_pivot() {
    let parked = given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .never_answer("order");
    refuses(parked, CancelRefused::PastPointOfNoReturn);
}

#[test]
fn a_cancel_is_refused_while_the_saga_rolls_back() {
    let compensating = given(purchase())
        .submit()
        .all_well_through("validate")
        .expect_command("reserve")
        .reply(No)
        .expect_rollback("validate");
    let parked = refuses(compensating, CancelRefused::AlreadyRollingBack).never_acknowledge("validate");
    refuses(parked, CancelRefused::AlreadyRollingBack);
}

#[test]
fn a_cancel_is_refused_when_the_saga_has_ended() {
    let rejected = given(purchase()).submit().expect_command("validate").reply(No);
    refuses(rejected, CancelRefused::AlreadyEnded);
    let completed = given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("confirm", Yes)
        .reply_to("capture", Yes);
    refuses(completed, CancelRefused::AlreadyEnded);
}

#[test]
fn a_saga_that_meets_an_earlier_cancel_ends_at_once_and_commands_nobody() {
    let script = given(purchase())
        .submit_cancelled()
        .expect_nothing_sent()
        .expect_cancelled()
        .cancel()
        .expect_outcome(&Outcome::CancelRefused(CancelRefused::AlreadyEnded));
    assert!(matches!(script.state.status(), Status::Compensated { .. }));
}

fn refuses(script: Script, why: CancelRefused) -> Script {
    assert_eq!(may_cancel(&script.saga.definition, &script.state), Err(why));
    script
        .cancel()
        .expect_outcome(&Outcome::CancelRefused(why))
        .expect_last_log("cancel_refused")
        .expect_nothing_sent()
        .done()
}
