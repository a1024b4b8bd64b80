use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use contracts::http::{MAX_IDS, Orders};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{World, order};

async fn get(world: &World, path: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = orders::http::routes(world.pool()).oneshot(request).await.unwrap();
    let status = response.status();
    (
        status,
        axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap()
            .to_vec(),
    )
}

#[tokio::test]
async fn orders_are_read_by_purchase_and_unknown_ones_are_absent() {
    let world = World::new().await;
    let (first, second, other) = (order(), order(), order());
    for order in [&first, &second, &other] {
        world.handle(&[world.create(order).await]).await.unwrap();
    }
    world
        .handle(&[world.cancel(second.purchase_id).await])
        .await
        .unwrap();

    let unknown = order().purchase_id;
    let path = format!(
        "/orders?purchases={},{},{unknown}",
        first.purchase_id, second.purchase_id
    );
    let (status, body) = get(&world, &path).await;

    assert_eq!(status, StatusCode::OK);
    let found: Orders = serde_json::from_slice(&body).unwrap();
    let states: Vec<_> = found
        .orders
        .iter()
        .map(|o| (o.purchase_id, o.state.as_str()))
        .collect();
    assert_eq!(
        states,
        [(first.purchase_id, "PLACED"), (second.purchase_id, "CANCELLED")]
    );
    let [placed, _] = found.orders.as_slice() else {
        panic!("two orders were expected")
    };
    assert_eq!(
        (placed.total_minor, placed.currency, &placed.customer_id),
        (2_550, first.currency, &first.customer_id)
    );
    let now: i64 = sqlx::query_scalar("select (extract(epoch from now()) * 1000000)::bigint")
        .fetch_one(&world.pool())
        .await
        .unwrap();
    assert!(
        (now - 60_000_000..=now).contains(&placed.placed_at),
        "microseconds since 1970: {}",
        placed.placed_at
    );
}

#[tokio::test]
async fn a_customers_orders_are_read_newest_first_and_nobody_elses() {
    let world = World::new().await;
    let mut placed = Vec::new();
    for n in 0..4 {
        let mut content = order();
        content.customer_id.0 = if n == 1 { "bob" } else { "alice" }.to_owned();
        world.handle(&[world.create(&content).await]).await.unwrap();
        placed.push(content.purchase_id);
    }
    let read = async |path: &str| {
        let (status, body) = get(&world, path).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice::<Orders>(&body).unwrap().orders
    };
    let page = read("/orders?customer=alice&limit=2").await;
    let bought: Vec<_> = page.iter().map(|order| order.purchase_id).collect();
    assert_eq!(bought, [placed[3], placed[2]]);
    let path = format!("/orders?customer=alice&limit=2&before={}", page[1].order_id);
    let rest = read(&path).await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].purchase_id, placed[0]);
    assert!(read("/orders?customer=carl").await.is_empty());
}

#[tokio::test]
async fn a_malformed_read_is_answered_with_what_to_do() {
    let world = World::new().await;
    let many = vec![Uuid::nil().to_string(); MAX_IDS + 1].join(",");
    for (path, words) in [
        ("/orders".to_owned(), "purchases"),
        (format!("/orders?customer=a&purchases={}", Uuid::nil()), "either"),
        ("/orders?purchases=".to_owned(), "are UUIDs"),
        ("/orders?purchases=7".to_owned(), "are UUIDs"),
        (format!("/orders?purchases={many}"), "ask for 200 at most"),
    ] {
        let (status, body) = get(&world, &path).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body.contains(words), "{body}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_said() {
    let world = World::new().await;
    let pool = world.pool();
    pool.close().await;
    let (status, _) = get(&world, &format!("/orders?purchases={}", Uuid::nil())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}
