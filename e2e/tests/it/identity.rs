//! Goal: no service answers anybody who does not say who asks, whichever service it is.
//! Method: every service of the running system, and every route that a service is known to have, without a token, with
//! tokens that are not right, and with one that is.

use contracts::calls::{CALLS, COMMAND_LINE};
use e2e::World;
use host::identity::{Identity, PrivateKey};
use reqwest::{Client, StatusCode};

/// A route that every service has, behind the guard.
const ROUTE: &str = "/parked?limit=1";

/// Where each service answers others: the edge at its internal address.
fn addresses(world: &World) -> Vec<(String, String)> {
    let info = world.info();
    let services = info.services.iter().map(|(name, address)| match name.as_str() {
        "bff" => (name.clone(), info.contacts.clone()),
        _ => (name.clone(), address.clone()),
    });
    services.collect()
}

async fn ask(http: &Client, url: &str, token: Option<(&Identity, &str)>) -> reqwest::Response {
    let mut request = http.get(url).build().unwrap();
    if let Some((identity, audience)) = token {
        identity.sign(audience, request.headers_mut()).unwrap();
    }
    http.execute(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_answers_a_stranger() {
    let world = World::start().await;
    let http = Client::builder().no_proxy().build().unwrap();
    let key: PrivateKey = world.info().identity_key.parse().unwrap();
    let known = Identity::new(COMMAND_LINE, &key);
    let stranger = Identity::new(COMMAND_LINE, &PrivateKey::fresh());
    let pretender = Identity::new("bff", &key);
    let services = addresses(&world);
    assert_eq!(services.len(), 7, "{services:?}");
    for (service, address) in &services {
        let url = format!("{address}{ROUTE}");
        let other = if service == "orders" { "payments" } else { "orders" };
        for (what, token) in [
            ("no token", None),
            ("an unknown key", Some((&stranger, service.as_str()))),
            ("a token for another service", Some((&known, other))),
            (
                "a known key under another name",
                Some((&pretender, service.as_str())),
            ),
        ] {
            let answer = ask(&http, &url, token).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{service}: {what}");
            assert_eq!(
                answer.headers()["content-type"],
                "application/problem+json",
                "{service}"
            );
            let problem: serde_json::Value = answer.json().await.unwrap();
            assert!(
                problem["detail"].as_str().is_some_and(|text| !text.is_empty()),
                "{service}: {what}"
            );
        }
        // What is not there is not told either.
        let nothing = ask(&http, &format!("{address}/nothing"), None).await;
        assert_eq!(nothing.status(), StatusCode::UNAUTHORIZED, "{service}");
        let answer = ask(&http, &url, Some((&known, service))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{service}");
    }
    // Probes and metrics are for the platform, which has no token.
    for address in world.info().services.values() {
        for open in ["/healthz", "/readyz", "/metrics"] {
            let answer = ask(&http, &format!("{address}{open}"), None).await;
            assert_eq!(answer.status(), StatusCode::OK, "{address}{open}");
        }
    }
    // Whoever may call is somebody of this system, and what may be called is in it.
    for call in CALLS {
        assert!(services.iter().any(|(name, _)| name == call.service), "{call:?}");
        assert!(
            call.caller == COMMAND_LINE || services.iter().any(|(name, _)| name == call.caller),
            "{call:?}"
        );
    }
}
