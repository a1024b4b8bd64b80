use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::{
    edge::{Around, Edge, SOON, code},
    tokens::Key,
};

const VIEWER: &str = "{ viewer { name roles } }";

async fn edge() -> Edge {
    Around::new().await.with_products(&[]).await.start().await
}

async fn status(edge: &Edge, authorization: &str) -> (u16, Value) {
    let request = edge
        .http
        .post(edge.url("/graphql"))
        .header("authorization", authorization);
    let response = request.json(&json!({ "query": VIEWER })).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The answer to a token that must be refused: 401, a code, and words.
async fn refused(edge: &Edge, token: &str) -> String {
    let (status, answer) = status(edge, &format!("Bearer {token}")).await;
    assert_eq!(status, 401, "{answer}");
    assert_eq!(code(&answer), "UNAUTHENTICATED");
    assert!(answer.get("data").is_none(), "{answer}");
    answer["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_good_token_says_who_asks_and_roles_imply_the_lower_ones() {
    let edge = edge().await;
    let admin = edge.around.issuer.token("ada", &["offline_access", "admin"]);
    let answer = edge.ask(Some(&admin), VIEWER, json!({})).await;
    let roles = json!(["CUSTOMER", "OPERATOR", "ADMIN"]);
    assert_eq!(
        answer["data"]["viewer"],
        json!({ "name": "A Customer", "roles": roles })
    );
    edge.stop().await;
}

#[tokio::test]
async fn without_a_token_only_open_fields_are_answered() {
    let edge = edge().await;
    let answer = edge
        .ask(None, "{ viewer { name } products { nodes { id } } }", json!({}))
        .await;
    assert_eq!(code(&answer), "UNAUTHENTICATED");
    assert_eq!(
        answer["data"],
        json!({ "viewer": null, "products": { "nodes": [] } })
    );
    let no_role = edge.around.issuer.token("nora", &[]);
    assert_eq!(
        code(&edge.ask(Some(&no_role), VIEWER, json!({})).await),
        "FORBIDDEN"
    );
    edge.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_right_is_refused_with_what_to_do() {
    let edge = edge().await;
    let issuer = &edge.around.issuer;
    let good = issuer.claims("anna", &["customer"]);
    let now = jsonwebtoken::get_current_timestamp();
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.key.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        issuer.key.sign(&claims)
    };
    let cases = [
        (with("exp", json!(now - 31)), "expired"),
        (with("nbf", json!(now + 40)), "not valid yet"),
        (with("iss", json!("https://elsewhere.example")), "another issuer"),
        (with("aud", json!("other")), "another audience"),
        (without("exp"), "lacks `exp`"),
        (without("iss"), "lacks `iss`"),
        (without("aud"), "lacks `aud`"),
        (with("sub", json!("")), "lacks `sub`"),
        ("nonsense".to_owned(), "not a signed"),
        ("a.b.c".to_owned(), "not a signed"),
    ];
    for (token, words) in cases {
        let message = refused(&edge, &token).await;
        assert!(message.contains(words), "{words}: {message}");
    }
    // A clock that is a little off is no reason.
    let close = with("exp", json!(now - 20));
    assert_eq!(
        edge.ask(Some(&close), VIEWER, json!({})).await["data"]["viewer"]["name"],
        "A Customer"
    );
    assert_eq!(status(&edge, "Basic abc").await.0, 401);
    edge.stop().await;
}

#[tokio::test]
async fn neither_none_nor_a_shared_secret_nor_a_foreign_key_is_taken() {
    let edge = edge().await;
    let issuer = &edge.around.issuer;
    let claims = issuer.claims("anna", &["admin"]);

    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(issuer.key.id.clone());
    let secret = EncodingKey::from_secret(issuer.key.public_pem.as_bytes());
    let confused = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
    assert!(refused(&edge, &confused).await.contains("algorithm"));

    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!(
        "{}.{}.",
        part(&json!({ "alg": "none", "kid": issuer.key.id })),
        part(&claims)
    );
    assert!(refused(&edge, &unsigned).await.contains("not a signed"));

    let mut forger = Key::new();
    forger.id.clone_from(&issuer.key.id);
    assert!(
        refused(&edge, &forger.sign(&claims))
            .await
            .contains("not signed with a key")
    );

    let mut keyless = Header::new(Algorithm::HS256);
    keyless.kid = None;
    let keyless = jsonwebtoken::encode(&keyless, &claims, &secret).unwrap();
    refused(&edge, &keyless).await;
    edge.stop().await;
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once() {
    let edge = edge().await;
    let issuer = &edge.around.issuer;
    // The keys of the start are known.
    assert_eq!(
        edge.ask(Some(&edge.customer("anna")), VIEWER, json!({})).await["data"]["viewer"]["name"],
        "A Customer"
    );

    let next = Key::new();
    issuer.serve(&[&issuer.key, &next]).await;
    let rotated = next.sign(&issuer.claims("anna", &["customer"]));
    let asks = (0..8).map(|_| edge.ask(Some(&rotated), VIEWER, json!({})));
    for answer in futures::future::join_all(asks).await {
        assert_eq!(answer["data"]["viewer"]["name"], "A Customer", "{answer}");
    }
    assert_eq!(issuer.times_asked().await, 1);

    for _ in 0..5 {
        let made_up = Key::new().sign(&issuer.claims("anna", &["customer"]));
        refused(&edge, &made_up).await;
    }
    assert_eq!(
        issuer.times_asked().await,
        1,
        "made-up key ids must not become load on the issuer"
    );
    edge.stop().await;
}

#[tokio::test]
async fn keys_serve_while_the_issuer_is_away_and_without_any_the_client_may_come_again() {
    let around = Around::new().await.with_products(&[]).await;
    around.issuer.server.reset().await;
    let edge = around.start().await;
    let token = edge.customer("anna");
    let (code_away, answer) = status(&edge, &format!("Bearer {token}")).await;
    assert_eq!((code_away, code(&answer)), (503, "UNAVAILABLE"));
    assert_eq!(
        edge.ask(None, "{ products { nodes { id } } }", json!({})).await["errors"],
        Value::Null
    );

    let issuer = &edge.around.issuer;
    issuer.serve(&[&issuer.key]).await;
    testkit::eventually("the issuer's keys are fetched", SOON, async || {
        (status(&edge, &format!("Bearer {token}")).await.0 == 200).then_some(())
    })
    .await;
    issuer.server.reset().await;
    assert_eq!(status(&edge, &format!("Bearer {token}")).await.0, 200);
    edge.stop().await;
}

#[tokio::test]
async fn a_storm_of_made_up_keys_is_one_question_to_the_issuer() {
    let edge = edge().await;
    let issuer = &edge.around.issuer;
    let known = edge.customer("anna");
    assert_eq!(status(&edge, &format!("Bearer {known}")).await.0, 200);
    issuer.serve(&[&issuer.key]).await;
    let claims = issuer.claims("anna", &["customer"]);
    let made_up: Vec<_> = (0..100).map(|_| Key::new().sign(&claims)).collect();
    let asked = made_up.iter().map(|token| refused(&edge, token));
    for message in futures::future::join_all(asked).await {
        assert!(message.contains("not signed with a key"), "{message}");
    }
    assert_eq!(issuer.times_asked().await, 1);
    assert_eq!(status(&edge, &format!("Bearer {known}")).await.0, 200);
    edge.stop().await;
}

#[tokio::test]
async fn a_key_that_the_issuer_withdraws_counts_no_more_once_that_is_known() {
    let edge = edge().await;
    let issuer = &edge.around.issuer;
    let old = edge.customer("anna");
    assert_eq!(status(&edge, &format!("Bearer {old}")).await.0, 200);
    let next = Key::new();
    issuer.serve(&[&next]).await;
    // The first token of the new key makes the keys be fetched.
    let new = next.sign(&issuer.claims("anna", &["customer"]));
    assert_eq!(status(&edge, &format!("Bearer {new}")).await.0, 200);
    assert!(refused(&edge, &old).await.contains("not signed with a key"));
    edge.stop().await;
}

#[tokio::test]
async fn a_token_decides_neither_its_algorithm_nor_where_its_key_is() {
    let edge = edge().await;
    let issuer = &edge.around.issuer;
    let claims = issuer.claims("anna", &["admin"]);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = URL_SAFE_NO_PAD.encode([7; 64]);
    // Algorithms that are taken, but not with this key; and some that are not taken at all.
    for alg in ["RS256", "EdDSA", "ES384", "PS256", "HS512"] {
        let header = json!({ "alg": alg, "kid": issuer.key.id });
        let token = format!("{}.{}.{signature}", part(&header), part(&claims));
        assert!(refused(&edge, &token).await.contains("algorithm"), "{alg}");
    }
    // A forger who brings his own key, by address or by value, is not asked for it.
    let elsewhere = wiremock::MockServer::start().await;
    let forger = Key::new();
    for name in ["jku", "x5u"] {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(forger.id.clone());
        let address = Some(format!("{}/keys", elsewhere.uri()));
        match name {
            "jku" => header.jku = address,
            _ => header.x5u = address,
        }
        let token = forger.sign_with(&header, &claims);
        assert!(
            refused(&edge, &token).await.contains("not signed with a key"),
            "{name}"
        );
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(issuer.key.id.clone());
    header.jwk = Some(forger.public.clone());
    assert!(
        refused(&edge, &forger.sign_with(&header, &claims))
            .await
            .contains("not signed with a key")
    );
    edge.stop().await;
}
