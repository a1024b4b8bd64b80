//! Goal: the audit finds every violation of I1 to I11, and nothing in a system that is in order.
//! Method: databases with every service's tables, filled as the services would have left them; one fault is planted by
//! SQL, where a constraint stands in its way after that was dropped.

use std::time::Duration;

use belay::audit::{self, Options, Report};
use saga::Status;
use uuid::Uuid;

use crate::databases::{Databases, plant};

/// As on the command line, with a shorter pause between the looks: nothing moves here.
fn options() -> Options {
    Options {
        second_look_after: Duration::from_millis(10),
        ..Options::default()
    }
}

async fn look(databases: &Databases) -> Report {
    audit::run_on(&databases.urls(), &options()).await.unwrap()
}

/// Expects this invariant, and no other, to be violated.
async fn expect_only(databases: &Databases, invariant: &str, subject: &str) {
    let report = look(databases).await;
    assert_eq!(report.violated(), [invariant], "{}", report.table());
    assert!(!report.is_clean());
    let finding = report
        .invariants
        .iter()
        .find(|finding| finding.id == invariant)
        .unwrap();
    assert!(
        finding
            .examples
            .iter()
            .any(|example| example.subject.contains(subject)),
        "{}",
        report.table()
    );
}

#[tokio::test]
async fn a_system_in_order_is_clean() {
    let databases = Databases::create().await;
    databases.completed().await;
    databases.cancelled().await;
    databases.declined().await;
    databases.running().await;
    let report = look(&databases).await;
    assert!(report.is_clean(), "{}", report.table());
    let checked: Vec<_> = report
        .invariants
        .iter()
        .map(|finding| (finding.id, finding.checked))
        .collect();
    let expected = [
        ("I1", 18),
        ("I2", 18),
        ("I3", 4),
        ("I4", 3),
        ("I5", 1),
        ("I6", 4),
        ("I7", 2),
        ("I8", 0),
        ("I9", 7),
        ("I10", 4),
        ("I11", 3),
    ];
    assert_eq!(checked, expected);
    assert_eq!(
        (
            report.information.purchases,
            report.information.at_rest,
            report.information.open
        ),
        (4, 3, 1)
    );
}

#[tokio::test]
async fn i1_an_oversold_product_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    let pool = databases.product_admin();
    plant(
        &pool,
        "alter table product drop constraint product_not_oversold;
         update product set on_hand = 1, initial_on_hand = 1 where reserved > 0",
    )
    .await;
    expect_only(&databases, "I1", &put.product.to_string()).await;
}

#[tokio::test]
async fn i2_stock_from_nowhere_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(
        &databases.product_admin(),
        "update product set on_hand = on_hand + 1 where reserved > 0",
    )
    .await;
    expect_only(&databases, "I2", &put.product.to_string()).await;
}

#[tokio::test]
async fn i2_units_that_are_reserved_for_nobody_are_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(
        &databases.product_admin(),
        "update product set reserved = reserved + 1 where reserved > 0",
    )
    .await;
    expect_only(&databases, "I2", &put.product.to_string()).await;
}

#[tokio::test]
async fn i2_stock_that_came_and_went_with_a_movement_is_in_order() {
    let databases = Databases::create().await;
    databases.completed().await;
    plant(
        &databases.product_admin(),
        "insert into stock_movement (id, product_id, kind, delta, reason, actor, purchase_id)
         select gen_random_uuid(), p.id, m.kind, m.delta, 'test', 'test', gen_random_uuid()
         from product p, (values ('restock', 5), ('adjustment', -2), ('dispatch', -1)) as m (kind, delta)
         where p.reserved > 0;
         update product set on_hand = on_hand + 2 where reserved > 0",
    )
    .await;
    let report = look(&databases).await;
    assert!(report.is_clean(), "{}", report.table());
}

#[tokio::test]
async fn i3_a_purchase_that_takes_too_long_is_found_unless_it_is_parked() {
    let databases = Databases::create().await;
    let put = databases.running().await;
    plant(
        &databases.purchase_manager(),
        "update saga set created_at = now() - interval '601 seconds'",
    )
    .await;
    expect_only(&databases, "I3", &put.id.to_string()).await;
    databases
        .parked_message(&databases.orders(), &put.id.to_string())
        .await;
    let report = look(&databases).await;
    assert!(report.is_clean(), "{}", report.table());
}

#[tokio::test]
async fn i3_a_submission_that_never_became_a_saga_is_found() {
    let databases = Databases::create().await;
    let id = contracts::ids::fresh();
    databases.submission(id, contracts::ids::fresh()).await;
    plant(
        &databases.bff(),
        "update submission set acknowledged_at = null, expires_at = null, submitted_at = now() - interval '11 minutes'",
    )
    .await;
    expect_only(&databases, "I3", &id.to_string()).await;
}

#[tokio::test]
async fn i4_a_reservation_that_is_still_held_at_rest_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(
        &databases.product_admin(),
        "update reservation set state = 'held'",
    )
    .await;
    expect_only(&databases, "I4", &put.id.to_string()).await;
}

#[tokio::test]
async fn i4_a_completed_purchase_without_its_goods_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(
        &databases.product_admin(),
        "update reservation set state = 'released'; update product set reserved = 0",
    )
    .await;
    expect_only(&databases, "I4", &put.id.to_string()).await;
    plant(&databases.product_admin(), "delete from reservation").await;
    expect_only(&databases, "I4", &put.id.to_string()).await;
}

#[tokio::test]
async fn i4_units_that_are_held_for_an_unknown_purchase_are_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    let unknown = crate::databases::Put {
        id: contracts::ids::fresh(),
        ..put
    };
    databases.reservation(unknown, "held").await;
    expect_only(&databases, "I4", &unknown.id.to_string()).await;
}

#[tokio::test]
async fn i4_only_counts_what_is_at_rest_for_long_enough() {
    let databases = Databases::create().await;
    databases.completed().await;
    plant(
        &databases.product_admin(),
        "update reservation set state = 'held'",
    )
    .await;
    let at_work = Options {
        at_rest: Duration::from_secs(30),
        ..options()
    };
    let report = audit::run_on(&databases.urls(), &at_work).await.unwrap();
    assert!(report.is_clean(), "{}", report.table());
    plant(
        &databases.purchase_manager(),
        "update saga set updated_at = now() - interval '31 seconds'",
    )
    .await;
    let report = audit::run_on(&databases.urls(), &at_work).await.unwrap();
    assert_eq!(report.violated(), ["I4"], "{}", report.table());
}

#[tokio::test]
async fn i5_an_order_that_nobody_paid_for_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(&databases.payments(), "delete from payment").await;
    expect_only(&databases, "I5", &put.id.to_string()).await;
}

#[tokio::test]
async fn i5_a_completed_purchase_without_an_order_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(&databases.orders(), "delete from orders").await;
    expect_only(&databases, "I5", &put.id.to_string()).await;
}

#[tokio::test]
async fn i6_a_second_order_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(
        &databases.orders(),
        "alter table orders drop constraint orders_purchase_id_key",
    )
    .await;
    databases.order(put, "PLACED").await;
    expect_only(&databases, "I6", &put.id.to_string()).await;
}

#[tokio::test]
async fn i6_a_second_authorization_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(
        &databases.payments(),
        "alter table payment drop constraint payment_purchase_id_key",
    )
    .await;
    databases.payment(put, "AUTHORIZED").await;
    expect_only(&databases, "I6", &put.id.to_string()).await;
}

#[tokio::test]
async fn i6_a_reservation_of_more_than_was_bought_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(
        &databases.product_admin(),
        "alter table reservation drop constraint reservation_pkey",
    )
    .await;
    databases.reservation(put, "confirmed").await;
    expect_only(&databases, "I6", &put.id.to_string()).await;
}

#[tokio::test]
async fn i7_what_a_compensation_left_behind_is_found() {
    let databases = Databases::create().await;
    let unpaid = databases.cancelled().await;
    plant(&databases.payments(), "update payment set state = 'AUTHORIZED'").await;
    expect_only(&databases, "I7", &unpaid.id.to_string()).await;

    let databases = Databases::create().await;
    let ordered = databases.cancelled().await;
    databases.order(ordered, "PLACED").await;
    let report = look(&databases).await;
    // The order has no payment either.
    assert_eq!(report.violated(), ["I5", "I7"], "{}", report.table());

    let databases = Databases::create().await;
    let reserved = databases.accepted("REJECTED", &Status::Running).await;
    databases.reservation(reserved, "confirmed").await;
    expect_only(&databases, "I7", &reserved.id.to_string()).await;
}

#[tokio::test]
async fn i8_a_message_that_came_out_of_order_is_found() {
    for service in ["bff", "consolidator"] {
        let databases = Databases::create().await;
        let pool = if service == "bff" {
            databases.bff()
        } else {
            databases.consolidator()
        };
        plant(
            &pool,
            "insert into regression (consumer, message_id, stream, key, sequence)
             values ('belay.test', gen_random_uuid(), 'test purchase.events.v1', 'key', 7)",
        )
        .await;
        expect_only(&databases, "I8", service).await;
    }
}

#[tokio::test]
async fn i9_an_outbox_that_does_not_drain_is_found() {
    let databases = Databases::create().await;
    databases.waiting_message(&databases.payments()).await;
    expect_only(&databases, "I9", "payments/").await;
}

#[tokio::test]
async fn i10_an_acknowledged_key_without_a_saga_is_found() {
    let databases = Databases::create().await;
    let key = contracts::ids::fresh();
    databases.submission(contracts::ids::fresh(), key).await;
    let report = look(&databases).await;
    assert_eq!(report.violated(), ["I10"], "{}", report.table());
    assert_eq!(report.invariants[9].examples[0].subject, key.to_string());
}

#[tokio::test]
async fn i10_a_key_that_leads_to_another_customers_saga_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(&databases.bff(), "update submission set customer_id = 'bob'").await;
    let key = Uuid::from_u128(put.id.as_u128() ^ 1);
    expect_only(&databases, "I10", &key.to_string()).await;
}

#[tokio::test]
async fn i11_an_outcome_that_nobody_was_told_of_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(&databases.notifications(), "delete from notification").await;
    expect_only(&databases, "I11", &put.id.to_string()).await;
}

#[tokio::test]
async fn i11_an_outcome_that_was_told_twice_is_found() {
    let databases = Databases::create().await;
    let put = databases.completed().await;
    plant(
        &databases.notifications(),
        "alter table notification drop constraint notification_outcome",
    )
    .await;
    databases.notification(put, "COMPLETED").await;
    expect_only(&databases, "I11", &put.id.to_string()).await;
}

#[tokio::test]
async fn i11_an_outcome_that_is_none_is_found() {
    let databases = Databases::create().await;
    let put = databases.declined().await;
    databases.notification(put, "COMPLETED").await;
    expect_only(&databases, "I11", &put.id.to_string()).await;
}

#[tokio::test]
async fn the_audit_waits_until_every_outcome_has_its_notification() {
    let databases = Databases::create().await;
    databases.completed().await;
    plant(&databases.notifications(), "delete from notification").await;
    let hurried = Options {
        settle: Some(Duration::from_millis(50)),
        ..options()
    };
    let report = audit::run_on(&databases.urls(), &hurried).await.unwrap();
    let settled = report.settled.unwrap();
    assert_eq!((settled.in_time, settled.untold_outcomes), (false, 1));
}

#[tokio::test]
async fn what_an_operator_ended_by_word_is_told_and_not_checked() {
    let databases = Databases::create().await;
    databases.resolved().await;
    let report = look(&databases).await;
    assert!(report.is_clean(), "{}", report.table());
    assert_eq!(report.information.resolved_by_operators, 1);
    assert!(
        report.table().contains("1 ended by an operator's word"),
        "{}",
        report.table()
    );
}

#[tokio::test]
async fn what_waits_for_an_operator_is_told() {
    let databases = Databases::create().await;
    let put = databases.running().await;
    plant(
        &databases.purchase_manager(),
        "update saga set standing = 'STUCK'",
    )
    .await;
    databases.parked_message(&databases.orders(), "key").await;
    let report = look(&databases).await;
    assert!(report.is_clean(), "{}", report.table());
    assert_eq!(report.information.stuck, 1);
    assert_eq!(report.information.longest_stuck[0].purchase, put.id.to_string());
    assert_eq!(report.information.parked[0].service, "orders");
}

#[tokio::test]
async fn the_audit_waits_until_the_system_has_settled() {
    let databases = Databases::create().await;
    let put = databases.running().await;
    databases.waiting_message(&databases.purchase_manager()).await;
    let urls = databases.urls();
    let settle = Options {
        settle: Some(Duration::from_secs(60)),
        ..options()
    };
    let audit = tokio::spawn(async move { audit::run_on(&urls, &settle).await.unwrap() });
    // It ends as completed purchases end, a part at a time; the audit must wait for the last one.
    databases.reservation(put, "confirmed").await;
    databases.payment(put, "CAPTURED").await;
    databases.order(put, "PLACED").await;
    plant(
        &databases.purchase_manager(),
        "update saga set standing = 'COMPLETED', updated_at = now()",
    )
    .await;
    plant(&databases.purchase_manager(), "delete from outbox").await;
    databases.notification(put, "COMPLETED").await;
    let report = audit.await.unwrap();
    assert!(report.is_clean(), "{}", report.table());
    assert!(report.settled.unwrap().in_time);
}

#[tokio::test]
async fn a_system_that_does_not_settle_is_not_clean() {
    let databases = Databases::create().await;
    databases.running().await;
    let hurried = Options {
        settle: Some(Duration::from_millis(50)),
        ..options()
    };
    let report = audit::run_on(&databases.urls(), &hurried).await.unwrap();
    let settled = report.settled.unwrap();
    assert_eq!(
        (settled.in_time, settled.open_purchases, settled.waiting_messages),
        (false, 1, 0)
    );
    assert!(
        report.violated().is_empty() && !report.is_clean(),
        "{}",
        report.table()
    );
}

#[tokio::test]
async fn a_database_that_is_missing_is_named() {
    let databases = Databases::create().await;
    let mut urls = databases.urls();
    urls.remove("payments");
    let error = audit::run_on(&urls, &options()).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("--database-url payments="),
        "{error:#}"
    );
    urls.insert(
        "payments".to_owned(),
        "postgres://nobody:secret@127.0.0.1:1/none".to_owned(),
    );
    let error = format!("{:#}", audit::run_on(&urls, &options()).await.unwrap_err());
    assert!(
        error.contains("the database of payments cannot be reached"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}
