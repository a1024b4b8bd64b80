//! Goal: any instance of a service tells of all of them, and of what waits. Method: the report's task on real PostgreSQL.

use std::time::Duration;

use mailbox::report;
use testkit::{Database, eventually};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_instance_is_counted_until_it_leaves_or_falls_silent() {
    let database = Database::create("mailbox", &sqlx::migrate::Migrator::DEFAULT).await;
    let pool = database.pool();
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let groups = || vec![("belay.reporting".to_owned(), "reporting.commands.v1")];
    let keep = |token: &CancellationToken| {
        tokio::spawn(report::keep(
            pool.clone(),
            "reporting",
            "1.2.3",
            groups(),
            token.clone(),
        ))
    };
    let (one, two) = (keep(&first), keep(&second));
    let instances = async |expected: i64| {
        eventually("so many instances report", SOON, async || {
            let rows: i64 = sqlx::query_scalar("select count(*) from instance")
                .fetch_one(&pool)
                .await
                .unwrap();
            (rows == expected).then_some(())
        })
        .await;
    };
    instances(2).await;
    let told = report::read(&pool, "reporting", "1.2.3").await.unwrap();
    assert_eq!((told.instances, told.version.as_str()), (2, "1.2.3"));
    assert_eq!(
        told.groups.len(),
        1,
        "one group of one topic, however many read it"
    );
    assert_eq!(
        (
            told.groups[0].members,
            told.groups[0].lag,
            told.groups[0].oldest_seconds
        ),
        (0, 0, None),
        "nobody has been given partitions"
    );
    assert_eq!(told.troubles, [""; 0]);

    second.cancel();
    two.await.unwrap().unwrap();
    instances(1).await;
    sqlx::query(
        "insert into instance (id, version, reads, seen_at)
         values (gen_random_uuid(), '1', '[]', now() - interval '40 seconds')",
    )
    .execute(&pool)
    .await
    .unwrap();
    let told = report::read(&pool, "reporting", "1.2.3").await.unwrap();
    assert_eq!(told.instances, 1, "who has been silent for long is not counted");

    sqlx::query(
        "insert into parked (id, consumer, topic, key, headers, cause, error_class, error)
         values (gen_random_uuid(), 'c', 't', 'k', '{}', 'failed', 'data', '-')",
    )
    .execute(&pool)
    .await
    .unwrap();
    let told = report::read(&pool, "reporting", "1.2.3").await.unwrap();
    assert_eq!(told.troubles, ["1 message waits for an operator"]);
    first.cancel();
    one.await.unwrap().unwrap();
}
