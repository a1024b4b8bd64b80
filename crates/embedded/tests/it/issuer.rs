use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use embedded::issuer::{Claims, Issuer, mint};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::Value;
use tempfile::tempdir;
use tokio_util::sync::CancellationToken;

use crate::ANYWHERE;

#[tokio::test]
async fn a_token_verifies_by_discovery_alone() {
    let directory = tempdir().unwrap();
    let issuer = start(directory.path()).await;
    let now = system_time();
    let token = mint(directory.path(), &claims(issuer.url()), now).unwrap();

    let discovery = get(&format!("{}/.well-known/openid-configuration", issuer.url())).await;
    assert_eq!(discovery["issuer"], issuer.url());
    let body = verified(&token, discovery["jwks_uri"].as_str().unwrap(), issuer.url())
        .await
        .unwrap();
    assert_eq!(body["sub"], "customer-1");
    assert_eq!(body["name"], "A Customer");
    assert_eq!(body["email"], "customer@example.com");
    assert_eq!(body["realm_access"]["roles"], serde_json::json!(["customer"]));
    assert_eq!(body["iat"], now.timestamp());
    assert_eq!(body["nbf"], now.timestamp());
    assert_eq!(body["exp"], (now + TimeDelta::seconds(60)).timestamp());
    issuer.stop().await;
}

#[tokio::test]
async fn a_token_of_another_key_or_time_is_refused() {
    let (directory, other) = (tempdir().unwrap(), tempdir().unwrap());
    let issuer = start(directory.path()).await;
    let jwks = format!("{}/jwks", issuer.url());
    let forged = mint(other.path(), &claims(issuer.url()), system_time()).unwrap();
    assert!(verified(&forged, &jwks, issuer.url()).await.is_none());
    let old = system_time() - TimeDelta::hours(1);
    let expired = mint(directory.path(), &claims(issuer.url()), old).unwrap();
    assert!(verified(&expired, &jwks, issuer.url()).await.is_none());
}

#[tokio::test]
async fn tokens_stay_valid_over_a_restart() {
    let directory = tempdir().unwrap();
    let first = start(directory.path()).await;
    let url = first.url().to_owned();
    let token = mint(directory.path(), &claims(&url), system_time()).unwrap();
    first.stop().await;

    let second = start(directory.path()).await;
    assert!(
        verified(&token, &format!("{}/jwks", second.url()), &url)
            .await
            .is_some()
    );
}

#[tokio::test]
async fn the_key_is_for_its_owner_alone_and_never_served() {
    let directory = tempdir().unwrap();
    let data = directory.path().join("issuer");
    let issuer = start(&data).await;
    let key = data.join("issuer-key.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(&data).unwrap().count(),
        1,
        "no draft of the key is left"
    );
    let jwks = get(&format!("{}/jwks", issuer.url())).await;
    let fields: HashSet<&str> = jwks["keys"][0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        fields,
        HashSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"])
    );

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = mint(&data, &claims(issuer.url()), system_time()).unwrap_err();
    assert!(format!("{error:#}").contains("chmod 600"), "{error:#}");
}

#[tokio::test]
async fn nothing_listens_beyond_this_machine() {
    let directory = tempdir().unwrap();
    let everywhere = "0.0.0.0:0".parse().unwrap();
    assert!(
        Issuer::start(directory.path(), everywhere, &CancellationToken::new())
            .await
            .is_err()
    );
}

async fn start(directory: &Path) -> Issuer {
    Issuer::start(directory, ANYWHERE, &CancellationToken::new())
        .await
        .unwrap()
}

fn claims(issuer: &str) -> Claims {
    Claims {
        issuer: issuer.to_owned(),
        audience: "belay".to_owned(),
        subject: "customer-1".to_owned(),
        name: "A Customer".to_owned(),
        email: "customer@example.com".to_owned(),
        roles: vec!["customer".to_owned()],
        lifetime: Duration::from_secs(60),
    }
}

async fn get(url: &str) -> Value {
    reqwest::get(url)
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
        .json()
        .await
        .unwrap()
}

/// The token's body, if a service that trusts this JWKS accepts it.
async fn verified(token: &str, jwks: &str, issuer: &str) -> Option<Value> {
    let keys: JwkSet = serde_json::from_value(get(jwks).await).unwrap();
    let key = keys.find(&decode_header(token).unwrap().kid?)?.clone();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&["belay"]);
    validation.validate_nbf = true;
    let decoded = decode(token, &DecodingKey::from_jwk(&key).unwrap(), &validation);
    decoded.ok().map(|data| data.claims)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the verifier compares with this machine's clock"
)]
fn system_time() -> DateTime<Utc> {
    Utc::now()
}
