//! Goal: a registry that asks who we are, or has a certificate of an authority of its own, is used like any other, and is told
//! apart from one that is away.
//! Method: an HTTP server that looks at the login of every request, and the embedded registry behind TLS.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use apache_avro::Schema;
use embedded::registry::Registry;
use mailbox::{
    Codec, Fault,
    codec::{RegistryError, RegistryLogin, RegistryMode, RegistrySettings},
    kafka::Secret,
};
use parts::Certificates;
use serde_json::json;
use testkit::{Database, TlsFront, eventually, registry::ANYWHERE};
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, header, method, path_regex},
};

use crate::LIMIT;

/// `reader:swordfish` in Base64 (RFC 7617).
const READER: &str = "Basic cmVhZGVyOnN3b3JkZmlzaA==";

/// The id of every schema there.
const ID: u32 = 7;

/// A registry that knows everything, and lets `reader` in with the right password alone.
async fn guarded() -> MockServer {
    let server = MockServer::start().await;
    let schema = json!({ "type": "string" }).to_string();
    for (way, place, answer) in [
        (
            "GET",
            "^/config/",
            json!({ "compatibilityLevel": "FULL_TRANSITIVE" }),
        ),
        ("POST", "^/subjects/[^/]+/versions$", json!({ "id": ID })),
        (
            "POST",
            "^/subjects/[^/]+$",
            json!({ "id": ID, "version": 1, "schema": schema }),
        ),
        ("GET", "^/schemas/ids/99$", json!({ "schema": schema })),
    ] {
        Mock::given(method(way))
            .and(path_regex(place))
            .and(header("authorization", READER))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .mount(&server)
            .await;
    }
    let refused = json!({ "error_code": 40101, "message": "User cannot be found" });
    Mock::given(any())
        .respond_with(ResponseTemplate::new(401).set_body_json(refused))
        .mount(&server)
        .await;
    server
}

async fn registry() -> (Registry, Database) {
    let database = Database::empty("registry").await;
    let registry = Registry::start(database.pool(), ANYWHERE, &CancellationToken::new())
        .await
        .unwrap();
    (registry, database)
}

async fn start(settings: &RegistrySettings) -> Result<Codec, RegistryError> {
    Codec::start(settings, "mailbox", &CancellationToken::new()).await
}

fn login(password: &str) -> Option<RegistryLogin> {
    Some(RegistryLogin {
        user: "reader".to_owned(),
        password: Secret::from(password.to_owned()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_asks_who_we_are_is_told_so_in_every_request() {
    let server = guarded().await;
    for mode in [RegistryMode::Register, RegistryMode::Check] {
        let open = RegistrySettings::open(&server.uri(), mode);
        for login in [None, login("wrong")] {
            let refused = start(&RegistrySettings {
                login,
                ..open.clone()
            })
            .await
            .unwrap_err();
            assert!(matches!(refused, RegistryError::Login { .. }), "{refused}");
            let words = refused.to_string();
            assert!(
                words.contains("does not let us in") && words.contains("--registry-user"),
                "{words}"
            );
            assert!(!words.contains("wrong"), "{words}");
        }
        let known = RegistrySettings {
            login: login("swordfish"),
            ..open
        };
        start(&known).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_in_the_address_is_told_as_well() {
    let server = guarded().await;
    let url = server.uri().replace("http://", "http://reader:swordfish@");
    start(&RegistrySettings::open(&url, RegistryMode::Register))
        .await
        .unwrap();
}

/// A schema of somebody else is looked up while messages are read: with the login, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_somebody_else_is_looked_up_with_the_login() {
    let server = guarded().await;
    let settings = RegistrySettings {
        login: login("swordfish"),
        ..RegistrySettings::open(&server.uri(), RegistryMode::Register)
    };
    let codec = start(&settings).await.unwrap();
    // The wire format of Confluent, by a schema that this program does not have.
    let value = [&[0, 0, 0, 0, 99], &b"\x08word"[..]].concat();
    let (schema, datum) = codec.open(&value).await.unwrap();
    assert_eq!((&*schema, datum.as_slice()), (&Schema::String, &b"\x08word"[..]));
    // One that the registry does not tell: the right is missing, not the schema, so the message is not given up.
    let value = [&[0, 0, 0, 0, 98], &b"\x08word"[..]].concat();
    let refused = codec.open(&value).await.unwrap_err();
    assert!(matches!(refused, Fault::Transient(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_behind_tls_is_believed_by_its_authority_alone() {
    let (registry, _database) = registry().await;
    let target: SocketAddr = registry.url().trim_start_matches("http://").parse().unwrap();
    let certificates = Certificates::generate().unwrap();
    let server = &certificates.server;
    let front = TlsFront::start(target, &server.key, &server.certificate).await;
    let believing = |certificates: &Certificates| RegistrySettings {
        authority: Some(certificates.authority.clone().into_bytes()),
        ..RegistrySettings::open(&format!("https://{}", front.address()), RegistryMode::Register)
    };
    start(&believing(&certificates)).await.unwrap();

    // A certificate may be renewed, so the start waits; what is wrong with it is said.
    let other = believing(&Certificates::generate().unwrap());
    let (log, shutdown) = (Log::default(), CancellationToken::new());
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || written.clone())
        .finish();
    let stop = shutdown.clone();
    let waiting = async move { Codec::start(&other, "mailbox", &stop).await };
    let waiting = tokio::spawn(waiting.with_subscriber(subscriber));
    let said = eventually("it says why it waits", LIMIT, async || log.line("is away")).await;
    assert!(said.contains("certificate"), "{said}");
    shutdown.cancel();
    assert!(matches!(waiting.await.unwrap(), Err(RegistryError::Stopped)));
}

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The first line with these words.
    fn line(&self, words: &str) -> Option<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().find(|line| line.contains(words)).map(str::to_owned)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
