//! The change feed tells what no event told.

use contracts::purchase_manager::PurchaseUpdated;
use serde_json::json;
use wiremock::{
    Mock, Request, ResponseTemplate,
    matchers::{method, path},
};

use crate::world::World;

/// Has purchase-manager answer as it does: by time and id, from `since` on, and after `after`.
async fn feed_has(world: &World, told: Vec<PurchaseUpdated>) {
    world.purchase_manager.reset().await;
    let answer = move |request: &Request| {
        let query: std::collections::HashMap<_, _> = request.url.query_pairs().into_owned().collect();
        let since: i64 = query["since"].parse().unwrap();
        let after = query.get("after");
        let mut page: Vec<_> = told
            .iter()
            .filter(|one| match after {
                Some(after) => (one.updated_at, &one.purchase_id.to_string()) > (since, after),
                None => one.updated_at >= since,
            })
            .collect();
        page.sort_by_key(|one| (one.updated_at, one.purchase_id.to_string()));
        page.truncate(2);
        ResponseTemplate::new(200).set_body_json(json!({ "purchases": page }))
    };
    Mock::given(method("GET"))
        .and(path("/purchases/ended"))
        .respond_with(answer)
        .mount(&world.purchase_manager)
        .await;
}

#[tokio::test]
async fn what_the_topic_lost_is_found_in_the_feed() {
    let world = World::new().await;
    let mut told = Vec::new();
    for state in ["COMPLETED", "REJECTED", "CANCELLED", "COMPLETED", "COMPLETED"] {
        told.push(world.purchase(state).await);
    }
    world.hear(&told[..2]).await;
    feed_has(&world, told).await;
    let feed = world.feed();
    assert_eq!(
        feed.compare().await.unwrap(),
        3,
        "the first two were told by events"
    );
    assert_eq!(feed.compare().await.unwrap(), 0);
    assert_eq!(world.rows().await.len(), 5);
}

#[tokio::test]
async fn a_purchase_that_was_committed_later_than_it_is_dated_is_found() {
    let world = World::new().await;
    let early = world.purchase("COMPLETED").await;
    let late = world.purchase("COMPLETED").await;
    assert!(early.updated_at < late.updated_at);
    feed_has(&world, vec![late.clone()]).await;
    assert_eq!(world.feed().compare().await.unwrap(), 1);
    feed_has(&world, vec![early, late]).await;
    // Another instance, or the same after a restart, knows how far it was, and reaches back behind it.
    assert_eq!(world.feed().compare().await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_far_behind_is_not_read_again() {
    let world = World::new().await;
    feed_has(&world, vec![world.purchase("COMPLETED").await]).await;
    world.feed().compare().await.unwrap();
    let before = world.now_micros().await - 601_000_000;
    world.feed().compare().await.unwrap();
    let requests = world.purchase_manager.received_requests().await.unwrap();
    let second_round = &requests[requests.len() - 2];
    let since: i64 = second_round
        .url
        .query_pairs()
        .find_map(|(name, value)| (name == "since").then(|| value.parse().unwrap()))
        .unwrap();
    assert!(since >= before - 60_000_000, "{since}");
}

#[tokio::test]
async fn a_feed_that_does_not_answer_is_an_error_and_changes_nothing() {
    let world = World::new().await;
    assert!(world.feed().compare().await.is_err());
    assert!(world.rows().await.is_empty());
}
