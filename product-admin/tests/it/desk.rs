//! Goal: a write of staff happens once per idempotency key and leaves nothing behind when it is refused. Method: the
//! desk itself on a seeded database, also from many tasks at once.

use contracts::{
    http::{AdjustInventory, CreateProduct, Refusal, Restock, UpdateProduct},
    ids,
    money::{Currency, Money},
};
use product_admin::desk::DeskError;
use uuid::Uuid;

use super::*;

fn tent(sku: &str, initial_stock: i32) -> CreateProduct {
    CreateProduct {
        idempotency_key: ids::fresh(),
        actor: "anna".to_owned(),
        sku: sku.to_owned(),
        name: "Bivouac tent".to_owned(),
        description: None,
        price_minor: 19_900,
        currency: Currency::EUR,
        initial_stock,
    }
}

fn delivery(quantity: i32) -> Restock {
    Restock {
        idempotency_key: ids::fresh(),
        actor: "anna".to_owned(),
        quantity,
        reason: "Delivery 4711".to_owned(),
    }
}

/// The only refusal: its code, and the field that is to blame.
fn refused<T: std::fmt::Debug>(result: Result<T, DeskError>) -> (String, String) {
    match result.unwrap_err() {
        DeskError::Refused(refusals) => match refusals.as_slice() {
            [
                Refusal {
                    code,
                    field: Some(field),
                    retryable: false,
                    ..
                },
            ] => (code.clone(), field.join(".")),
            other => panic!("one refusal was expected: {other:?}"),
        },
        DeskError::Fault(fault) => panic!("a refusal was expected: {fault}"),
    }
}

fn refusal(code: &str, field: &str) -> (String, String) {
    (code.to_owned(), field.to_owned())
}

impl Bench {
    async fn traces(&self) -> (i64, i64) {
        (
            self.number("select count(*) from outbox").await,
            self.number("select count(*) from request").await,
        )
    }
}

#[tokio::test]
async fn a_new_product_is_for_sale_and_announced() {
    let bench = Bench::new().await;
    let product = bench.desk.create(&tent("BIVI", 7)).await.unwrap().product;
    assert_eq!(
        (
            product.status.as_str(),
            product.availability.as_str(),
            product.version
        ),
        ("ACTIVE", "IN_STOCK", 1)
    );
    let (topic, key): (String, String) = sqlx::query_as("select aggregatetype, aggregateid from outbox")
        .fetch_one(&bench.pool)
        .await
        .unwrap();
    assert_eq!(
        (topic.as_str(), key),
        ("product.events.v1", product.product_id.to_string())
    );
    assert_eq!(bench.level(product.product_id).await, (7, 0));
    bench.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_comes_many_times_at_once_makes_one_product() {
    let bench = Bench::new().await;
    let request = tent("BIVI", 7);
    let all = futures::future::join_all((0..10).map(|_| bench.desk.create(&request))).await;
    let ids: Vec<_> = all
        .into_iter()
        .map(|written| written.unwrap().product.product_id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(bench.number("select count(*) from product").await, 19);
    assert_eq!(bench.traces().await, (1, 1));
}

#[tokio::test]
async fn a_sku_is_given_once_and_the_refused_key_stays_free() {
    let bench = Bench::new().await;
    let request = tent("ROPE-60-95", 0);
    assert_eq!(
        refused(bench.desk.create(&request).await),
        refusal("DUPLICATE_SKU", "sku")
    );
    assert_eq!(bench.traces().await, (0, 0));
    let corrected = CreateProduct {
        sku: "BIVI".to_owned(),
        ..request
    };
    assert!(bench.desk.create(&corrected).await.is_ok());
}

#[tokio::test]
async fn a_restock_is_carried_out_once_per_key() {
    let bench = Bench::new().await;
    let request = delivery(3);
    let first = bench.desk.restock(seeded(ROPE), &request).await.unwrap();
    let again = bench.desk.restock(seeded(ROPE), &request).await.unwrap();
    assert_eq!(first.product, again.product);
    assert_eq!(bench.level(seeded(ROPE)).await, (503, 0));
    assert_eq!(bench.number("select count(*) from stock_movement").await, 1);

    let other = Restock {
        quantity: 4,
        ..request.clone()
    };
    let reused = refusal("IDEMPOTENCY_KEY_REUSED", "idempotencyKey");
    assert_eq!(refused(bench.desk.restock(seeded(ROPE), &other).await), reused);
    assert_eq!(
        refused(bench.desk.restock(seeded(FLEECE), &request).await),
        reused
    );
    bench.audit().await;
}

#[tokio::test]
async fn a_restock_is_announced_when_the_product_is_there_again() {
    let bench = Bench::new().await;
    let quiet = bench
        .desk
        .restock(seeded(ROPE), &delivery(1))
        .await
        .unwrap()
        .product;
    assert_eq!(
        (quiet.version, bench.traces().await.0),
        (1, 0),
        "the catalogue sees no difference"
    );
    let low = bench
        .desk
        .restock(seeded(BOOTS), &delivery(5))
        .await
        .unwrap()
        .product;
    assert_eq!((low.version, low.availability.as_str()), (2, "LOW_STOCK"));
    let high = bench
        .desk
        .restock(seeded(BOOTS), &delivery(1))
        .await
        .unwrap()
        .product;
    assert_eq!((high.version, high.availability.as_str()), (3, "IN_STOCK"));
    assert_eq!(bench.traces().await.0, 2);
}

#[tokio::test]
async fn a_restock_that_cannot_be_leaves_nothing_behind() {
    let bench = Bench::new().await;
    let all = [
        (seeded(ROPE), delivery(i32::MAX), refusal("INVALID", "quantity")),
        (seeded(ROPE), delivery(0), refusal("INVALID", "quantity")),
        (seeded(ROPE), delivery(-5), refusal("INVALID", "quantity")),
        (
            seeded(ROPE),
            Restock {
                reason: " ".to_owned(),
                ..delivery(1)
            },
            refusal("REQUIRED", "reason"),
        ),
        (
            ProductId(Uuid::nil()),
            delivery(1),
            refusal("NOT_FOUND", "productId"),
        ),
    ];
    for (product, request, expected) in all {
        assert_eq!(refused(bench.desk.restock(product, &request).await), expected);
    }
    assert_eq!(bench.traces().await, (0, 0));
    assert_eq!(bench.level(seeded(ROPE)).await, (500, 0));
}

fn correction(delta: i32, expected_version: i32) -> AdjustInventory {
    AdjustInventory {
        idempotency_key: ids::fresh(),
        actor: "anna".to_owned(),
        delta,
        expected_version,
        reason: "Counted on Monday".to_owned(),
    }
}

fn changes() -> UpdateProduct {
    UpdateProduct {
        idempotency_key: ids::fresh(),
        actor: "anna".to_owned(),
        expected_version: None,
        name: None,
        description: None,
        price: None,
        status: None,
    }
}

#[tokio::test]
async fn a_sku_is_taken_in_any_case() {
    let bench = Bench::new().await;
    let request = tent("rope-60-95", 0);
    assert_eq!(
        refused(bench.desk.create(&request).await),
        refusal("DUPLICATE_SKU", "sku")
    );
    assert!(bench.desk.create(&tent("Bivi", 1)).await.is_ok());
    assert_eq!(
        refused(bench.desk.create(&tent("BIVI", 1)).await),
        refusal("DUPLICATE_SKU", "sku")
    );
}

#[tokio::test]
async fn a_correction_is_carried_out_once_per_key_and_kept_with_its_reason() {
    let bench = Bench::new().await;
    let request = correction(-3, 1);
    let first = bench.desk.adjust(seeded(ROPE), &request).await.unwrap();
    let again = bench.desk.adjust(seeded(ROPE), &request).await.unwrap();
    assert_eq!(first.product, again.product);
    assert_eq!(bench.level(seeded(ROPE)).await, (497, 0));
    let (kind, delta, reason, actor): (String, i32, String, String) =
        sqlx::query_as("select kind, delta, reason, actor from stock_movement")
            .fetch_one(&bench.pool)
            .await
            .unwrap();
    assert_eq!(
        (kind.as_str(), delta, reason.as_str(), actor.as_str()),
        ("adjustment", -3, "Counted on Monday", "anna")
    );
    let reused = refusal("IDEMPOTENCY_KEY_REUSED", "idempotencyKey");
    let other = AdjustInventory {
        delta: -4,
        ..request.clone()
    };
    assert_eq!(refused(bench.desk.adjust(seeded(ROPE), &other).await), reused);
    assert_eq!(refused(bench.desk.adjust(seeded(FLEECE), &request).await), reused);
    bench.desk.adjust(seeded(ROPE), &correction(3, 2)).await.unwrap();
    assert_eq!(bench.level(seeded(ROPE)).await, (500, 0));
    bench.audit().await;
}

#[tokio::test]
async fn a_correction_that_cannot_be_leaves_nothing_behind() {
    let bench = Bench::new().await;
    let reserve = bench.reserve(purchase(1), &[(seeded(FLEECE), 8)]).await;
    bench.handle_until_done(&[reserve]).await;
    let before = bench.traces().await;
    let all = [
        (
            seeded(FLEECE),
            correction(-3, 1),
            refusal("INSUFFICIENT_STOCK", "delta"),
        ),
        (
            seeded(FLEECE),
            correction(-2, 7),
            refusal("VERSION_CONFLICT", "expectedVersion"),
        ),
        (seeded(FLEECE), correction(0, 1), refusal("INVALID", "delta")),
        (
            seeded(FLEECE),
            correction(i32::MAX, 1),
            refusal("INVALID", "delta"),
        ),
        (
            ProductId(Uuid::nil()),
            correction(1, 1),
            refusal("NOT_FOUND", "productId"),
        ),
    ];
    for (product, request, expected) in all {
        assert_eq!(refused(bench.desk.adjust(product, &request).await), expected);
    }
    assert_eq!(bench.traces().await, before);
    let sold_out = bench
        .desk
        .adjust(seeded(FLEECE), &correction(-2, 1))
        .await
        .unwrap();
    assert_eq!(sold_out.product.availability, "OUT_OF_STOCK");
    assert_eq!(
        bench.traces().await,
        (before.0 + 1, before.1 + 1),
        "it is announced"
    );
    bench.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_corrections_of_one_count_one_is_made() {
    let bench = Bench::new().await;
    let requests: Vec<_> = (1..=10).map(|delta| correction(delta, 1)).collect();
    let all = requests
        .iter()
        .map(|request| bench.desk.adjust(seeded(ROPE), request));
    let all = futures::future::join_all(all).await;
    let (made, late): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), late.len()), (1, 9));
    for one in late {
        assert_eq!(refused(one), refusal("VERSION_CONFLICT", "expectedVersion"));
    }
    bench.audit().await;
}

#[tokio::test]
async fn a_change_is_made_once_per_key_announced_and_noted() {
    let bench = Bench::new().await;
    let request = UpdateProduct {
        expected_version: Some(1),
        name: Some("Rope, tested".to_owned()),
        price: Some(Money::new(17_500, Currency::EUR)),
        status: Some("ARCHIVED".to_owned()),
        ..changes()
    };
    let product = bench.desk.update(seeded(ROPE), &request).await.unwrap().product;
    assert_eq!(
        (
            product.name.as_str(),
            product.price_minor,
            product.status.as_str(),
            product.version
        ),
        ("Rope, tested", 17_500, "ARCHIVED", 2)
    );
    assert!(product.description.is_some(), "what is not named stays");
    assert_eq!(
        bench.desk.update(seeded(ROPE), &request).await.unwrap().product,
        product
    );
    assert_eq!(bench.traces().await, (1, 1));
    let (actor, version): (String, i32) = sqlx::query_as("select actor, version from product_edit")
        .fetch_one(&bench.pool)
        .await
        .unwrap();
    assert_eq!((actor.as_str(), version), ("anna", 2));

    let same = UpdateProduct {
        status: Some("ARCHIVED".to_owned()),
        ..changes()
    };
    let same = bench.desk.update(seeded(ROPE), &same).await.unwrap().product;
    assert_eq!(same.version, 2, "nothing changes, nothing is announced");
    assert_eq!(bench.number("select count(*) from product_edit").await, 1);

    let reserve = bench.reserve(purchase(1), &[(seeded(ROPE), 1)]).await;
    bench.handle_until_done(&[reserve]).await;
    assert_eq!(
        bench.level(seeded(ROPE)).await.1,
        0,
        "nothing of it is sold any more"
    );
}

#[tokio::test]
async fn a_change_that_cannot_be_leaves_nothing_behind() {
    let bench = Bench::new().await;
    let named = |expected_version| UpdateProduct {
        expected_version,
        name: Some("Other".to_owned()),
        ..changes()
    };
    let all = [
        (
            seeded(ROPE),
            named(Some(7)),
            refusal("VERSION_CONFLICT", "expectedVersion"),
        ),
        (
            ProductId(Uuid::nil()),
            named(None),
            refusal("NOT_FOUND", "productId"),
        ),
        (
            seeded(ROPE),
            UpdateProduct {
                price: Some(Money::new(0, Currency::EUR)),
                ..changes()
            },
            refusal("INVALID", "price.amount"),
        ),
    ];
    for (product, request, expected) in all {
        assert_eq!(refused(bench.desk.update(product, &request).await), expected);
    }
    assert_eq!(bench.traces().await, (0, 0));
    assert_eq!(bench.number("select count(*) from product_edit").await, 0);
}

/// Deliveries and buyers at work together: every unit is accounted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_came_in_is_what_is_there() {
    let bench = Bench::new().await;
    let deliveries = (1..=20).map(|n| {
        let bench = &bench;
        async move { bench.desk.restock(seeded(FLEECE), &delivery(n)).await.unwrap() }
    });
    let buyers = (0..20).map(|n| {
        let bench = &bench;
        async move {
            let reserve = bench.reserve(purchase(n), &[(seeded(FLEECE), 3)]).await;
            bench.handle_until_done(&[reserve]).await;
            if n % 2 == 0 {
                let release = bench.release(purchase(n)).await;
                bench.handle_until_done(&[release]).await;
            }
        }
    });
    futures::future::join(
        futures::future::join_all(deliveries),
        futures::future::join_all(buyers),
    )
    .await;
    assert_eq!(bench.level(seeded(FLEECE)).await.0, 10 + (1..=20).sum::<i32>());
    bench.audit().await;
}
