//! Provisioning by an administrator that is no superuser, as Cloud SQL's `postgres` is none: it may make roles and databases, and
//! nothing else.

use belay::provision;
use sqlx::{Connection, PgConnection};
use test_postgres::PrivateServer;
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "0123456789abcdef0123456789abcdef";

// On a server of its own: the services' roles are the same for every system on a server, and here somebody else makes them.
#[tokio::test]
async fn an_administrator_that_is_no_superuser_provisions_twice() {
    let server = PrivateServer::start().await.unwrap();
    let mut superuser = PgConnection::connect(&format!("{}/postgres", server.url()))
        .await
        .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "create role manager login createrole createdb password '{PASSWORD}'"
    )))
    .execute(&mut superuser)
    .await
    .unwrap();
    let address = server.url().split_once('@').unwrap().1.to_owned();
    let manager = format!("postgres://manager:{PASSWORD}@{address}/postgres");

    // And once more, as every upgrade does: with the services' tables there.
    for _ in 0..2 {
        let urls = provision::provision_with(&manager, "belay_", |_| PASSWORD.to_owned())
            .await
            .unwrap();
        let reading = provision::provision_audit(&manager, "belay_", PASSWORD)
            .await
            .unwrap();
        for (service, migrator) in super::databases::services() {
            let pool = host::database::open(&urls[service], service, 2, migrator, &CancellationToken::new())
                .await
                .unwrap();
            pool.close().await;
            let options = host::database::options(&reading[service], service).unwrap();
            let mut connection = PgConnection::connect_with(&options).await.unwrap();
            let readable: bool = sqlx::query_scalar("select has_table_privilege('inbox', 'select')")
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert!(readable, "{service}");
            connection.close().await.unwrap();
        }
    }

    let powerful: i64 = sqlx::query_scalar(
        "select count(*) from pg_roles where rolname like 'belay\\_%' and (rolsuper or rolcreaterole or rolcreatedb or not rolcanlogin)",
    )
    .fetch_one(&mut superuser)
    .await
    .unwrap();
    assert_eq!(powerful, 0);
    superuser.close().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_role_of_a_service_that_was_a_superuser_is_none_afterwards() {
    let server = PrivateServer::start().await.unwrap();
    let admin = format!("{}/postgres", server.url());
    let mut superuser = PgConnection::connect(&admin).await.unwrap();
    sqlx::raw_sql("create role belay_orders superuser")
        .execute(&mut superuser)
        .await
        .unwrap();
    provision::provision_with(&admin, "belay_", |_| PASSWORD.to_owned())
        .await
        .unwrap();
    let left: bool = sqlx::query_scalar("select rolsuper from pg_roles where rolname = 'belay_orders'")
        .fetch_one(&mut superuser)
        .await
        .unwrap();
    assert!(!left);
    superuser.close().await.unwrap();
    server.stop().await;
}
