//! What operators do with a purchase over HTTP, on real PostgreSQL.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use contracts::operator::{ResolveOutcome, SagaAction};
use purchase_manager::timers::Timers;
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    orchestrator::{Bench, bench},
    purchase::tents,
};

fn action(expected_version: i32) -> SagaAction {
    SagaAction {
        idempotency_key: contracts::ids::fresh(),
        expected_version,
        actor: "operator-1".to_owned(),
        reason: "the consolidator is back".to_owned(),
        dry_run: false,
        outcome: None,
    }
}

/// Every request is served like a real one: through the routes.
async fn ask(bench: &Bench, request: Request<Body>) -> (StatusCode, Value) {
    let routes = purchase_manager::http::routes(bench.orchestrator.clone());
    let response = routes.oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

pub async fn get(bench: &Bench, path: &str) -> Value {
    let (status, body) = ask(bench, Request::get(path).body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    body
}

async fn act(bench: &Bench, id: Uuid, verb: &str, action: &SagaAction) -> (StatusCode, Value) {
    let request = Request::post(format!("/purchases/{id}/{verb}"))
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(action).unwrap()))
        .unwrap();
    ask(bench, request).await
}

/// A purchase whose rollback nobody acknowledges, and its version.
async fn stuck(bench: &Bench) -> (Uuid, i32) {
    let purchase = tents();
    bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    let timers = Timers::new(bench.orchestrator.clone());
    // Eight sends of the validation, then eight of its rollback, and nobody answers.
    for _ in 0..16 {
        sqlx::query("update saga_timer set due_at = now() - interval '1 second'")
            .execute(&bench.pool())
            .await
            .unwrap();
        timers.fire().await.unwrap();
    }
    sqlx::query("delete from outbox")
        .execute(&bench.pool())
        .await
        .unwrap();
    let id = purchase.purchase_id.0;
    let version = sqlx::query_scalar("select version from saga where id = $1 and standing = 'STUCK'")
        .bind(id)
        .fetch_one(&bench.pool())
        .await
        .unwrap();
    (id, version)
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let bench = bench().await;
    let (id, version) = stuck(&bench).await;
    let dry = SagaAction {
        dry_run: true,
        ..action(version)
    };
    let before = bench.count("select count(*) from saga_event").await;
    let (status, foretold) = act(&bench, id, "retry", &dry).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        foretold["effects"][0], "the purchase goes from STUCK to COMPENSATING",
        "{foretold}"
    );
    assert_eq!(
        foretold["effects"][1],
        "send the rollback of validate-inventory to consolidator (attempt 9)"
    );
    assert_eq!(foretold["purchase"]["state"], "STUCK");
    for rows in ["outbox", "saga_timer", "request"] {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {rows}"));
        let rows: i64 = sqlx::query_scalar(query).fetch_one(&bench.pool()).await.unwrap();
        assert_eq!(rows, 0);
    }
    assert_eq!(bench.count("select count(*) from saga_event").await, before);

    let (_, done) = act(&bench, id, "retry", &action(version)).await;
    assert_eq!(done["effects"], foretold["effects"], "it does what it said");
    assert_eq!(done["purchase"]["state"], "COMPENSATING");
    assert_eq!(bench.count("select count(*) from saga_timer").await, 1);
    assert_eq!(
        bench
            .count("select count(*) from outbox where command_id is not null")
            .await,
        1
    );
}

#[tokio::test]
async fn an_action_is_carried_out_once_for_its_key_and_only_at_the_version_that_was_looked_at() {
    let bench = bench().await;
    let (id, version) = stuck(&bench).await;
    let (status, conflict) = act(&bench, id, "retry", &action(version - 1)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(conflict["errors"][0]["code"], "VERSION_CONFLICT");

    let retry = action(version);
    let first = act(&bench, id, "retry", &retry).await;
    assert_eq!(act(&bench, id, "retry", &retry).await, first);
    assert_eq!(
        bench
            .count("select count(*) from outbox where command_id is not null")
            .await,
        1
    );
    let (_, reused) = act(&bench, id, "compensate", &retry).await;
    assert_eq!(reused["errors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");

    let (_, unknown) = act(&bench, Uuid::nil(), "retry", &action(1)).await;
    assert_eq!(unknown["errors"][0]["code"], "NOT_FOUND");
    let nobody = SagaAction {
        reason: String::new(),
        ..action(version)
    };
    assert_eq!(act(&bench, id, "retry", &nobody).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(
        act(&bench, id, "resolve", &action(version)).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn what_operators_do_and_try_is_in_the_audit() {
    let bench = bench().await;
    let (id, version) = stuck(&bench).await;
    let view = get(&bench, &format!("/operator/purchases?ids={id}")).await;
    assert_eq!(
        view["purchases"][0]["allowed_actions"],
        json!(["RETRY", "RESOLVE"])
    );
    assert_eq!(view["purchases"][0]["errors"][1]["error"], "no reply to 8 sends");

    let (status, refused) = act(&bench, id, "compensate", &action(version)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused["errors"][0]["code"], "STATE_CONFLICT");
    let resolve = SagaAction {
        outcome: Some(ResolveOutcome::MarkCancelled),
        ..action(version)
    };
    let (_, resolved) = act(&bench, id, "resolve", &resolve).await;
    assert_eq!(resolved["purchase"]["state"], "CANCELLED");

    let view = get(&bench, &format!("/operator/purchases?ids={id}")).await;
    assert_eq!(view["purchases"][0]["allowed_actions"], json!([]));
    let audit = view["purchases"][0]["audit"].as_array().unwrap();
    let actions: Vec<_> = audit
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["compensate, refused", "resolve as cancelled"]);
    assert!(
        audit
            .iter()
            .all(|entry| entry["actor"] == "operator-1" && entry["reason"] != "")
    );
}

#[tokio::test]
async fn a_saga_for_which_nothing_is_due_is_found() {
    let bench = bench().await;
    let (id, _) = stuck(&bench).await;
    let open = tents();
    bench.handle(&[bench.submit(&open).await]).await.unwrap();
    let found = get(&bench, "/operator/stuck").await;
    assert_eq!(found["purchases"][0]["purchase_id"], id.to_string());
    assert_eq!(found["forgotten"], json!([]), "it has a timer");

    sqlx::query("delete from saga_timer")
        .execute(&bench.pool())
        .await
        .unwrap();
    sqlx::query("delete from outbox")
        .execute(&bench.pool())
        .await
        .unwrap();
    let found = get(&bench, "/operator/stuck").await;
    assert_eq!(found["forgotten"], json!([open.purchase_id.to_string()]));

    sqlx::query(
        "insert into parked (id, consumer, topic, key, headers, cause, error_class, error)
         values (gen_random_uuid(), 'belay.purchase-manager', 'purchase.replies.v1', $1, '{}', 'failed', 'data', '-')",
    )
    .bind(open.purchase_id.to_string())
    .execute(&bench.pool())
    .await
    .unwrap();
    let found = get(&bench, "/operator/stuck").await;
    assert_eq!(found["forgotten"], json!([]), "its message is parked");
}
