//! Goal: the first range is what the scenarios count on, and the neighbour in the database sees no more than it must.
//! Method: SQL as each role.

use product_admin::domain::level::Availability;

use super::*;

#[tokio::test]
async fn the_first_range_has_18_products_for_every_scenario() {
    let bench = Bench::new().await;
    for (query, expected) in [
        (
            "select count(*) from product where currency = 'EUR' and status = 'ACTIVE'",
            18,
        ),
        ("select count(*) from product where on_hand = 0", 3),
        ("select count(*) from product where on_hand = 10", 1),
        (
            "select count(*) from product where price_minor > 100000 and on_hand > 0",
            1,
        ),
        ("select count(*) from outbox", 0),
    ] {
        assert_eq!(bench.number(query).await, expected, "{query}");
    }
    bench.audit().await;
}

#[tokio::test]
async fn what_the_catalogue_is_told_of_the_first_range_is_true() {
    let bench = Bench::new().await;
    let products: Vec<(String, i32, String)> =
        sqlx::query_as("select sku, on_hand, availability from product")
            .fetch_all(&bench.pool)
            .await
            .unwrap();
    for (sku, on_hand, availability) in products {
        assert_eq!(availability, Availability::of(on_hand).as_str(), "{sku}");
    }
}

/// The consolidator's role gets its right by the migration, in the same database.
#[tokio::test]
async fn the_consolidator_sees_the_view_and_nothing_else() {
    static NOTHING: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;
    let database = Database::create_shared(&[(SERVICE, &MIGRATOR), ("consolidator", &NOTHING)]).await;
    let neighbour = database.pool_of("consolidator");
    let seen: i64 = sqlx::query_scalar("select count(*) from product_admin.product_for_validation")
        .fetch_one(&neighbour)
        .await
        .unwrap();
    assert_eq!(seen, 18);
    for statement in [
        "select id from product_admin.product",
        "select id from product_admin.product for update",
        "select * from product_admin.reservation",
        "select * from product_admin.outbox",
        "update product_admin.product set reserved = 0",
        "update product_admin.product_for_validation set price_minor = 1",
        "delete from product_admin.product_for_validation",
        "create table product_admin.mine ()",
    ] {
        let error = sqlx::query(statement).execute(&neighbour).await.unwrap_err();
        let state = error
            .as_database_error()
            .and_then(|e| e.code().map(|code| code.into_owned()));
        assert_eq!(state.as_deref(), Some("42501"), "{statement}: {error}");
    }
}
