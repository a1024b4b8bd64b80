//! Goal: a token that the system accepts, alone on standard output, or a clear word why there is none.
//! Method: an embedded issuer and a data directory that says a system with it runs in this process.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use belay::data_dir::{DataDir, Hold, SystemInfo};
use embedded::issuer::Issuer;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::commands::{belay, stderr, stdout};

async fn issuer(directory: &Path) -> Issuer {
    Issuer::start(
        directory,
        "127.0.0.1:0".parse().unwrap(),
        &CancellationToken::new(),
    )
    .await
    .unwrap()
}

/// Says that a system runs here which trusts this issuer, for as long as what is returned lives.
fn announce(dir: &DataDir, issuer: &str) -> Hold {
    let hold = dir.hold().unwrap();
    dir.announce(&SystemInfo {
        pid: std::process::id(),
        http: "http://127.0.0.1:1".to_owned(),
        databases: BTreeMap::new(),
        kafka: String::new(),
        registry: String::new(),
        issuer: issuer.to_owned(),
        audience: "belay".to_owned(),
        contacts: String::new(),
        mail: String::new(),
        services: BTreeMap::new(),
        identity_key: String::new(),
    })
    .unwrap();
    hold
}

fn mint(dir: &DataDir, line: &str) -> std::process::Output {
    let data = dir.path().to_str().unwrap();
    belay(
        ["token", "--data", data]
            .into_iter()
            .chain(line.split_whitespace()),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_alone_on_standard_output() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = DataDir::create(temporary.path()).unwrap();
    let issuer = issuer(&dir.issuer()).await;
    let _running = announce(&dir, issuer.url());
    let output = mint(&dir, "--role operator --subject olga --lifetime-seconds 60");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let token = stdout(&output);
    assert_eq!(token.lines().count(), 1);
    let body = token.trim().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
    assert_eq!(claims["iss"], issuer.url());
    assert_eq!(claims["aud"], "belay");
    assert_eq!(claims["sub"], "olga");
    assert_eq!(claims["name"], "olga");
    assert_eq!(claims["realm_access"]["roles"], serde_json::json!(["operator"]));
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        60
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_issuer_than_the_systems_is_not_minted() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = DataDir::create(&temporary.path().join("data")).unwrap();
    let real = issuer(&temporary.path().join("real")).await;
    let _running = announce(&dir, real.url());
    let output = mint(&dir, "--role admin --subject ada");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("whose key is not here"),
        "{}",
        stderr(&output)
    );
    assert!(!dir.issuer().exists(), "a key was made that nobody trusts");

    // The directory had an issuer of its own in an earlier run.
    issuer(&dir.issuer()).await.stop().await;
    let output = mint(&dir, "--role admin --subject ada");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is not one of the issuer"),
        "{}",
        stderr(&output)
    );
    assert_eq!(stdout(&output), "");
}
