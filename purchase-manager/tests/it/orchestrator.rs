//! The orchestrator on real PostgreSQL: state, log, timers and messages of each transition, and what repeats or overtakes.

use std::sync::Arc;

use axum::http::StatusCode;
use contracts::{
    consolidator::{InventoryValidated, ValidateInventory, ValidationCancelled},
    ids::{CommandId, CustomerId},
    product_admin::ReserveProducts,
    purchase_manager::{PurchaseUpdated, SubmitPurchase},
    topics,
};
use mailbox::{Codec, Fault, Outbox, Outgoing, Received};
use purchase_manager::{
    MIGRATOR,
    definitions::Definitions,
    handlers::Messages,
    orchestrator::{Answer, Event, Orchestrator, What},
    purchase::Purchase,
    rollout::Rollout,
    timers::Timers,
};
use saga::{Cancellation, Direction, LogEntry, RetryPolicy};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::Database;
use uuid::Uuid;

use crate::purchase::tents;

pub struct Bench {
    pub database: Database,
    pub codec: Codec,
    pub orchestrator: Arc<Orchestrator>,
    messages: Messages,
}

pub async fn bench() -> Bench {
    bench_on(Database::create("purchase-manager", &MIGRATOR).await).await
}

pub async fn bench_on(database: Database) -> Bench {
    let codec = testkit::codec("purchase-manager").await;
    let definitions = Definitions::new(RetryPolicy::default()).unwrap();
    Rollout::enter(database.pool(), &definitions).await.unwrap();
    let orchestrator = Arc::new(Orchestrator::new(
        definitions,
        codec.clone(),
        Outbox::new(),
        database.pool(),
    ));
    let messages = Messages::new(orchestrator.clone());
    Bench {
        database,
        codec,
        orchestrator,
        messages,
    }
}

impl Bench {
    pub fn pool(&self) -> PgPool {
        self.database.pool()
    }

    pub async fn submit(&self, purchase: &SubmitPurchase) -> Received {
        let outgoing = self
            .codec
            .outgoing(topics::PURCHASE_COMMANDS, purchase.purchase_id, purchase)
            .unwrap();
        testkit::received(&self.codec, &outgoing).await
    }

    /// `InventoryValidated`, as the consolidator answers.
    pub async fn validated(&self, purchase: &SubmitPurchase) -> Received {
        let reply = InventoryValidated {
            purchase_id: purchase.purchase_id,
        };
        let id = saga::command_id(purchase.purchase_id.0, "validate-inventory", Direction::Forward);
        let outgoing = self
            .codec
            .outgoing(topics::PURCHASE_REPLIES, purchase.purchase_id, &reply)
            .unwrap()
            .command(CommandId(id));
        testkit::received(&self.codec, &outgoing).await
    }

    pub async fn handle(&self, batch: &[Received]) -> Result<Vec<Outgoing>, Fault> {
        testkit::handle(&self.pool(), &self.messages, batch).await
    }

    async fn events(&self, outgoing: &[Outgoing]) -> Vec<PurchaseUpdated> {
        let mut events = Vec::new();
        for message in outgoing.iter().filter(|m| m.topic == topics::PURCHASE_EVENTS) {
            events.push(testkit::decoded(&self.codec, message).await);
        }
        events
    }

    pub async fn cancel(&self, purchase: &SubmitPurchase, customer: &str) -> (Answer, Vec<Outgoing>) {
        let customer_id = CustomerId(customer.to_owned());
        let cancellation = Cancellation {
            by: customer.to_owned(),
            reason: None,
        };
        let what = What::Cancel {
            customer_id,
            cancellation,
        };
        let mut tx = self.pool().begin().await.unwrap();
        let event = Event {
            purchase_id: purchase.purchase_id,
            what,
            cause: None,
        };
        let worked = self.orchestrator.work(&mut tx, vec![event]).await.unwrap();
        tx.commit().await.unwrap();
        (worked.answers[0].clone(), worked.outgoing)
    }

    /// Lets the timers run out until nothing waits any more.
    pub async fn spend_the_budget(&self) {
        let timers = Timers::new(self.orchestrator.clone());
        while self.count("select count(*) from saga_timer").await > 0 {
            sqlx::query("update saga_timer set due_at = now() - interval '1 second'")
                .execute(&self.pool())
                .await
                .unwrap();
            timers.fire().await.unwrap();
        }
    }

    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool()).await.unwrap()
    }
}

fn types(outgoing: &[Outgoing]) -> Vec<&str> {
    outgoing
        .iter()
        .map(|message| message.message_type.rsplit('.').next().unwrap())
        .collect()
}

#[tokio::test]
async fn a_submission_starts_the_saga_with_its_first_command_a_timer_and_a_log() {
    let bench = bench().await;
    let purchase = tents();
    let outgoing = bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    assert_eq!(types(&outgoing), ["ValidateInventory", "PurchaseUpdated"]);
    let command: ValidateInventory = testkit::decoded(&bench.codec, &outgoing[0]).await;
    assert_eq!(command.lines[0].unit_price_minor, 29_950);
    assert_eq!(outgoing[0].reply_to, Some(topics::PURCHASE_REPLIES));
    let event = &bench.events(&outgoing).await[0];
    assert_eq!((event.version, event.state.as_str()), (1, "PENDING"));
    assert_eq!(event.steps.len(), 6);
    assert!(event.steps[0].started_at.is_some() && event.steps[0].next_retry_at.is_some());
    assert_eq!(
        bench
            .count("select count(*) from saga_timer where due_at > now() + interval '9 seconds'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_submission_and_its_reply_in_one_batch_are_folded_in_order() {
    let bench = bench().await;
    let purchase = tents();
    let batch = [bench.submit(&purchase).await, bench.validated(&purchase).await];
    let outgoing = bench.handle(&batch).await.unwrap();
    assert_eq!(
        types(&outgoing),
        [
            "ValidateInventory",
            "PurchaseUpdated",
            "ReserveProducts",
            "PurchaseUpdated"
        ]
    );
    let command: ReserveProducts = testkit::decoded(&bench.codec, &outgoing[2]).await;
    assert_eq!(command.lines[0].quantity, 2);
    let versions: Vec<i32> = bench
        .events(&outgoing)
        .await
        .iter()
        .map(|event| event.version)
        .collect();
    assert_eq!(versions, [1, 2]);
    assert_eq!(
        bench.count("select count(*) from saga_timer").await,
        1,
        "only the newest command waits"
    );
}

#[tokio::test]
async fn a_duplicate_submission_starts_nothing_and_tells_the_current_state_again() {
    let bench = bench().await;
    let purchase = tents();
    bench
        .handle(&[bench.submit(&purchase).await, bench.validated(&purchase).await])
        .await
        .unwrap();
    let outgoing = bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    assert_eq!(types(&outgoing), ["PurchaseUpdated"]);
    assert_eq!(bench.events(&outgoing).await[0].version, 2);
    assert_eq!(bench.count("select count(*) from saga").await, 1);
}

#[tokio::test]
async fn a_late_reply_is_logged_and_changes_nothing() {
    let bench = bench().await;
    let purchase = tents();
    bench
        .handle(&[bench.submit(&purchase).await, bench.validated(&purchase).await])
        .await
        .unwrap();
    let outgoing = bench.handle(&[bench.validated(&purchase).await]).await.unwrap();
    assert!(outgoing.is_empty());
    assert_eq!(
        bench
            .count("select count(*) from saga_event where kind = 'reply_late'")
            .await,
        1
    );
    assert_eq!(bench.count("select version::bigint from saga").await, 2);
}

#[tokio::test]
async fn a_reply_for_an_unknown_purchase_is_a_fault_that_parks_it() {
    let bench = bench().await;
    let fault = bench
        .handle(&[bench.validated(&tents()).await])
        .await
        .unwrap_err();
    assert!(!fault.is_transient(), "{fault}");
}

#[tokio::test]
async fn a_cancel_that_comes_before_the_submission_wins() {
    let bench = bench().await;
    let purchase = tents();
    let (answer, outgoing) = bench.cancel(&purchase, "alice").await;
    assert_eq!(answer, Answer::CancelKept);
    assert!(outgoing.is_empty());
    let outgoing = bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    assert_eq!(types(&outgoing), ["PurchaseUpdated"], "nobody is commanded");
    assert_eq!(bench.events(&outgoing).await[0].state, "CANCELLED");
    // And the submission sent again finds it so.
    let outgoing = bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    assert_eq!(bench.events(&outgoing).await[0].state, "CANCELLED");
}

#[tokio::test]
async fn another_customer_cannot_cancel() {
    let bench = bench().await;
    let purchase = tents();
    bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    assert_eq!(bench.cancel(&purchase, "mallory").await.0, Answer::Foreign);
    assert_eq!(
        bench
            .count("select count(*) from saga where standing = 'PENDING'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_timer_that_runs_out_sends_the_same_command_again_with_another_message_id() {
    let bench = bench().await;
    let purchase = tents();
    let first = bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    sqlx::query("update saga_timer set due_at = now() - interval '1 second'")
        .execute(&bench.pool())
        .await
        .unwrap();
    assert_eq!(Timers::new(bench.orchestrator.clone()).fire().await.unwrap(), 1);
    let (id, command): (uuid::Uuid, Option<uuid::Uuid>) =
        sqlx::query_as("select id, command_id from outbox where type like '%ValidateInventory'")
            .fetch_one(&bench.pool())
            .await
            .unwrap();
    assert_eq!(command, first[0].command_id.map(|c| c.0));
    assert_ne!(id, first[0].id.0);
    assert_eq!(
        Timers::new(bench.orchestrator.clone()).fire().await.unwrap(),
        0,
        "the next one is not due yet"
    );
}

#[tokio::test]
async fn the_log_rebuilds_the_state() {
    let bench = bench().await;
    let purchase = tents();
    bench
        .handle(&[bench.submit(&purchase).await, bench.validated(&purchase).await])
        .await
        .unwrap();
    bench.cancel(&purchase, "alice").await;
    let rows: Vec<serde_json::Value> = sqlx::query_scalar("select body from saga_event order by seq")
        .fetch_all(&bench.pool())
        .await
        .unwrap();
    // Commands are consequences: the rebuild makes them anew, so what they carried need not be read back.
    let log = rows
        .into_iter()
        .filter(|row| row["kind"] != "command_sent")
        .map(|row| serde_json::from_value::<LogEntry<Purchase, serde_json::Value, _>>(row).unwrap())
        .map(without_commands);
    let definition = bench.orchestrator.definitions().newest();
    let rebuilt = saga::rebuild(definition, purchase.purchase_id.0, log).unwrap();
    let stored: serde_json::Value = sqlx::query_scalar("select state from saga")
        .fetch_one(&bench.pool())
        .await
        .unwrap();
    assert_eq!(serde_json::to_value(&rebuilt).unwrap(), stored);
}

/// The same entry for a log whose commands are ours.
fn without_commands(
    entry: LogEntry<Purchase, serde_json::Value, purchase_manager::exchange::Reply>,
) -> LogEntry<Purchase, purchase_manager::exchange::Command, purchase_manager::exchange::Reply> {
    match entry {
        LogEntry::Submitted {
            definition,
            version,
            data,
        } => LogEntry::Submitted {
            definition,
            version,
            data,
        },
        LogEntry::ReplyAccepted {
            step,
            command_id,
            reply,
        } => LogEntry::ReplyAccepted {
            step,
            command_id,
            reply,
        },
        LogEntry::CancelAccepted(cancellation) => LogEntry::CancelAccepted(cancellation),
        LogEntry::StatusChanged(status) => LogEntry::StatusChanged(status),
        other => panic!("the script of this test does not come to {}", other.kind()),
    }
}

#[tokio::test]
async fn a_submission_that_does_not_add_up_is_a_fault_that_parks_it() {
    let bench = bench().await;
    let mut purchase = tents();
    purchase.total_minor += 1;
    let fault = bench.handle(&[bench.submit(&purchase).await]).await.unwrap_err();
    assert!(fault.to_string().contains("add up"), "{fault}");
}

/// Every request is served like a real one: through the routes.
async fn post_cancel(bench: &Bench, purchase: &SubmitPurchase, key: Uuid) -> (StatusCode, Value) {
    use tower::ServiceExt;
    let body = contracts::http::CancelPurchase {
        idempotency_key: key,
        customer_id: purchase.customer_id.clone(),
        reason: None,
    };
    let request = axum::http::Request::post(format!("/purchases/{}/cancel", purchase.purchase_id))
        .header("content-type", "application/json")
        .body(axum::body::Body::from(serde_json::to_vec(&body).unwrap()))
        .unwrap();
    let routes = purchase_manager::http::routes(bench.orchestrator.clone());
    let response = routes.oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn a_repeated_cancel_tells_the_purchase_as_it_is_now_and_its_key_stands_for_one_purchase() {
    let bench = bench().await;
    let (purchase, other) = (tents(), tents());
    let messages = [bench.submit(&purchase).await, bench.submit(&other).await];
    bench.handle(&messages).await.unwrap();
    let key = contracts::ids::fresh();
    let (status, first) = post_cancel(&bench, &purchase, key).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(first["purchase"]["state"], "COMPENSATING");

    let id = saga::command_id(
        purchase.purchase_id.0,
        "validate-inventory",
        Direction::Compensation,
    );
    let cancelled = ValidationCancelled {
        purchase_id: purchase.purchase_id,
    };
    let outgoing = bench
        .codec
        .outgoing(topics::PURCHASE_REPLIES, purchase.purchase_id, &cancelled);
    let reply = testkit::received(&bench.codec, &outgoing.unwrap().command(CommandId(id))).await;
    bench.handle(&[reply]).await.unwrap();

    let (status, again) = post_cancel(&bench, &purchase, key).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(again["purchase"]["state"], "CANCELLED");
    assert_eq!(again["effects"], first["effects"]);

    let (status, reused) = post_cancel(&bench, &other, key).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(reused["errors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(reused["errors"][0]["field"], json!(["idempotencyKey"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_races_with_its_submission_is_answered_and_wins_or_finds_it() {
    let bench = bench().await;
    for _ in 0..30 {
        let purchase = tents();
        let message = [bench.submit(&purchase).await];
        let submit = async {
            // As the consumer does: a lost race is repeated.
            loop {
                match bench.handle(&message).await {
                    Ok(_) => return,
                    Err(fault) => assert!(fault.is_transient(), "{fault}"),
                }
            }
        };
        let ((status, _), ()) = tokio::join!(post_cancel(&bench, &purchase, contracts::ids::fresh()), submit);
        assert_eq!(status, StatusCode::OK);
    }
    let turned_back = "select count(*) from saga where standing in ('CANCELLED', 'COMPENSATING')";
    assert_eq!(bench.count(turned_back).await, 30);
}

#[tokio::test]
async fn a_spent_budget_leaves_no_timer_behind() {
    let bench = bench().await;
    bench.handle(&[bench.submit(&tents()).await]).await.unwrap();
    let timers = Timers::new(bench.orchestrator.clone());
    // Eight sends of the validation, then eight of its rollback, and nobody answers.
    for _ in 0..16 {
        sqlx::query("update saga_timer set due_at = now() - interval '1 second'")
            .execute(&bench.pool())
            .await
            .unwrap();
        assert_eq!(timers.fire().await.unwrap(), 1);
    }
    assert_eq!(
        bench
            .count("select count(*) from saga where standing = 'STUCK'")
            .await,
        1
    );
    assert_eq!(bench.count("select count(*) from saga_timer").await, 0);
}

#[tokio::test]
async fn a_saga_that_cannot_be_read_holds_up_no_others_timer() {
    let bench = bench().await;
    let (broken, sound) = (tents(), tents());
    bench
        .handle(&[bench.submit(&broken).await, bench.submit(&sound).await])
        .await
        .unwrap();
    sqlx::query("update saga set state = '{}' where id = $1")
        .bind(broken.purchase_id.0)
        .execute(&bench.pool())
        .await
        .unwrap();
    sqlx::query("update saga_timer set due_at = now() - case when saga_id = $1 then interval '2 s' else interval '1 s' end")
        .bind(broken.purchase_id.0)
        .execute(&bench.pool())
        .await
        .unwrap();
    let timers = Timers::new(bench.orchestrator.clone());
    while timers.fire().await.unwrap() > 0 {}
    assert_eq!(
        bench
            .count("select count(*) from saga_timer where attempt = 2")
            .await,
        1
    );
    assert_eq!(
        bench
            .count("select count(*) from saga_timer where due_at <= now()")
            .await,
        0
    );
}

#[tokio::test]
async fn the_feed_of_ended_purchases_leaves_none_out_and_has_none_twice() {
    let bench = bench().await;
    let all: Vec<SubmitPurchase> = (0..7).map(|_| tents()).collect();
    for purchase in &all {
        bench.handle(&[bench.submit(purchase).await]).await.unwrap();
    }
    // Five have ended, three of them in the same microsecond; two are under way.
    for (place, purchase) in all.iter().take(5).enumerate() {
        sqlx::query("update saga set standing = $2, updated_at = to_timestamp($3) where id = $1")
            .bind(purchase.purchase_id.0)
            .bind(["COMPLETED", "REJECTED", "CANCELLED"][place % 3])
            .bind([1_000.0, 2_000.0, 2_000.0, 2_000.0, 3_000.0][place])
            .execute(&bench.pool())
            .await
            .unwrap();
    }
    let mut found = Vec::new();
    let mut from = (chrono::DateTime::UNIX_EPOCH, None);
    loop {
        let page = purchase_manager::store::ended(&bench.pool(), from.0, from.1, 2)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        from = (last.updated_at, Some(last.id.0));
        found.extend(page.iter().map(|record| record.id));
    }
    let mut expected: Vec<_> = all[..5].iter().map(|purchase| purchase.purchase_id).collect();
    assert_eq!((found.first(), found.last()), (expected.first(), expected.last()));
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn who_cancels_is_told_so_and_not_of_a_conflict() {
    let bench = bench().await;
    let purchase = tents();
    bench.handle(&[bench.submit(&purchase).await]).await.unwrap();
    let (_, outgoing) = bench.cancel(&purchase, "alice").await;
    let told = bench.events(&outgoing).await;
    let failure = told.last().unwrap().failure.clone().unwrap();
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("CANCELLED", "You cancelled this purchase.")
    );
}
