//! Goal: two versions of the purchase saga live side by side through a rolling upgrade and back. Method: programs of two
//! releases on one real PostgreSQL; the newer one has a second version, made of the same steps.

use std::sync::Arc;

use axum::http::StatusCode;
use contracts::{
    Message,
    ids::PaymentId,
    operator::{ActivateVersion, DefinitionViews, VersionActivated},
    payments::PaymentAuthorized,
    product_admin::ProductsReserved,
    purchase_manager::SubmitPurchase,
};
use mailbox::{Codec, Fault, Outbox, Outgoing, Received};
use purchase_manager::{
    MIGRATOR,
    definitions::{Definitions, LiveVersionError, PurchaseSaga},
    handlers::Messages,
    orchestrator::Orchestrator,
    purchase_saga::{VERSIONS, Version, step},
    rollout::Rollout,
};
use saga::{Definition, Direction, RetryPolicy, ShapeError};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::Database;
use tokio_util::sync::CancellationToken;

use crate::purchase::tents;

/// What a next version could be: no advisory look before the reservation, and the money is taken when the units are sold.
pub fn version_2(retry: RetryPolicy) -> Result<PurchaseSaga, ShapeError> {
    Definition::builder("purchase", 2)
        .retry(retry)
        .step(step::reserve_products())
        .step(step::authorize_payment())
        .pivot(step::create_order())
        .step(step::confirm_reservation())
        .step(step::capture_payment())
        .build()
}

/// What the newer release has.
pub const BOTH: &[Version] = &[VERSIONS[0], version_2];
/// What a release after it could have, once no purchase follows the first version.
const SECOND_ALONE: &[Version] = &[version_2];

fn definitions(versions: &[Version]) -> Definitions {
    Definitions::with(versions, RetryPolicy::default()).unwrap()
}

/// A program at work.
struct Program {
    rollout: Option<Rollout>,
    orchestrator: Arc<Orchestrator>,
    messages: Messages,
    codec: Codec,
    pool: PgPool,
}

impl Program {
    async fn start(database: &Database, versions: &[Version]) -> Result<Self, LiveVersionError> {
        let (pool, codec) = (database.pool(), testkit::codec("purchase-manager").await);
        let definitions = definitions(versions);
        let rollout = Rollout::enter(pool.clone(), &definitions).await?;
        let orchestrator = Arc::new(Orchestrator::new(
            definitions,
            codec.clone(),
            Outbox::new(),
            pool.clone(),
        ));
        Ok(Self {
            rollout: Some(rollout),
            messages: Messages::new(orchestrator.clone()),
            orchestrator,
            codec,
            pool,
        })
    }

    /// It drains, and says so.
    async fn stop(mut self) {
        let stopped = CancellationToken::new();
        stopped.cancel();
        let rollout = self.rollout.take().unwrap();
        rollout.run(self.orchestrator, stopped).await.unwrap();
    }

    async fn handle(&self, message: Received) -> Result<Vec<Outgoing>, Fault> {
        testkit::handle(&self.pool, &self.messages, &[message]).await
    }

    async fn submit(&self, purchase: &SubmitPurchase) -> Result<Vec<String>, Fault> {
        let outgoing = self
            .codec
            .outgoing(
                contracts::topics::PURCHASE_COMMANDS,
                purchase.purchase_id,
                purchase,
            )
            .unwrap();
        let sent = self
            .handle(testkit::received(&self.codec, &outgoing).await)
            .await?;
        Ok(types(&sent))
    }

    async fn answer<M: Message>(
        &self,
        purchase: &SubmitPurchase,
        step: &str,
        reply: &M,
    ) -> Result<Vec<String>, Fault> {
        let id = saga::command_id(purchase.purchase_id.0, step, Direction::Forward);
        let outgoing = self
            .codec
            .outgoing(contracts::topics::PURCHASE_REPLIES, purchase.purchase_id, reply)
            .unwrap()
            .command(contracts::ids::CommandId(id));
        let sent = self
            .handle(testkit::received(&self.codec, &outgoing).await)
            .await?;
        Ok(types(&sent))
    }

    async fn ask(&self, request: axum::http::Request<axum::body::Body>) -> (StatusCode, Value) {
        use tower::ServiceExt;
        let routes = purchase_manager::http::routes(self.orchestrator.clone());
        let response = routes.oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn activate_with(&self, request: &ActivateVersion) -> (StatusCode, Value) {
        let body = axum::body::Body::from(serde_json::to_vec(request).unwrap());
        let request = axum::http::Request::post("/operator/definitions/purchase/activate")
            .header("content-type", "application/json")
            .body(body);
        self.ask(request.unwrap()).await
    }

    async fn activate(&self, version: i32, dry_run: bool) -> Result<Vec<String>, String> {
        let (status, body) = self.activate_with(&wish(version, dry_run)).await;
        match status {
            StatusCode::OK => Ok(serde_json::from_value::<VersionActivated>(body).unwrap().effects),
            StatusCode::UNPROCESSABLE_ENTITY => {
                Err(body["errors"][0]["message"].as_str().unwrap().to_owned())
            }
            other => panic!("{other}: {body}"),
        }
    }

    async fn shown(&self) -> contracts::operator::DefinitionView {
        let request = axum::http::Request::get("/operator/definitions").body(axum::body::Body::empty());
        let (_, body) = self.ask(request.unwrap()).await;
        let mut views: DefinitionViews = serde_json::from_value(body).unwrap();
        views.definitions.remove(0)
    }

    async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }
}

fn wish(version: i32, dry_run: bool) -> ActivateVersion {
    ActivateVersion {
        idempotency_key: contracts::ids::fresh(),
        version,
        actor: "ada".to_owned(),
        reason: "the release is out".to_owned(),
        dry_run,
    }
}

fn types(outgoing: &[Outgoing]) -> Vec<String> {
    outgoing
        .iter()
        .map(|message| message.message_type.rsplit('.').next().unwrap().to_owned())
        .collect()
}

async fn fresh() -> Database {
    Database::create("purchase-manager", &MIGRATOR).await
}

#[tokio::test]
async fn two_versions_live_side_by_side_through_a_rolling_upgrade() {
    let database = fresh().await;
    let old = Program::start(&database, VERSIONS).await.unwrap();
    let begun = tents();
    assert_eq!(
        old.submit(&begun).await.unwrap(),
        ["ValidateInventory", "PurchaseUpdated"]
    );

    // The new release comes beside the old one. Nothing changes by that: it starts purchases under the first version too.
    let new = Program::start(&database, BOTH).await.unwrap();
    let between = tents();
    assert_eq!(
        new.submit(&between).await.unwrap(),
        ["ValidateInventory", "PurchaseUpdated"]
    );
    // And an old instance goes on with what a new one began.
    let validated = contracts::consolidator::InventoryValidated {
        purchase_id: between.purchase_id,
    };
    assert_eq!(
        old.answer(&between, "validate-inventory", &validated)
            .await
            .unwrap(),
        ["ReserveProducts", "PurchaseUpdated"]
    );

    // While the old one is at work the second version is refused, and it is said who lacks it.
    let refused = new.activate(2, false).await.unwrap_err();
    let oldest = new.shown().await.instances[0].clone();
    assert_eq!(oldest.versions, [1]);
    assert!(refused.contains(&oldest.id.to_string()), "{refused}");
    assert_eq!(new.shown().await.active, 1);

    old.stop().await;
    let foretold = new.activate(2, true).await.unwrap();
    assert_eq!(new.shown().await.active, 1, "a dry run changes nothing");
    assert_eq!(new.activate(2, false).await.unwrap(), foretold);
    assert!(
        foretold.contains(&"2 open purchases go on with version 1".to_owned()),
        "{foretold:?}"
    );

    // New purchases follow the second version, open ones the first.
    let after = tents();
    assert_eq!(
        new.submit(&after).await.unwrap(),
        ["ReserveProducts", "PurchaseUpdated"]
    );
    let reserved = |purchase: &SubmitPurchase| ProductsReserved {
        purchase_id: purchase.purchase_id,
    };
    for purchase in [&between, &after] {
        assert_eq!(
            new.answer(purchase, "reserve-products", &reserved(purchase))
                .await
                .unwrap(),
            ["AuthorizePayment", "PurchaseUpdated"]
        );
    }
    let validated = contracts::consolidator::InventoryValidated {
        purchase_id: begun.purchase_id,
    };
    assert_eq!(
        new.answer(&begun, "validate-inventory", &validated)
            .await
            .unwrap(),
        ["ReserveProducts", "PurchaseUpdated"]
    );
    assert_eq!(
        new.number("select count(*) from saga where definition_version = 1")
            .await,
        2
    );
    assert_eq!(
        new.number("select count(*) from saga where definition_version = 2")
            .await,
        1
    );

    let shown = new.shown().await;
    let open: Vec<(i32, i64)> = shown
        .open
        .iter()
        .map(|open| (open.version, open.purchases))
        .collect();
    assert_eq!(open, [(1, 2), (2, 1)]);
    let last = &shown.activations[0];
    assert_eq!(
        (
            last.replaced,
            last.version,
            last.actor.as_str(),
            last.reason.as_str()
        ),
        (Some(1), 2, "ada", "the release is out")
    );
}

#[tokio::test]
async fn a_program_that_lacks_a_live_version_refuses_to_start_and_says_which_and_what_to_do() {
    let database = fresh().await;
    let new = Program::start(&database, BOTH).await.unwrap();
    let purchase = tents();
    assert_eq!(
        new.shown().await.active,
        2,
        "an empty database begins with the newest"
    );
    new.submit(&purchase).await.unwrap();

    // The release before: new purchases follow what it lacks.
    let refused = Program::start(&database, VERSIONS).await.err().unwrap();
    assert!(
        matches!(refused, LiveVersionError::Active { version: 2, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("belay saga activate"), "{refused}");

    // Back to the first version; one purchase still follows the second.
    new.activate(1, false).await.unwrap();
    let refused = Program::start(&database, VERSIONS).await.err().unwrap();
    assert!(
        matches!(
            refused,
            LiveVersionError::Open {
                version: 2,
                open: 1,
                ..
            }
        ),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("start a release that has it"),
        "{refused}"
    );
    assert_eq!(
        new.shown().await.instances.len(),
        1,
        "what is refused is not at work"
    );

    // It ends, and the release before can start.
    let refusal = contracts::product_admin::ReservationRejected {
        purchase_id: purchase.purchase_id,
        shortages: Vec::new(),
    };
    new.answer(&purchase, "reserve-products", &refusal).await.unwrap();
    assert_eq!(
        new.number("select count(*) from saga where standing = 'REJECTED'")
            .await,
        1
    );
    let old = Program::start(&database, VERSIONS).await.unwrap();
    assert_eq!(
        old.submit(&tents()).await.unwrap(),
        ["ValidateInventory", "PurchaseUpdated"],
        "the downgrade is complete"
    );

    // The one after it that has dropped the first version cannot, while a purchase follows that.
    let refused = Program::start(&database, SECOND_ALONE).await.err().unwrap();
    assert!(
        matches!(refused, LiveVersionError::Active { version: 1, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn what_has_ended_under_a_version_that_is_gone_is_still_shown_and_stops_nobody() {
    let database = fresh().await;
    let new = Program::start(&database, BOTH).await.unwrap();
    let purchase = tents();
    new.submit(&purchase).await.unwrap();
    let refusal = contracts::product_admin::ReservationRejected {
        purchase_id: purchase.purchase_id,
        shortages: Vec::new(),
    };
    new.answer(&purchase, "reserve-products", &refusal).await.unwrap();
    new.activate(1, false).await.unwrap();
    new.stop().await;

    let old = Program::start(&database, VERSIONS).await.unwrap();
    let uri = format!("/purchases?ids={}", purchase.purchase_id);
    let request = axum::http::Request::get(uri).body(axum::body::Body::empty());
    let (_, body) = old.ask(request.unwrap()).await;
    assert_eq!(body["purchases"][0]["state"], "REJECTED");
    assert_eq!(body["purchases"][0]["steps"], json!([]));
    // The edge asks again, and hears the end.
    assert_eq!(old.submit(&purchase).await.unwrap(), ["PurchaseUpdated"]);
    // A late reply is parked rather than waited for: the partition goes on.
    let late = PaymentAuthorized {
        purchase_id: purchase.purchase_id,
        payment_id: PaymentId::fresh(),
    };
    let fault = old
        .answer(&purchase, "authorize-payment", &late)
        .await
        .unwrap_err();
    assert!(!fault.is_transient(), "{fault}");
}

/// It hung for longer than a minute, so the activation did not count it. When it looks again it ends, and its work goes to others.
#[tokio::test]
async fn a_program_that_was_overlooked_ends_instead_of_holding_up_its_partitions() {
    let database = fresh().await;
    let old = Program::start(&database, VERSIONS).await.unwrap();
    let new = Program::start(&database, BOTH).await.unwrap();
    sqlx::query(
        "update saga_program set seen_at = seen_at - interval '61 seconds' where versions = array[1]",
    )
    .execute(&new.pool)
    .await
    .unwrap();
    new.activate(2, false).await.unwrap();
    let purchase = tents();
    let fault = old.submit(&purchase).await.unwrap_err();
    assert!(
        fault.is_transient(),
        "it does not park what it lacks a version for: {fault}"
    );
    let Program {
        rollout,
        orchestrator,
        ..
    } = old;
    let never = CancellationToken::new();
    let ended = rollout.unwrap().run(orchestrator, never).await.unwrap_err();
    assert!(ended.to_string().contains("version 2"), "{ended:#}");
    assert_eq!(new.shown().await.instances.len(), 1);
    new.submit(&purchase).await.unwrap();
}

#[tokio::test]
async fn an_activation_is_carried_out_once_for_its_key_and_needs_somebody_and_a_reason() {
    let database = fresh().await;
    let new = Program::start(&database, BOTH).await.unwrap();
    let back = wish(1, false);
    let (status, first) = new.activate_with(&back).await;
    assert_eq!(status, StatusCode::OK);
    new.activate(2, false).await.unwrap();
    let (status, again) = new.activate_with(&back).await;
    assert_eq!((status, again), (StatusCode::OK, first));
    assert_eq!(new.shown().await.active, 2, "the repetition did nothing");
    let other = ActivateVersion { version: 2, ..back };
    assert_eq!(
        new.activate_with(&other).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );

    let nobody = ActivateVersion {
        reason: " ".to_owned(),
        ..wish(1, false)
    };
    assert_eq!(new.activate_with(&nobody).await.0, StatusCode::BAD_REQUEST);
    let refused = new.activate(7, true).await.unwrap_err();
    assert!(refused.contains("Version 7"), "{refused}");
    let nothing = new.activate(2, false).await.unwrap();
    assert!(nothing[0].contains("already"), "{nothing:?}");
    assert_eq!(
        new.number("select count(*) from activation").await,
        3,
        "the first version, back, and forth"
    );
}

/// A program starts at the very moment: it sees the activation and refuses, or the activation sees it and is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_program_that_starts_while_a_version_is_activated_sees_it_or_is_seen() {
    let database = fresh().await;
    let new = Program::start(&database, BOTH).await.unwrap();
    let (mut refused_starts, mut refused_activations) = (0, 0);
    for _ in 0..25 {
        new.activate(1, false).await.unwrap();
        let (started, activated) = tokio::join!(Program::start(&database, VERSIONS), new.activate(2, false));
        match (&started, &activated) {
            (Err(_), Ok(_)) => refused_starts += 1,
            (Ok(_), Err(_)) => refused_activations += 1,
            (Ok(_), Ok(_)) => panic!("a version is active that a program at work lacks"),
            (Err(error), Err(refused)) => panic!("neither: {error}, {refused}"),
        }
        if let Ok(program) = started {
            program.stop().await;
        }
    }
    assert_eq!(refused_starts + refused_activations, 25);
}

#[test]
#[should_panic(expected = "from the oldest to the newest")]
fn versions_out_of_order_are_no_program() {
    let _ = Definitions::with(&[version_2, VERSIONS[0]], RetryPolicy::default());
}

#[tokio::test]
async fn instances_that_ended_without_a_word_do_not_count_after_a_minute() {
    let database = fresh().await;
    let killed = Program::start(&database, VERSIONS).await.unwrap();
    let new = Program::start(&database, BOTH).await.unwrap();
    drop(killed);
    assert!(new.activate(2, true).await.is_err(), "it may be slow only");
    sqlx::query("update saga_program set seen_at = now() - interval '61 seconds' where versions = array[1]")
        .execute(&new.pool)
        .await
        .unwrap();
    new.activate(2, false).await.unwrap();
    assert_eq!(new.shown().await.instances.len(), 1);
}
