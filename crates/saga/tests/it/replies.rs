//! Goal: only the reply to a pending command counts. Method: scripts.

use saga::{Input, LogEntry, Outcome};
use uuid::Uuid;

use crate::{
    sagas::{
        Reply::{No, Nonsense, Undone, Yes},
        purchase,
    },
    script::given,
};

#[test]
fn a_duplicate_reply_is_late() {
    given(purchase())
        .submit()
        .all_well_through("validate")
        .expect_command("reserve")
        .reply_to("validate", Yes)
        .expect_outcome(&Outcome::LateReply)
        .reply_to("validate", No)
        .expect_outcome(&Outcome::LateReply)
        .expect_running()
        .done();
}

#[test]
fn a_reply_ahead_of_its_command_is_late() {
    given(purchase())
        .submit()
        .expect_command("validate")
        .reply_to("order", Yes)
        .expect_outcome(&Outcome::LateReply)
        .reply_to_rollback("validate", Undone)
        .expect_outcome(&Outcome::LateReply)
        .done();
}

#[test]
fn a_late_reply_is_logged_with_the_step_that_it_answers() {
    let script = given(purchase())
        .submit()
        .expect_command("validate")
        .reply_to("order", Yes);
    let Some(LogEntry::ReplyLate {
        answers: Some((step, direction)),
        ..
    }) = script.log.last()
    else {
        panic!("not logged as late: {:?}", script.log.last());
    };
    assert_eq!((step.as_str(), direction.as_str()), ("order", "forward"));
}

#[test]
fn a_reply_to_a_foreign_command_is_logged_without_a_step() {
    let script = given(purchase())
        .submit()
        .expect_command("validate")
        .input(Input::Reply {
            command_id: Uuid::from_u128(9),
            reply: Yes,
        })
        .expect_outcome(&Outcome::LateReply);
    assert!(matches!(
        script.log.last(),
        Some(LogEntry::ReplyLate { answers: None, .. })
    ));
}

#[test]
fn an_unexpected_reply_changes_nothing() {
    let script = given(purchase())
        .submit()
        .expect_command("validate")
        .reply(Nonsense)
        .expect_outcome(&Outcome::UnexpectedReply)
        .expect_last_log("reply_unexpected")
        .expect_running();
    assert!(
        script.state.data().0.is_empty(),
        "what the reply wrote into the data is gone"
    );
    script.reply_to("validate", Yes).expect_command("reserve").done();
}

#[test]
fn a_reply_to_an_ended_saga_is_late() {
    given(purchase())
        .submit()
        .expect_command("validate")
        .reply(No)
        .reply(Yes)
        .expect_outcome(&Outcome::LateReply)
        .expect_rejected("VALIDATE_REFUSED", "validate");
}
