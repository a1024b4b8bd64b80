//! Goal: whoever holds units for longer than they should be held is told to let go, or not told at all; the saga decides, never
//! a clock. Method: `ReservationExpired` as product-admin sends it, to sagas in every state, on real PostgreSQL.

use std::time::Duration;

use contracts::{
    Message,
    consolidator::InventoryValidated,
    ids::{CommandId, OrderId, PaymentId, PurchaseId},
    orders::OrderCreated,
    payments::{PaymentAuthorized, PaymentCaptured, PaymentVoided},
    product_admin::{
        ProductsReleased, ProductsReserved, ReleaseProducts, ReservationConfirmed, ReservationExpired,
    },
    purchase_manager::SubmitPurchase,
    topics,
};
use mailbox::{Outgoing, Received};
use saga::{Direction, MAX_SENDS, RetryPolicy};

use crate::{
    orchestrator::{Bench, bench},
    purchase::tents,
};

impl Bench {
    /// product-admin asks.
    pub async fn expired(&self, purchase_id: PurchaseId) -> Received {
        let question = ReservationExpired {
            purchase_id,
            expired_at: 1_700_000_000_000_000,
            asked: 1,
        };
        let outgoing = self
            .codec
            .outgoing(topics::PURCHASE_COMMANDS, purchase_id, &question)
            .unwrap()
            .command(CommandId(purchase_id.0));
        testkit::received(&self.codec, &outgoing).await
    }

    /// A participant answers the command of a step.
    pub async fn answered<M: Message>(
        &self,
        purchase: &SubmitPurchase,
        step: &str,
        direction: Direction,
        reply: &M,
    ) -> Received {
        let id = saga::command_id(purchase.purchase_id.0, step, direction);
        let outgoing = self
            .codec
            .outgoing(topics::PURCHASE_REPLIES, purchase.purchase_id, reply)
            .unwrap()
            .command(CommandId(id));
        testkit::received(&self.codec, &outgoing).await
    }

    /// Submits, and lets everybody agree until the step after `reserve-products` is commanded.
    pub async fn reserved(&self, purchase: &SubmitPurchase) {
        let purchase_id = purchase.purchase_id;
        let forward = Direction::Forward;
        let batch = [
            self.submit(purchase).await,
            self.answered(
                purchase,
                "validate-inventory",
                forward,
                &InventoryValidated { purchase_id },
            )
            .await,
            self.answered(
                purchase,
                "reserve-products",
                forward,
                &ProductsReserved { purchase_id },
            )
            .await,
        ];
        self.handle(&batch).await.unwrap();
    }

    /// Lets everybody agree to the end.
    pub async fn complete(&self, purchase: &SubmitPurchase) {
        self.reserved(purchase).await;
        let purchase_id = purchase.purchase_id;
        let payment_id = PaymentId::fresh();
        let forward = Direction::Forward;
        let authorized = PaymentAuthorized {
            purchase_id,
            payment_id,
        };
        let created = OrderCreated {
            purchase_id,
            order_id: OrderId::fresh(),
            number: "O-1".to_owned(),
        };
        let captured = PaymentCaptured {
            purchase_id,
            payment_id,
        };
        let confirmed = ReservationConfirmed { purchase_id };
        let batch = [
            self.answered(purchase, "authorize-payment", forward, &authorized)
                .await,
            self.answered(purchase, "create-order", forward, &created).await,
            self.answered(purchase, "confirm-reservation", forward, &confirmed)
                .await,
            self.answered(purchase, "capture-payment", forward, &captured)
                .await,
        ];
        self.handle(&batch).await.unwrap();
    }

    async fn answers(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select body->'body'->>'answer' from saga_event where kind = 'hold_expired' order by seq",
        )
        .fetch_all(&self.pool())
        .await
        .unwrap()
    }
}

fn released(outgoing: &[Outgoing]) -> Vec<Option<CommandId>> {
    let release = ReleaseProducts::message_type().name;
    outgoing
        .iter()
        .filter(|message| message.message_type == release)
        .map(|message| message.command_id)
        .collect()
}

#[tokio::test]
async fn a_running_and_a_completed_saga_keep_what_is_held_and_write_it_down() {
    let bench = bench().await;
    let (running, completed) = (tents(), tents());
    bench.reserved(&running).await;
    bench.complete(&completed).await;
    for purchase in [&running, &completed] {
        let outgoing = bench
            .handle(&[bench.expired(purchase.purchase_id).await])
            .await
            .unwrap();
        assert!(outgoing.is_empty(), "{outgoing:?}");
    }
    assert_eq!(bench.answers().await, ["kept", "kept"]);
}

#[tokio::test]
async fn a_compensating_and_a_compensated_saga_send_the_release_again_under_the_same_command() {
    let bench = bench().await;
    let purchase = tents();
    let purchase_id = purchase.purchase_id;
    let back = Direction::Compensation;
    bench.reserved(&purchase).await;
    bench.cancel(&purchase, "alice").await;

    // The payment in doubt comes first: the release is to come by itself.
    let outgoing = bench.handle(&[bench.expired(purchase_id).await]).await.unwrap();
    assert!(outgoing.is_empty());
    let voided = PaymentVoided { purchase_id };
    let voided = bench
        .answered(&purchase, "authorize-payment", back, &voided)
        .await;
    let first = released(&bench.handle(&[voided]).await.unwrap());
    assert_eq!(first.len(), 1);

    // It is under way, and is sent again.
    let again = bench.handle(&[bench.expired(purchase_id).await]).await.unwrap();
    assert_eq!(
        released(&again),
        first,
        "so that it is done once, however often it comes"
    );
    assert_eq!(again.len(), 1, "the customer is told nothing: {again:?}");

    let all = [
        bench
            .answered(
                &purchase,
                "reserve-products",
                back,
                &ProductsReleased { purchase_id },
            )
            .await,
        bench
            .answered(
                &purchase,
                "validate-inventory",
                back,
                &contracts::consolidator::ValidationCancelled { purchase_id },
            )
            .await,
    ];
    bench.handle(&all).await.unwrap();
    assert_eq!(
        bench
            .count("select count(*) from saga where standing = 'CANCELLED'")
            .await,
        1
    );

    // product-admin still holds them, as after a restored backup: the ended saga sends it again, and waits for nothing.
    let again = bench.handle(&[bench.expired(purchase_id).await]).await.unwrap();
    assert_eq!(released(&again), first);
    assert_eq!(bench.count("select count(*) from saga_timer").await, 0);
    assert_eq!(
        bench.answers().await,
        ["rollback_to_come", "rolled_back_again", "rolled_back_again"]
    );
}

#[tokio::test]
async fn a_saga_that_waits_for_an_operator_keeps_what_is_held_on_its_way_forward() {
    let bench = bench().await;
    let purchase = tents();
    bench.reserved(&purchase).await;
    let authorized = PaymentAuthorized {
        purchase_id: purchase.purchase_id,
        payment_id: PaymentId::fresh(),
    };
    let authorized = bench
        .answered(&purchase, "authorize-payment", Direction::Forward, &authorized)
        .await;
    bench.handle(&[authorized]).await.unwrap();
    bench.spend_the_budget().await;
    assert_eq!(
        bench
            .count("select count(*) from saga where standing = 'STUCK'")
            .await,
        1
    );
    let outgoing = bench
        .handle(&[bench.expired(purchase.purchase_id).await])
        .await
        .unwrap();
    assert!(outgoing.is_empty());
    assert_eq!(bench.answers().await, ["kept"]);
}

#[tokio::test]
async fn a_question_about_a_saga_that_was_lost_is_a_fault_that_parks_it_alone() {
    let bench = bench().await;
    let (lost, known) = (tents(), tents());
    bench.reserved(&lost).await;
    bench.reserved(&known).await;
    for table in ["saga_event", "saga_timer"] {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "delete from {table} where saga_id = $1"
        )))
        .bind(lost.purchase_id.0)
        .execute(&bench.pool())
        .await
        .unwrap();
    }
    sqlx::query("delete from saga where id = $1")
        .bind(lost.purchase_id.0)
        .execute(&bench.pool())
        .await
        .unwrap();
    let question = bench.expired(lost.purchase_id).await;
    let fault = bench.handle(std::slice::from_ref(&question)).await.unwrap_err();
    assert!(!fault.is_transient(), "{fault}");
    assert!(
        fault.to_string().contains(&lost.purchase_id.to_string()),
        "{fault}"
    );
    // In a batch the consumer finds out which one it is; the others are answered.
    let both = [question, bench.expired(known.purchase_id).await];
    assert!(!bench.handle(&both).await.unwrap_err().is_transient());
    bench.handle(&both[1..]).await.unwrap();
    assert_eq!(bench.answers().await, ["kept"]);
}

#[tokio::test]
async fn units_that_a_saga_never_had_are_looked_at_by_a_person() {
    let bench = bench().await;
    // Cancelled before it was submitted: it never commanded anybody.
    let (early, submitted) = (tents(), tents());
    bench.cancel(&early, "alice").await;
    bench.cancel(&submitted, "alice").await;
    bench.handle(&[bench.submit(&submitted).await]).await.unwrap();
    for purchase in [&early, &submitted] {
        let fault = bench
            .handle(&[bench.expired(purchase.purchase_id).await])
            .await
            .unwrap_err();
        assert!(!fault.is_transient(), "{fault}");
    }
}

#[tokio::test]
async fn a_question_about_a_hold_is_no_change_of_the_purchase() {
    let bench = bench().await;
    let purchase = tents();
    bench.reserved(&purchase).await;
    sqlx::query("update saga set updated_at = updated_at - interval '1 hour'")
        .execute(&bench.pool())
        .await
        .unwrap();
    let seen = "select (extract(epoch from updated_at) * 1000000)::bigint + version from saga";
    let before = bench.count(seen).await;
    bench
        .handle(&[bench.expired(purchase.purchase_id).await])
        .await
        .unwrap();
    assert_eq!(
        bench.count(seen).await,
        before,
        "neither its version nor its time"
    );
    let reply = PaymentAuthorized {
        purchase_id: purchase.purchase_id,
        payment_id: PaymentId::fresh(),
    };
    let reply = bench
        .answered(&purchase, "authorize-payment", Direction::Forward, &reply)
        .await;
    bench.handle(&[reply]).await.unwrap();
    let moved = "select count(*) from saga where updated_at > now() - interval '1 minute'";
    assert_eq!(bench.count(moved).await, 1);
}

/// The question meets the confirmation's reply, in both orders: the units are kept, and the purchase completes.
#[tokio::test]
async fn a_question_that_crosses_the_confirmation_changes_nothing() {
    for question_first in [true, false] {
        let bench = bench().await;
        let purchase = tents();
        bench.complete(&purchase).await;
        // The two last replies once more, with the question before, between or behind.
        let confirmed = ReservationConfirmed {
            purchase_id: purchase.purchase_id,
        };
        let confirmed = bench
            .answered(&purchase, "confirm-reservation", Direction::Forward, &confirmed)
            .await;
        let question = bench.expired(purchase.purchase_id).await;
        let batch = if question_first {
            [question, confirmed]
        } else {
            [confirmed, question]
        };
        assert!(bench.handle(&batch).await.unwrap().is_empty());
        assert_eq!(
            bench
                .count("select count(*) from saga where standing = 'COMPLETED'")
                .await,
            1
        );
        assert_eq!(bench.answers().await, ["kept"]);
    }
}

/// Every budget of every step spent, forward and back, is less than the time for which units are held before anybody asks.
#[test]
fn a_reservation_outlives_the_slowest_saga() {
    let policy = RetryPolicy::default();
    let id = uuid::Uuid::from_u128(1);
    let definition = purchase_manager::purchase_saga::purchase_saga(policy).unwrap();
    // A wait is jittered within its bounds; the cap is the longest.
    let longest = |step: &str, direction| -> Duration {
        (1..=MAX_SENDS)
            .map(|nth| policy.wait(id, step, direction, nth).max(Duration::from_secs(30)))
            .sum()
    };
    let slowest: Duration = definition
        .outline()
        .map(|step| {
            let back = if step.can_roll_back {
                longest(step.name.as_str(), Direction::Compensation)
            } else {
                Duration::ZERO
            };
            longest(step.name.as_str(), Direction::Forward) + back
        })
        .sum();
    let held = Duration::from_secs(product_admin::config::RESERVATION_TTL_SECONDS.into());
    assert!(slowest < held, "{slowest:?} against {held:?}");
}
