//! Goal: the log shows the whole saga and rebuilds it.

use saga::{LogEntry, OperatorAction, RebuildError, rebuild};
use serde_json::json;

use crate::{
    sagas::{
        Command, Heard,
        Reply::{self, No, Undone, Yes},
        journey, purchase,
    },
    script::{SAGA_ID, Script, given},
};

#[test]
fn the_log_of_a_refused_purchase_reads_as_its_story() {
    let script = refused_purchase();
    let story: Vec<_> = script
        .log
        .iter()
        .map(|entry| match entry.step() {
            Some(step) => format!("{} {step}", entry.kind()),
            None => entry.kind().to_owned(),
        })
        .collect();
    assert_eq!(
        story,
        [
            "submitted",
            "command_sent validate",
            "timed_out validate",
            "command_sent validate",
            "reply_accepted validate",
            "command_sent reserve",
            "reply_refused reserve",
            "status_changed",
            "command_sent validate",
            "rollback_acknowledged validate",
            "status_changed",
        ]
    );
}

#[test]
fn a_log_that_was_stored_rebuilds_the_state() {
    let script = refused_purchase();
    let stored: Vec<_> = script
        .log
        .iter()
        .map(|entry| serde_json::to_value(entry).expect("can be written"))
        .collect();
    let loaded: Vec<LogEntry<Heard, Command, Reply>> = stored
        .into_iter()
        .map(|entry| serde_json::from_value(entry).expect("can be read"))
        .collect();
    assert_eq!(loaded, script.log);
    assert_eq!(
        rebuild(&script.saga.definition, SAGA_ID, loaded),
        Ok(script.state)
    );
}

#[test]
fn an_entrys_kind_is_what_serde_writes() {
    let parked_and_acted_on = given(purchase())
        .submit()
        .all_well_through("authorize")
        .expect_command("order")
        .reply(Reply::Nonsense)
        .reply_to("validate", Yes)
        .cancel()
        .operator(OperatorAction::Retry)
        .hold_expires("reserve")
        .operator(OperatorAction::Compensate)
        .expect_rollback("order");
    let cancelled = given(purchase())
        .submit()
        .expect_command("validate")
        .cancel()
        .expect_rollback("validate");
    let tombstone = given(purchase()).submit_cancelled();
    let mut kinds = std::collections::BTreeSet::new();
    for entry in [parked_and_acted_on, cancelled, tombstone, refused_purchase()]
        .iter()
        .flat_map(|script| &script.log)
    {
        assert_eq!(
            serde_json::to_value(entry).expect("can be written")["kind"],
            entry.kind()
        );
        kinds.insert(entry.kind());
    }
    assert_eq!(kinds.len(), 15, "every kind was seen: {kinds:?}");
}

#[test]
fn the_stored_form_of_a_state_is_pinned() {
    let state = given(purchase())
        .submit()
        .all_well_through("reserve")
        .expect_command("authorize")
        .reply(No)
        .state;
    assert_eq!(
        serde_json::to_value(&state).expect("can be written"),
        json!({
            "definition": "purchase",
            "version": 1,
            "status": {
                "kind": "compensating",
                "cause": {
                    "kind": "refused",
                    "step": "authorize",
                    "refusal": {
                        "code": "AUTHORIZE_REFUSED",
                        "message": "authorize said no",
                        "detail": { "asked": "authorize" },
                    },
                },
            },
            "steps": {
                "validate": { "kind": "done", "attempts": 1 },
                "reserve": {
                    "kind": "undoing",
                    "left": { "kind": "done", "attempts": 1 },
                    "tries": { "kind": "live", "attempt": 1, "last": 8 },
                },
                "authorize": {
                    "kind": "refused",
                    "attempts": 1,
                    "refusal": {
                        "code": "AUTHORIZE_REFUSED",
                        "message": "authorize said no",
                        "detail": { "asked": "authorize" },
                    },
                },
                "order": { "kind": "idle" },
                "confirm": { "kind": "idle" },
                "capture": { "kind": "idle" },
            },
            "data": ["validate", "reserve", "authorize"],
        })
    );
}

#[test]
fn a_log_without_its_beginning_or_of_another_saga_is_refused() {
    let script = refused_purchase();
    let purchase = &script.saga.definition;
    assert_eq!(rebuild(purchase, SAGA_ID, vec![]), Err(RebuildError::Empty));
    assert_eq!(
        rebuild(purchase, SAGA_ID, script.log[1..].to_vec()),
        Err(RebuildError::NoBeginning { kind: "command_sent" })
    );
    assert_eq!(
        rebuild(&journey().definition, SAGA_ID, script.log.clone()),
        Err(RebuildError::OtherDefinition {
            name: "purchase".to_owned(),
            version: 1
        })
    );
}

fn refused_purchase() -> Script {
    given(purchase())
        .submit()
        .expect_command("validate")
        .time_out("validate")
        .expect_command_again("validate", 2)
        .reply(Yes)
        .expect_command("reserve")
        .reply(No)
        .expect_rollback("validate")
        .reply(Undone)
        .expect_rejected("RESERVE_REFUSED", "reserve")
}
