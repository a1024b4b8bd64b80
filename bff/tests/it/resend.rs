use std::time::Duration;

use contracts::{ids::fresh, topics::PURCHASE_EVENTS};
use serde_json::json;
use sqlx::PgPool;
use testkit::eventually;
use uuid::Uuid;

use crate::edge::{Around, Edge, SOON, decoded, know_nothing, product, product_id, purchase};

async fn make_due(pool: &PgPool) {
    sqlx::query("update submission set next_send_at = now()")
        .execute(pool)
        .await
        .unwrap();
}

async fn put_off(pool: &PgPool) -> i32 {
    eventually("the resender has looked", SOON, async || {
        sqlx::query_scalar("select attempts from submission where next_send_at > now() + interval '5 s'")
            .fetch_optional(pool)
            .await
            .unwrap()
    })
    .await
}

async fn outbox(pool: &PgPool) -> Vec<Uuid> {
    sqlx::query_scalar("select id from outbox")
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn commands(pool: &PgPool) -> Vec<Uuid> {
    sqlx::query_scalar("select command_id from outbox where command_id is not null")
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn emptied(pool: &PgPool) {
    eventually("the relay sends the outbox", SOON, async || {
        outbox(pool).await.is_empty().then_some(())
    })
    .await;
}

async fn submitted(
    edge: &Edge,
    product: &contracts::product_admin::ProductChanged,
) -> contracts::ids::PurchaseId {
    let lines = json!([{ "productId": product_id(product), "quantity": 1 }]);
    let payload = edge.submit(&edge.customer("anna"), fresh(), lines).await;
    decoded(&payload["purchase"]["id"])
}

#[tokio::test]
async fn a_submission_is_sent_again_but_never_while_its_last_send_is_in_the_outbox() {
    let lamp = product("LAMP", 100);
    let around = Around::new()
        .await
        .with_products(std::slice::from_ref(&lamp))
        .await;
    know_nothing(&around).await;
    around.kafka.broker().down().unwrap();
    let edge = around.start().await;
    edge.catalogue_has(1).await;
    let pool = edge.pool();
    submitted(&edge, &lamp).await;
    let first = outbox(&pool).await;
    assert_eq!(first.len(), 1);

    make_due(&pool).await;
    assert_eq!(
        put_off(&pool).await,
        1,
        "a send that waits in the outbox is not counted"
    );
    assert_eq!(outbox(&pool).await, first);

    edge.around.kafka.broker().up().unwrap();
    emptied(&pool).await;
    edge.around.kafka.broker().down().unwrap();
    make_due(&pool).await;
    assert_eq!(put_off(&pool).await, 2);
    let second = outbox(&pool).await;
    assert_eq!(second.len(), 1);
    assert_ne!(second, first, "every send has a message id of its own");
    edge.around.kafka.broker().up().unwrap();
    emptied(&pool).await;
    edge.stop().await;
}

#[tokio::test]
async fn every_send_of_a_submission_is_the_same_command() {
    let lamp = product("LAMP", 100);
    let around = Around::new()
        .await
        .with_products(std::slice::from_ref(&lamp))
        .await;
    know_nothing(&around).await;
    around.kafka.broker().down().unwrap();
    let edge = around.start().await;
    edge.catalogue_has(1).await;
    let pool = edge.pool();
    let purchase = submitted(&edge, &lamp).await;
    assert_eq!(commands(&pool).await, [purchase.0]);

    edge.around.kafka.broker().up().unwrap();
    emptied(&pool).await;
    edge.around.kafka.broker().down().unwrap();
    make_due(&pool).await;
    put_off(&pool).await;
    assert_eq!(commands(&pool).await, [purchase.0]);
    edge.around.kafka.broker().up().unwrap();
    edge.stop().await;
}

#[tokio::test]
async fn an_acknowledged_submission_is_kept_for_a_day_and_not_sent_again() {
    let lamp = product("LAMP", 100);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    let pool = edge.pool();
    let id = submitted(&edge, &lamp).await;
    edge.publish(PURCHASE_EVENTS, id.0, &purchase(id, "anna", 1, "RUNNING"))
        .await;
    let kept: f64 = eventually("it is acknowledged", SOON, async || {
        sqlx::query_scalar(
            "select extract(epoch from expires_at - acknowledged_at)::float8 from submission
             where acknowledged_at is not null",
        )
        .fetch_optional(&pool)
        .await
        .unwrap()
    })
    .await;
    assert!((kept - 86_400.0).abs() < 1.0);
    emptied(&pool).await;
    make_due(&pool).await;
    // Two looks of the resender, during which nothing may be put off.
    let sent_again = tokio::time::timeout(Duration::from_millis(2_500), async {
        loop {
            if put_off(&pool).await > 1 {
                return;
            }
        }
    });
    assert!(sent_again.await.is_err());
    edge.stop().await;
}

#[tokio::test]
async fn only_acknowledged_submissions_expire() {
    let around = Around::new().await.with_products(&[]).await;
    let pool = around.database.pool();
    let insert =
        "insert into submission (purchase_id, customer_id, idempotency_key, request_hash, reference, lines,
            currency, total_minor, payment_method_token, home_delivery, submitted_at, trace, next_send_at,
            acknowledged_at, expires_at)
         values ($1, 'anna', $1, '', 'P-1', '[]', 'EUR', 0, 'tok_ok', false, now() - interval '1 year', '',
                 now() + interval '1 hour', $2::timestamptz, $2::timestamptz)";
    let (expired, kept, open) = (fresh(), fresh(), fresh());
    let times = [
        (expired, Some("2020-01-01 00:00:00Z")),
        (kept, Some("2999-01-01 00:00:00Z")),
        (open, None),
    ];
    for (id, at) in times {
        let insert = insert.replace("$2", &at.map_or("null".to_owned(), |at| format!("'{at}'")));
        sqlx::query(sqlx::AssertSqlSafe(insert))
            .bind(id)
            .execute(&pool)
            .await
            .unwrap();
    }
    let edge = around.start().await;
    let left = eventually("one has expired", SOON, async || {
        let left: Vec<Uuid> = sqlx::query_scalar("select purchase_id from submission order by purchase_id")
            .fetch_all(&pool)
            .await
            .unwrap();
        (left.len() < 3).then_some(left)
    })
    .await;
    let mut expected = vec![kept, open];
    expected.sort_unstable();
    assert_eq!(left, expected);
    edge.stop().await;
}
