use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use apache_avro::Schema;
use contracts::{
    Message, MessageType,
    ids::{OrderId, PurchaseId},
    orders::{OrderCancelled, OrderCreated, OrderRejected},
    topics::{ORDERS_COMMANDS, PURCHASE_REPLIES, subject},
};
use embedded::registry::Registry;
use mailbox::{
    Codec, Fault,
    codec::{RegistryError, RegistryMode, RegistrySettings},
};
use schema_registry_converter::{
    async_impl::schema_registry::{SrSettings, post_schema},
    schema_registry_common::{SchemaType, SuppliedSchema, get_payload},
};
use testkit::{Database, eventually, registry::ANYWHERE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wiremock::{
    Mock, Request, ResponseTemplate,
    matchers::{method, path_regex},
};

use crate::{
    LIMIT,
    bench::{Bench, Record},
    recorder::Recorder,
};

/// A registry on a database of its own.
async fn registry(listen: SocketAddr) -> (Registry, Database) {
    let database = Database::empty("registry").await;
    let registry = Registry::start(database.pool(), listen, &CancellationToken::new())
        .await
        .unwrap();
    (registry, database)
}

async fn start(url: &str, mode: RegistryMode) -> Result<Codec, RegistryError> {
    let settings = RegistrySettings::open(url, mode);
    Codec::start(&settings, "mailbox", &CancellationToken::new()).await
}

/// Registers a schema as somebody else would, and gives its id.
async fn register(url: &str, subject: String, schema: String) -> u32 {
    let settings = SrSettings::new(url.to_owned());
    let schema = SuppliedSchema::new(None, SchemaType::Avro, schema);
    post_schema(&settings, subject, schema).await.unwrap().id
}

/// A registry that answers every request with the same status; counts the requests.
async fn broken_registry(listener: TcpListener, status: &'static str) -> (JoinHandle<()>, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (task, requests)
}

#[tokio::test]
async fn a_registry_that_is_away_or_in_trouble_is_waited_for() {
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}");
    let started = tokio::spawn(async move { start(&url, RegistryMode::Register).await });
    // At first nobody answers: the listener does not accept yet. Then its answers speak of its own trouble.
    let (trouble, requests) = broken_registry(listener, "500 Internal Server Error").await;
    eventually("it asks again and again", LIMIT, async || {
        (requests.load(Ordering::SeqCst) >= 20).then_some(())
    })
    .await;
    trouble.abort();
    let _ = trouble.await;
    assert!(!started.is_finished());

    let (_registry, _database) = registry(address).await;

    let codec = started.await.unwrap().unwrap();
    let purchase_id = PurchaseId::fresh();
    codec
        .outgoing(PURCHASE_REPLIES, purchase_id, &OrderCancelled { purchase_id })
        .unwrap();
}

#[tokio::test]
async fn waiting_for_the_registry_ends_at_shutdown() {
    let listener = TcpListener::bind(ANYWHERE).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (trouble, requests) = broken_registry(listener, "503 Service Unavailable").await;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let settings = RegistrySettings::open(&url, RegistryMode::Register);
    let started = tokio::spawn(async move { Codec::start(&settings, "mailbox", &token).await });
    eventually("it asks", LIMIT, async || {
        (requests.load(Ordering::SeqCst) > 0).then_some(())
    })
    .await;
    shutdown.cancel();
    assert!(matches!(started.await.unwrap(), Err(RegistryError::Stopped)));
    trouble.abort();
}

#[tokio::test]
async fn an_address_that_is_none_is_said() {
    let error = start("registry:8081", RegistryMode::Register).await.unwrap_err();
    assert!(
        error.to_string().contains("write it as http://host:port"),
        "{error}"
    );
}

#[tokio::test]
async fn check_mode_insists_that_everything_is_registered() {
    let (registry, _database) = registry(ANYWHERE).await;
    let error = start(registry.url(), RegistryMode::Check).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotRegistered { .. }), "{error}");
    start(registry.url(), RegistryMode::Register).await.unwrap();
    start(registry.url(), RegistryMode::Check).await.unwrap();
}

/// Asks the registry as a person would with curl.
async fn level(url: &str, subject: &str) -> String {
    let answer = reqwest::get(format!("{url}/config/{subject}")).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    answer["compatibilityLevel"].as_str().unwrap_or("none").to_owned()
}

async fn set_level(url: &str, subject: &str, level: &str) {
    let body = serde_json::json!({ "compatibility": level }).to_string();
    let request = reqwest::Client::new()
        .put(format!("{url}/config/{subject}"))
        .body(body);
    assert!(request.send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn registering_sets_the_level_of_every_subject_and_checking_insists_on_it() {
    let (registry, _database) = registry(ANYWHERE).await;
    let url = registry.url();
    let created = subject(PURCHASE_REPLIES, OrderCreated::message_type());
    set_level(url, &created, "BACKWARD").await;
    start(url, RegistryMode::Register).await.unwrap();
    for topic in contracts::topics::TOPICS {
        for message in topic.messages() {
            assert_eq!(level(url, &subject(topic.name, message)).await, "FULL_TRANSITIVE");
        }
    }
    set_level(url, &created, "BACKWARD").await;

    let error = start(url, RegistryMode::Check).await.unwrap_err().to_string();

    assert!(
        error.contains(&format!("keeps {created} at compatibility BACKWARD")),
        "{error}"
    );
    assert!(
        error.contains(&format!("curl -X PUT {url}/config/{created}")),
        "{error}"
    );
    assert!(error.contains("--registry-mode register"), "{error}");
    start(url, RegistryMode::Register)
        .await
        .expect("which sets it again");
    start(url, RegistryMode::Check).await.unwrap();
}

/// What Apicurio answers the slower one of two that set a level or register a schema at the same moment.
#[tokio::test]
async fn two_services_that_register_at_once_are_both_served() {
    let server = wiremock::MockServer::start().await;
    let asked = std::sync::Mutex::new(std::collections::HashSet::new());
    Mock::given(method("GET"))
        .and(path_regex("^/config/.+"))
        .respond_with(move |request: &Request| {
            if asked.lock().unwrap().insert(request.url.path().to_owned()) {
                ResponseTemplate::new(404)
            } else {
                ResponseTemplate::new(200)
                    .set_body_json(serde_json::json!({ "compatibilityLevel": "FULL_TRANSITIVE" }))
            }
        })
        .mount(&server)
        .await;
    let conflict = serde_json::json!({ "error_code": 409, "message": "it exists already" });
    for (verb, path) in [("PUT", "^/config/.+"), ("POST", "^/subjects/.+/versions$")] {
        Mock::given(method(verb))
            .and(path_regex(path))
            .respond_with(ResponseTemplate::new(409).set_body_json(&conflict))
            .mount(&server)
            .await;
    }
    Mock::given(method("POST"))
        .and(path_regex("^/subjects/[^/]+$"))
        .respond_with(ResponseTemplate::new(200).set_body_json(serde_json::json!({ "id": 7 })))
        .mount(&server)
        .await;

    let codec = start(&server.uri(), RegistryMode::Register).await.unwrap();

    let purchase_id = PurchaseId::fresh();
    let message = codec
        .outgoing(PURCHASE_REPLIES, purchase_id, &OrderCancelled { purchase_id })
        .unwrap();
    assert_eq!(message.payload[..5], [0, 0, 0, 0, 7]);
}

#[tokio::test]
async fn a_schema_that_the_registry_refuses_is_named_with_what_to_do() {
    let (registry, _database) = registry(ANYWHERE).await;
    let other = r#"{"type":"record","name":"OrderCreated","namespace":"belay.orders","fields":[{"name":"other","type":"int"}]}"#;
    register(
        registry.url(),
        subject(PURCHASE_REPLIES, OrderCreated::message_type()),
        other.to_owned(),
    )
    .await;
    let error = start(registry.url(), RegistryMode::Register).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Refused { subject, .. } if subject.ends_with("OrderCreated")),
        "{error}"
    );
    assert!(error.to_string().contains("FULL_TRANSITIVE"), "{error}");
}

#[tokio::test]
async fn another_registry_is_refused_while_the_outbox_is_not_empty() {
    let bench = Bench::new().await;
    bench.codec.check_same_registry(&bench.pool()).await.unwrap();
    // A registry that has seen something else first gives other ids.
    let (registry, _database) = registry(ANYWHERE).await;
    register(
        registry.url(),
        "something else".to_owned(),
        r#""string""#.to_owned(),
    )
    .await;
    register(registry.url(), "and more".to_owned(), r#""int""#.to_owned()).await;
    let other = start(registry.url(), RegistryMode::Register).await.unwrap();
    bench.write(&[bench.message(PurchaseId::fresh(), "waits")]).await;

    let error = other.check_same_registry(&bench.pool()).await.unwrap_err();

    assert!(
        matches!(error, RegistryError::Exchanged { rows: 1, .. }),
        "{error}"
    );
    bench
        .codec
        .check_same_registry(&bench.pool())
        .await
        .expect("the old one is still welcome");
    sqlx::query("delete from outbox")
        .execute(&bench.pool())
        .await
        .unwrap();
    other
        .check_same_registry(&bench.pool())
        .await
        .expect("once the outbox is empty, it may be exchanged");
}

/// A new release brings new versions of schemas, and its outbox is seldom empty when it starts.
#[tokio::test]
async fn a_new_version_of_a_schema_is_not_another_registry() {
    let bench = Bench::new().await;
    bench.codec.check_same_registry(&bench.pool()).await.unwrap();
    bench.write(&[bench.message(PurchaseId::fresh(), "waits")]).await;
    // As if the release before had known an older version of one schema, under another id.
    sqlx::query("update registry_subject set schema_id = 4711, schema_hash = '\\x00' where subject like '%OrderCreated'")
        .execute(&bench.pool())
        .await
        .unwrap();

    bench.codec.check_same_registry(&bench.pool()).await.unwrap();

    let known: i32 =
        sqlx::query_scalar("select schema_id from registry_subject where subject like '%OrderCreated'")
            .fetch_one(&bench.pool())
            .await
            .unwrap();
    assert_ne!(known, 4711);
}

/// The schema of a message with one more field that has a default: the next version of somebody else.
fn newer(message: &MessageType) -> String {
    let mut schema: serde_json::Value = serde_json::from_str(message.schema_text).unwrap();
    let field = serde_json::json!({"name": "added_later", "type": "string", "default": ""});
    schema["fields"].as_array_mut().unwrap().push(field);
    schema.to_string()
}

#[tokio::test]
async fn a_message_of_a_newer_version_is_read_as_ours() {
    let (registry, _database) = registry(ANYWHERE).await;
    let codec = start(registry.url(), RegistryMode::Register).await.unwrap();
    let ours = OrderCreated {
        purchase_id: PurchaseId::fresh(),
        order_id: OrderId::fresh(),
        number: "O-2026-000001".to_owned(),
    };
    let text = newer(OrderCreated::message_type());
    let id = register(
        registry.url(),
        subject(PURCHASE_REPLIES, OrderCreated::message_type()),
        text.clone(),
    )
    .await;
    let mut datum = contracts::message::encode(&ours).unwrap();
    // The added field, written last: a string of one letter.
    datum.extend([2, b'x']);

    let (schema, datum) = codec.open(&get_payload(id, datum)).await.unwrap();

    assert_eq!(*schema, Schema::parse_str(&text).unwrap());
    assert_eq!(
        contracts::message::decode::<OrderCreated>(&datum, &schema).unwrap(),
        ours
    );
}

#[tokio::test]
async fn an_unknown_schema_is_waited_for_while_the_registry_is_away_and_given_up_when_it_says_no() {
    let (registry, _database) = registry(ANYWHERE).await;
    let codec = start(registry.url(), RegistryMode::Register).await.unwrap();
    let unknown = get_payload(9_999, vec![0]);
    let fault = codec.open(&unknown).await.unwrap_err();
    assert!(matches!(fault, Fault::Deterministic(_)), "{fault}");

    let address = registry
        .url()
        .trim_start_matches("http://")
        .parse::<SocketAddr>()
        .unwrap();
    registry.stop().await;
    let fault = codec.open(&unknown).await.unwrap_err();
    assert!(matches!(fault, Fault::Transient(_)), "nobody answers: {fault}");
    for status in [
        "500 Internal Server Error",
        "503 Service Unavailable",
        "401 Unauthorized",
    ] {
        let (trouble, _) = broken_registry(TcpListener::bind(address).await.unwrap(), status).await;
        let fault = codec.open(&unknown).await.unwrap_err();
        assert!(
            matches!(fault, Fault::Transient(_)),
            "{status} is not the message's fault: {fault}"
        );
        trouble.abort();
        let _ = trouble.await;
    }
    // What is known needs no registry.
    let purchase_id = PurchaseId::fresh();
    let message = codec
        .outgoing(PURCHASE_REPLIES, purchase_id, &OrderCancelled { purchase_id })
        .unwrap();
    codec.open(&message.payload).await.unwrap();
}

/// The registry goes away while the service runs: what is known goes on, what is new waits and is not parked.
#[tokio::test]
async fn a_running_consumer_waits_with_a_new_schema_until_the_registry_is_back() {
    let (registry, database) = registry(ANYWHERE).await;
    let address: SocketAddr = registry.url().trim_start_matches("http://").parse().unwrap();
    let codec = start(registry.url(), RegistryMode::Register).await.unwrap();
    let text = newer(OrderRejected::message_type());
    let id = register(
        registry.url(),
        subject(PURCHASE_REPLIES, OrderRejected::message_type()),
        text,
    )
    .await;
    registry.stop().await;
    let bench = Bench {
        codec,
        ..Bench::with_one_partition().await
    };
    let recorder = Recorder::default();
    let consumer = bench.consumer(recorder.clone());
    let known = bench.message(PurchaseId::fresh(), "known");
    bench.send(&[Record::of(&known, None)]).await;
    assert_eq!(bench.handled_count(1).await, ["known"]);
    let mut new = bench.message(PurchaseId::fresh(), "new");
    let mut datum = new.payload.split_off(5);
    datum.extend([2, b'x']);
    new.payload = get_payload(id, datum);
    // Nobody is the registry now, but its port answers with trouble.
    let (trouble, requests) = broken_registry(
        TcpListener::bind(address).await.unwrap(),
        "503 Service Unavailable",
    )
    .await;
    bench.send(&[Record::of(&new, None)]).await;
    eventually("the batch is repeated", LIMIT, async || {
        (requests.load(Ordering::SeqCst) >= 3).then_some(())
    })
    .await;
    assert_eq!(bench.parked().await.len(), 0);
    trouble.abort();
    let _ = trouble.await;

    let _registry = Registry::start(database.pool(), address, &CancellationToken::new())
        .await
        .unwrap();

    assert_eq!(bench.handled_count(2).await, ["known", "new"]);
    assert_eq!(bench.parked().await.len(), 0);
    consumer.stop().await;
}

#[tokio::test]
async fn a_message_on_a_topic_where_it_does_not_belong_is_refused() {
    let codec = testkit::codec("mailbox").await;
    let purchase_id = PurchaseId::fresh();
    let rejected = OrderRejected {
        purchase_id,
        reason: String::new(),
    };
    let fault = codec
        .outgoing(ORDERS_COMMANDS, purchase_id, &rejected)
        .unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("belay.orders.OrderRejected does not belong on orders.commands.v1"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_value_without_the_wire_format_is_refused() {
    let codec = testkit::codec("mailbox").await;
    for value in [
        &[][..],
        &[0][..],
        &[0, 0, 0][..],
        &[1, 0, 0, 0, 1, 2][..],
        b"text",
    ] {
        let fault = codec.open(value).await.unwrap_err();
        assert!(!fault.is_transient());
        assert!(fault.to_string().contains("wire format"), "{value:?}: {fault}");
    }
}
