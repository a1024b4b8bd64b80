use mailbox::request::{Claim, answer, claim, hash};
use serde_json::json;
use testkit::eventually;
use uuid::Uuid;

use crate::{LIMIT, bench::Bench};

const SCOPE: &str = "restock";

#[tokio::test]
async fn the_same_request_is_answered_the_same_and_another_with_its_key_is_refused() {
    let bench = Bench::new().await;
    let key = contracts::ids::fresh();
    let (request, other) = (
        hash(&json!({"quantity": 1})).unwrap(),
        hash(&json!({"quantity": 2})).unwrap(),
    );
    let mut tx = bench.pool().begin().await.unwrap();
    assert_eq!(claim(&mut tx, SCOPE, key, &request).await.unwrap(), Claim::Fresh);
    answer(&mut tx, SCOPE, key, &json!({"version": 2})).await.unwrap();
    tx.commit().await.unwrap();

    let mut connection = bench.pool().acquire().await.unwrap();
    let again = claim(&mut connection, SCOPE, key, &request).await.unwrap();
    assert_eq!(again, Claim::Repeated(json!({"version": 2})));
    assert_eq!(
        claim(&mut connection, SCOPE, key, &other).await.unwrap(),
        Claim::Reused
    );
    assert_eq!(
        claim(&mut connection, "another scope", key, &other)
            .await
            .unwrap(),
        Claim::Fresh
    );
    assert_eq!(
        claim(&mut connection, SCOPE, contracts::ids::fresh(), &other)
            .await
            .unwrap(),
        Claim::Fresh
    );
}

#[tokio::test]
async fn the_second_of_two_requests_at_once_waits_and_gets_the_first_ones_answer() {
    let bench = Bench::new().await;
    let key = contracts::ids::fresh();
    let mut first = bench.pool().begin().await.unwrap();
    assert_eq!(
        claim(&mut first, SCOPE, key, b"hash").await.unwrap(),
        Claim::Fresh
    );
    let second = second(&bench, key).await;

    answer(&mut first, SCOPE, key, &json!("done")).await.unwrap();
    first.commit().await.unwrap();

    assert_eq!(second.await.unwrap(), Claim::Repeated(json!("done")));
}

#[tokio::test]
async fn a_request_that_failed_leaves_its_key_to_the_next() {
    let bench = Bench::new().await;
    let key = contracts::ids::fresh();
    let mut first = bench.pool().begin().await.unwrap();
    claim(&mut first, SCOPE, key, b"hash").await.unwrap();
    let second = second(&bench, key).await;

    first.rollback().await.unwrap();

    assert_eq!(second.await.unwrap(), Claim::Fresh);
}

/// A second request with the key, which waits for the first one's end.
async fn second(bench: &Bench, key: Uuid) -> tokio::task::JoinHandle<Claim> {
    let pool = bench.pool();
    let second = tokio::spawn(async move {
        let mut connection = pool.acquire().await.unwrap();
        claim(&mut connection, SCOPE, key, b"hash").await.unwrap()
    });
    eventually("the second request waits", LIMIT, async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from pg_locks where not granted")
            .fetch_one(&bench.pool())
            .await
            .unwrap();
        (waiting > 0).then_some(())
    })
    .await;
    second
}
