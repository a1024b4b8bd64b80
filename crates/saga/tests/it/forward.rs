//! Goal: a saga whose participants agree completes, in order. Method: scripts.

use saga::Standing;

use crate::{
    sagas::{Reply::Yes, journey, purchase},
    script::given,
};

#[test]
fn a_purchase_completes_when_everybody_agrees() {
    given(purchase())
        .submit()
        .expect_standing(Standing::Pending)
        .expect_command("validate")
        .reply(Yes)
        .expect_standing(Standing::Running)
        .expect_command("reserve")
        .reply(Yes)
        .expect_command("authorize")
        .reply(Yes)
        .expect_command("order")
        .reply(Yes)
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("confirm", Yes)
        .expect_nothing_sent()
        .expect_running()
        .reply_to("capture", Yes)
        .expect_completed();
}

#[test]
fn a_parallel_stage_may_be_answered_in_any_order() {
    given(purchase())
        .submit()
        .all_well_through("order")
        .expect_command("confirm")
        .expect_command("capture")
        .reply_to("capture", Yes)
        .expect_running()
        .reply_to("confirm", Yes)
        .expect_completed();
}

#[test]
fn a_saga_may_begin_with_a_parallel_stage_and_have_several_after_the_pivot() {
    given(journey())
        .submit()
        .expect_command("flight")
        .expect_command("hotel")
        .reply_to("hotel", Yes)
        .expect_nothing_sent()
        .reply_to("flight", Yes)
        .expect_command("pay")
        .reply(Yes)
        .expect_command("ticket")
        .reply(Yes)
        .expect_command("insure")
        .reply(Yes)
        .expect_completed();
}

#[test]
fn what_a_reply_taught_is_kept_for_later_steps() {
    let script = given(purchase())
        .submit()
        .all_well_through("reserve")
        .expect_command("authorize");
    assert_eq!(script.state.data().0, ["validate", "reserve"]);
}
