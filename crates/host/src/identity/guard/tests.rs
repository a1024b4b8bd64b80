use axum::{
    Extension,
    routing::{get, post},
};
use tower::ServiceExt;

use super::*;
use crate::identity::{Identity, Known, PrivateKey, acting};

struct World {
    routes: Router,
    bff: Identity,
    notifications: Identity,
}

fn world() -> World {
    let (bff, notifications) = (PrivateKey::fresh(), PrivateKey::fresh());
    let known = [("bff", &bff), ("notifications", &notifications)].map(|(caller, key)| Known {
        caller: caller.to_owned(),
        key: key.public(),
    });
    let who = |Extension(admitted): Extension<Admitted>| async move {
        let acting = admitted
            .acting
            .map_or("nobody".to_owned(), |acting| acting.subject);
        format!("{} for {acting}", admitted.caller)
    };
    let routes = Router::new()
        .route("/purchases/ended", get(who))
        .route("/purchases/{id}/cancel", post(who));
    World {
        routes: Guard::new(Callers::new("purchase-manager", &known)).before(routes),
        bff: Identity::new("bff", &bff),
        notifications: Identity::new("notifications", &notifications),
    }
}

impl World {
    async fn ask(
        &self,
        who: Option<&Identity>,
        method: &str,
        path: &str,
        body: &str,
    ) -> (StatusCode, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::from(body.to_owned()))
            .unwrap();
        if let Some(identity) = who {
            identity.sign("purchase-manager", request.headers_mut()).unwrap();
        }
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        if status.is_client_error() && status != StatusCode::NOT_FOUND {
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "application/problem+json"
            );
        }
        let challenged = response.headers().contains_key(header::WWW_AUTHENTICATE);
        assert_eq!(challenged, status == StatusCode::UNAUTHORIZED);
        let body = to_bytes(response.into_body(), LARGEST_BODY).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn without_a_token_not_even_what_is_there_is_told() {
    let world = world();
    for path in ["/purchases/ended", "/nothing"] {
        let (status, body) = world.ask(None, "GET", path, "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(body.contains("Authorization: Bearer"), "{body}");
    }
    let (status, _) = world.ask(Some(&world.bff), "GET", "/nothing", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_caller_reaches_its_routes_and_no_others() {
    let world = world();
    let ended = world
        .ask(Some(&world.notifications), "GET", "/purchases/ended", "")
        .await;
    assert_eq!(ended, (StatusCode::OK, "notifications for nobody".to_owned()));
    let (status, body) = world
        .ask(Some(&world.notifications), "POST", "/purchases/1/cancel", "{}")
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("contracts::calls"), "{body}");
}

#[tokio::test]
async fn a_change_is_made_in_the_name_of_whom_the_caller_vouches_for() {
    let world = world();
    let alice = || {
        Some(Acting {
            subject: "alice".to_owned(),
            role: "customer".to_owned(),
        })
    };
    let cancel = |body: &'static str| world.ask(Some(&world.bff), "POST", "/purchases/1/cancel", body);
    let own = acting::scope(alice(), cancel(r#"{"customer_id":"alice"}"#)).await;
    assert_eq!(own, (StatusCode::OK, "bff for alice".to_owned()));
    for body in [r#"{"customer_id":"bob"}"#, r#"{"actor":"bob"}"#] {
        assert_eq!(
            acting::scope(alice(), cancel(body)).await.0,
            StatusCode::FORBIDDEN
        );
    }
    // Nobody vouches for her.
    assert_eq!(
        cancel(r#"{"customer_id":"alice"}"#).await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_body_without_end_is_not_read() {
    let world = world();
    let (status, _) = world
        .ask(
            Some(&world.bff),
            "POST",
            "/purchases/1/cancel",
            &" ".repeat(LARGEST_BODY + 1),
        )
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}
