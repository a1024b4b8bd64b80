use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use contracts::http::{MAX_IDS, Payments};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{World, authorize};

async fn get(world: &World, path: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = payments::http::routes(world.pool())
        .oneshot(request)
        .await
        .unwrap();
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
async fn payments_are_read_by_purchase_and_unknown_ones_are_absent() {
    let world = World::new().await;
    let (held, declined, other) = (authorize(2_550), authorize(100_001), authorize(1));
    for command in [&held, &declined, &other] {
        world.handle(&[world.authorize(command).await]).await.unwrap();
    }

    let unknown = authorize(1).purchase_id;
    let path = format!(
        "/payments?purchases={},{},{unknown}",
        held.purchase_id, declined.purchase_id
    );
    let (status, body) = get(&world, &path).await;

    assert_eq!(status, StatusCode::OK);
    let found: Payments = serde_json::from_slice(&body).unwrap();
    let [first, second] = found.payments.as_slice() else {
        panic!("two payments were expected: {found:?}")
    };
    assert_eq!(
        (first.purchase_id, first.state.as_str()),
        (held.purchase_id, "AUTHORIZED")
    );
    assert_eq!((first.amount_minor, first.currency), (2_550, held.currency));
    assert_eq!(
        (first.method_label.as_str(), &first.decline_message),
        ("Test card", &None)
    );
    assert_eq!(
        (second.purchase_id, second.state.as_str()),
        (declined.purchase_id, "DECLINED")
    );
    assert!(second.decline_message.is_some());
    let now: i64 = sqlx::query_scalar("select (extract(epoch from now()) * 1000000)::bigint")
        .fetch_one(&world.pool())
        .await
        .unwrap();
    assert!(
        (now - 60_000_000..=now).contains(&first.updated_at),
        "microseconds since 1970: {}",
        first.updated_at
    );
}

#[tokio::test]
async fn a_malformed_read_is_answered_with_what_to_do() {
    let world = World::new().await;
    let many = vec![Uuid::nil().to_string(); MAX_IDS + 1].join(",");
    for (path, words) in [
        ("/payments".to_owned(), "purchases"),
        ("/payments?purchases=7".to_owned(), "are UUIDs"),
        (format!("/payments?purchases={many}"), "ask for 200 at most"),
    ] {
        let (status, body) = get(&world, &path).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body.contains(words), "{body}");
    }
}
