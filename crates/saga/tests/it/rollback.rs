//! Goal: what was commanded and not refused is undone, newest first, each waiting for its acknowledgement.
//! Method: scripts.

use crate::{
    sagas::{
        Reply::{No, Nonsense, Undone, Yes},
        journey, purchase, refusal,
    },
    script::given,
};
use saga::{Outcome, Standing};

#[test]
fn a_refusal_of_the_first_step_leaves_nothing_to_undo() {
    let script = given(purchase())
        .submit()
        .expect_command("validate")
        .reply(No)
        .expect_rejected("VALIDATE_REFUSED", "validate");
    let failure = script.state.failure().expect("a rejection says why");
    assert_eq!(failure.message, refusal("validate").message);
    assert_eq!(failure.detail, refusal("validate").detail);
}

#[test]
fn a_refusal_undoes_the_steps_before_it_newest_first_one_at_a_time() {
    given(purchase())
        .submit()
        .all_well_through("reserve")
        .expect_command("authorize")
        .reply(No)
        .expect_standing(Standing::Compensating)
        .expect_rollback("reserve")
        .reply(Undone)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_rejected("AUTHORIZE_REFUSED", "authorize");
}

#[test]
fn a_refused_pivot_turns_back() {
    given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .reply(No)
        .expect_rollback("authorize")
        .reply(Undone)
        .expect_rollback("reserve")
        .reply(Undone)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_rejected("ORDER_REFUSED", "order");
}

#[test]
fn a_parallel_step_in_doubt_is_undone_with_the_others_when_its_sibling_is_refused() {
    given(journey())
        .submit()
        .expect_command("flight")
        .expect_command("hotel")
        .reply_to("flight", No)
        .expect_rollback("hotel")
        .reply(Undone)
        .expect_rejected("FLIGHT_REFUSED", "flight");
}

#[test]
fn the_late_forward_reply_of_a_step_in_doubt_is_logged_and_its_rollback_still_awaited() {
    given(journey())
        .submit()
        .expect_command("flight")
        .expect_command("hotel")
        .reply_to("hotel", Yes)
        .cancel()
        .expect_rollback("hotel")
        .reply_to("flight", Yes)
        .expect_outcome(&Outcome::LateReply)
        .expect_last_log("reply_late")
        .expect_nothing_sent()
        .reply_to_rollback("hotel", Undone)
        .expect_rollback("flight")
        .reply_to("flight", No)
        .expect_outcome(&Outcome::LateReply)
        .expect_compensating()
        .reply_to_rollback("flight", Undone)
        .expect_cancelled();
}

#[test]
fn a_reply_that_acknowledges_nothing_leaves_the_rollback_pending() {
    given(purchase())
        .submit()
        .all_well_through("validate")
        .expect_command("reserve")
        .reply(No)
        .expect_rollback("validate")
        .reply(Nonsense)
        .expect_outcome(&Outcome::UnexpectedReply)
        .expect_last_log("reply_unexpected")
        .reply(No)
        .expect_outcome(&Outcome::UnexpectedReply)
        .reply(Undone)
        .expect_rejected("RESERVE_REFUSED", "reserve");
}
