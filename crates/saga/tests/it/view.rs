//! Goal: the steps as a customer sees them, at each turn of the story.

use saga::{Direction, OperatorAction, Resolution, StepView};

use crate::{
    sagas::{
        Reply::{No, Undone, Yes},
        purchase,
    },
    script::{Script, given},
};

#[track_caller]
fn sees(script: &Script, expected: &[&str]) {
    let rows: Vec<_> = script.view().iter().map(row).collect();
    assert_eq!(rows, expected);
}

fn row(view: &StepView) -> String {
    let state = serde_json::to_value(view.state).expect("can be written");
    let StepView {
        step,
        direction,
        attempt,
        max_attempts,
        ..
    } = view;
    let undo = if *direction == Direction::Compensation {
        "undo "
    } else {
        ""
    };
    format!(
        "{undo}{step} {} {attempt}/{max_attempts}",
        state.as_str().expect("a word")
    )
}

#[test]
fn steps_are_pending_running_retrying_and_succeeded() {
    let script = given(purchase())
        .submit()
        .all_well_through("validate")
        .expect_command("reserve")
        .time_out("reserve")
        .expect_command_again("reserve", 2);
    sees(
        &script,
        &[
            "validate SUCCEEDED 1/8",
            "reserve RETRYING 2/8",
            "authorize PENDING 0/8",
            "order PENDING 0/8",
            "confirm PENDING 0/8",
            "capture PENDING 0/8",
        ],
    );
    let script = script.reply(Yes).expect_command("authorize");
    assert_eq!(row(&script.view()[1]), "reserve SUCCEEDED 2/8");
    assert_eq!(row(&script.view()[2]), "authorize RUNNING 1/8");
}

#[test]
fn a_saga_that_turned_back_shows_its_rollbacks_newest_first() {
    let script = given(purchase())
        .submit()
        .all_well_through("reserve")
        .expect_command("authorize")
        .reply(No)
        .expect_rollback("reserve");
    sees(
        &script,
        &[
            "validate SUCCEEDED 1/8",
            "reserve SUCCEEDED 1/8",
            "authorize FAILED 1/8",
            "order SKIPPED 0/8",
            "confirm SKIPPED 0/8",
            "capture SKIPPED 0/8",
            "undo reserve RUNNING 1/8",
            "undo validate PENDING 0/8",
        ],
    );
    let script = script.reply(Undone).expect_rollback("validate").reply(Undone);
    assert_eq!(row(&script.view()[6]), "undo reserve SUCCEEDED 1/8");
    assert_eq!(row(&script.view()[7]), "undo validate SUCCEEDED 1/8");
}

#[test]
fn a_step_in_doubt_failed_and_its_rollback_is_shown() {
    let script = given(purchase())
        .submit()
        .expect_command("validate")
        .cancel()
        .expect_rollback("validate");
    let rows = script.view();
    assert_eq!(row(&rows[0]), "validate FAILED 1/8");
    assert_eq!(rows[0].error.as_deref(), Some("given up without a reply"));
    assert_eq!(row(&rows[6]), "undo validate RUNNING 1/8");
}

#[test]
fn a_parked_step_failed_until_an_operator_retries() {
    let script = given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .never_answer("order");
    assert_eq!(row(&script.view()[3]), "order FAILED 8/8");
    assert_eq!(script.view()[3].error.as_deref(), Some("no reply to 8 sends"));
    let script = script
        .operator(OperatorAction::Retry)
        .expect_command_again("order", 9);
    assert_eq!(row(&script.view()[3]), "order RETRYING 9/16");
}

#[test]
fn what_an_operator_resolved_shows_the_rollbacks_that_were_skipped() {
    let script = given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .never_answer("order")
        .operator(OperatorAction::Resolve(Resolution::Cancelled));
    sees(
        &script,
        &[
            "validate SUCCEEDED 1/8",
            "reserve SUCCEEDED 1/8",
            "authorize SUCCEEDED 1/8",
            "order FAILED 8/8",
            "confirm SKIPPED 0/8",
            "capture SKIPPED 0/8",
            "undo order SKIPPED 0/8",
            "undo authorize SKIPPED 0/8",
            "undo reserve SKIPPED 0/8",
            "undo validate SKIPPED 0/8",
        ],
    );
}
