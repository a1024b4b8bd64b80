use sqlx::{
    Connection, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use testkit::Database;

fn migrator(sql: &'static str) -> Migrator {
    let migration = Migration::new(
        1,
        "first".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![migration])
}

#[tokio::test]
async fn every_database_is_a_copy_of_its_own() {
    let migrator = migrator("create table thing (id integer primary key)");
    let (one, other) = (
        Database::create("orders", &migrator).await,
        Database::create("orders", &migrator).await,
    );
    sqlx::query("insert into thing values (1)")
        .execute(&one.pool())
        .await
        .unwrap();
    let count: i64 = sqlx::query_scalar("select count(*) from thing")
        .fetch_one(&other.pool())
        .await
        .unwrap();
    assert_eq!(count, 0);
    // The mailbox's tables are there too.
    let outbox: i64 = sqlx::query_scalar("select count(*) from outbox")
        .fetch_one(&one.pool())
        .await
        .unwrap();
    assert_eq!(outbox, 0);
}

#[tokio::test]
async fn other_migrations_make_another_template() {
    let first = Database::create("orders", &migrator("create table early (id integer)")).await;
    let second = Database::create("orders", &migrator("create table late (id integer)")).await;
    sqlx::query("select from early")
        .execute(&first.pool())
        .await
        .unwrap();
    sqlx::query("select from late")
        .execute(&second.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn services_that_share_a_database_see_only_what_they_were_granted() {
    let product_admin = migrator(
        "create table product (id integer); create view product_view as select id from product;
         grant usage on schema product_admin to belay_consolidator;
         grant select on product_view to belay_consolidator",
    );
    let consolidator = migrator("create table note (id integer)");
    let database =
        Database::create_shared(&[("product-admin", &product_admin), ("consolidator", &consolidator)]).await;
    let pool = database.pool_of("consolidator");
    sqlx::query("insert into note values (1)")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("select from product_admin.product_view")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("select from product_admin.product")
        .execute(&pool)
        .await
        .unwrap_err();
    sqlx::query("insert into product values (1)")
        .execute(&database.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_dropped_handle_takes_its_database_with_it() {
    let database = Database::empty("orders").await;
    let (url, admin_url) = (database.url(), database.admin_url());
    PgConnection::connect(&admin_url)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let mut open = PgConnection::connect(&url).await.unwrap();
    drop(database);
    open.ping().await.unwrap_err();
    let error = PgConnection::connect(&admin_url).await.unwrap_err();
    assert_eq!(
        error.as_database_error().and_then(|e| e.code()).as_deref(),
        Some("3D000"),
        "{error}"
    );
}
