//! What purchase-manager forgets of purchases that ended, and what it no longer does for old ones.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use contracts::operator::{ResolveOutcome, SagaAction};
use purchase_manager::store::log::{self, PrunedLogs};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    orchestrator::{Bench, bench},
    purchase::tents,
};

async fn execute(bench: &Bench, statement: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(&bench.pool())
        .await
        .unwrap();
}

/// A purchase that stands as `standing` since so many days.
async fn put(bench: &Bench, standing: &str, days: i32) -> Uuid {
    let purchase = tents();
    bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    let id = purchase.purchase_id.0;
    execute(
        bench,
        &format!(
            "update saga set standing = '{standing}', updated_at = now() - interval '{days} days' where id = '{id}'"
        ),
    )
    .await;
    id
}

async fn prune(bench: &Bench, limit: i64) -> PrunedLogs {
    let mut connection = bench.pool().acquire().await.unwrap();
    log::prune(&mut connection, 30, limit).await.unwrap()
}

async fn with_log(bench: &Bench) -> Vec<Uuid> {
    sqlx::query_scalar("select distinct saga_id from saga_event order by saga_id")
        .fetch_all(&bench.pool())
        .await
        .unwrap()
}

async fn ask(bench: &Bench, request: Request<Body>) -> (StatusCode, Value) {
    let routes = purchase_manager::http::routes(bench.orchestrator.clone());
    let response = routes.oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn post(bench: &Bench, path: String, body: &impl serde::Serialize) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(body).unwrap()))
        .unwrap();
    ask(bench, request).await
}

#[tokio::test]
async fn the_logs_of_purchases_that_ended_long_ago_go_and_no_others() {
    let bench = bench().await;
    let mut old = Vec::new();
    for standing in ["COMPLETED", "REJECTED", "CANCELLED"] {
        old.push(put(&bench, standing, 31).await);
    }
    let mut kept = vec![put(&bench, "COMPLETED", 29).await];
    for standing in ["PENDING", "RUNNING", "COMPENSATING", "STUCK"] {
        // However old: what has not ended needs its log.
        kept.push(put(&bench, standing, 400).await);
    }
    kept.sort_unstable();
    let first = prune(&bench, 2).await;
    assert_eq!(first.sagas, 2);
    assert!(first.rows > 2);
    assert_eq!(prune(&bench, 2).await.sagas, 1);
    assert_eq!(prune(&bench, 2).await, PrunedLogs::default(), "and never again");
    assert_eq!(with_log(&bench).await, kept);
    let sagas = bench.count("select count(*) from saga").await;
    assert_eq!(sagas, 8, "the purchases themselves are kept");
}

#[tokio::test]
async fn only_one_instance_deletes_at_a_time() {
    let bench = bench().await;
    put(&bench, "COMPLETED", 31).await;
    let mut other = bench.pool().begin().await.unwrap();
    sqlx::query("select from log_mark for update")
        .execute(&mut *other)
        .await
        .unwrap();
    assert_eq!(prune(&bench, 10).await, PrunedLogs::default());
    other.rollback().await.unwrap();
    assert_eq!(prune(&bench, 10).await.sagas, 1);
}

#[tokio::test]
async fn an_ended_purchase_without_its_log_still_answers() {
    let bench = bench().await;
    let purchase = tents();
    let submit = bench.submit(&purchase).await;
    bench.handle(std::slice::from_ref(&submit)).await.unwrap();
    let (answer, _) = bench.cancel(&purchase, "alice").await;
    drop(answer);
    let id = purchase.purchase_id.0;
    execute(
        &bench,
        "update saga set standing = 'CANCELLED', updated_at = now() - interval '31 days'",
    )
    .await;
    let path = format!("/purchases?ids={id}");
    let before = ask(&bench, Request::get(&path).body(Body::empty()).unwrap()).await;
    assert_eq!(prune(&bench, 10).await.sagas, 1);
    let after = ask(&bench, Request::get(&path).body(Body::empty()).unwrap()).await;
    assert_eq!(after, before);
    // A submission that comes once more is answered with the purchase as it is, and the log goes on where it ended.
    let again = bench.submit(&purchase).await;
    bench.handle(&[again]).await.unwrap();
    let view = format!("/operator/purchases?ids={id}");
    let (status, view) = ask(&bench, Request::get(view).body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(view["purchases"][0]["audit"], json!([]));
}

/// A participant forgets what it did for a command after 90 days at the earliest. Whoever asks it later would be answered as if
/// nothing had been done: a payment would stay authorized when it is to be voided.
#[tokio::test]
async fn nothing_is_commanded_for_a_purchase_that_participants_may_have_forgotten() {
    let bench = bench().await;
    let id = put(&bench, "STUCK", 59).await;
    let age = |days: i32| format!("update saga set created_at = now() - interval '{days} days'");
    execute(&bench, &age(61)).await;
    let version: i32 = sqlx::query_scalar("select version from saga")
        .fetch_one(&bench.pool())
        .await
        .unwrap();
    let action = |dry_run| SagaAction {
        idempotency_key: contracts::ids::fresh(),
        expected_version: version,
        actor: "operator-1".to_owned(),
        reason: "late".to_owned(),
        dry_run,
        outcome: None,
    };
    let sent = "select count(*) from outbox";
    let before = bench.count(sent).await;
    for verb in ["retry", "compensate"] {
        for dry_run in [true, false] {
            let (status, body) = post(&bench, format!("/purchases/{id}/{verb}"), &action(dry_run)).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(body["errors"][0]["code"], "TOO_OLD", "{body}");
        }
    }
    let cancel =
        json!({ "idempotency_key": contracts::ids::fresh(), "customer_id": "alice", "reason": null });
    let (status, body) = post(&bench, format!("/purchases/{id}/cancel"), &cancel).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(body["errors"][0]["code"], "STATE_CONFLICT", "{body}");
    assert_eq!(bench.count(sent).await, before);

    // By word it can be ended at any age: that commands nothing. (Where the engine allows it: what it says comes from the state.)
    let resolve = SagaAction {
        outcome: Some(ResolveOutcome::MarkCancelled),
        ..action(true)
    };
    let (_, body) = post(&bench, format!("/purchases/{id}/resolve"), &resolve).await;
    assert_ne!(body["errors"][0]["code"], "TOO_OLD", "{body}");
    // And before that age it is a matter of its state alone.
    execute(&bench, &age(59)).await;
    let (_, body) = post(&bench, format!("/purchases/{id}/retry"), &action(true)).await;
    assert_ne!(body["errors"][0]["code"], "TOO_OLD", "{body}");
}
