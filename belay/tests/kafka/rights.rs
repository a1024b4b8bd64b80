//! Goal: what `belay topics acls` prints is all that the services and `belay topics` need, and no more than that.
//! Method: a broker that allows nothing by itself, the printed commands run by Kafka's own tool, and the whole system on it,
//! every service with a login of its own. Then the broker is asked what it refused.

use std::{collections::BTreeMap, path::Path};

use contracts::{
    topics::{ORDERS_COMMANDS, PAYMENTS_COMMANDS, PURCHASE_REPLIES},
    traffic::TRAFFIC,
};
use e2e::World;
use host::kafka::{KafkaArgs, Mechanism, Protocol};
use mailbox::kafka::{Secret, security::Pem};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::*;

/// A user's name at the broker, as `belay topics acls` calls it by default.
fn user(service: &str) -> String {
    format!("belay-{service}")
}

fn login(kafka: &Kafka, service: &str) -> KafkaArgs {
    KafkaArgs {
        security: Some(Protocol::SaslSsl),
        ca: Some(Pem::Text(Secret::from(kafka.ca_pem().to_owned()))),
        mechanism: Some(Mechanism::ScramSha512),
        user: Some(user(service)),
        password: Some(Secret::from(kafka.password().to_owned())),
        ..KafkaArgs::default()
    }
}

/// Runs `belay topics` as `service`.
async fn topics_as(kafka: &Kafka, service: &str, ca: &str, line: &str) -> Output {
    let line = format!(
        "{line} --replication-factor 1 --kafka {} --kafka-security sasl-ssl --kafka-sasl-mechanism SCRAM-SHA-512 --kafka-ca {ca} \
         --kafka-user {}",
        kafka.sasl_ssl_bootstrap(),
        user(service)
    );
    topics(kafka.password(), line).await
}

/// Lets Kafka's own tool do what `belay topics acls` prints, as an administrator would in a shell.
async fn grant(kafka: &Kafka, directory: &Path) {
    let tool = "org.apache.kafka.tools.AclCommand";
    kafka.write_tool(directory, "kafka-acls.sh", tool).await.unwrap();
    // The plain listener takes everybody for the administrator.
    std::fs::write(directory.join("admin.properties"), "").unwrap();
    let printed = openly(&format!("acls --kafka {}", kafka.bootstrap())).await;
    assert!(printed.status.success(), "{}", text(&printed));
    let path = std::env::var("PATH").unwrap();
    let granted = tokio::process::Command::new("sh")
        .args(["-e", "-c", &String::from_utf8(printed.stdout).unwrap()])
        .current_dir(directory)
        .env("PATH", format!("{}:{path}", directory.display()))
        .output()
        .await
        .unwrap();
    assert!(granted.status.success(), "{}", text(&granted));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_rights_are_all_that_the_services_need_and_no_more() {
    let services: Vec<&str> = TRAFFIC.iter().map(|traffic| traffic.service).collect();
    let options = KafkaOptions {
        topics: false,
        users: services.iter().chain(&["admin"]).map(|name| user(name)).collect(),
        authorize: true,
        ..KafkaOptions::default()
    };
    let kafka = Kafka::start(options).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ca = ca_file(&kafka, directory.path());
    let refused = topics_as(&kafka, "admin", &ca, "apply").await;
    assert!(!refused.status.success(), "{}", text(&refused));
    assert_ne!(
        kafka.refusals().unwrap(),
        Vec::<String>::new(),
        "the broker guards nothing"
    );

    grant(&kafka, directory.path()).await;
    let before = kafka.refusals().unwrap().len();
    expect(&topics_as(&kafka, "admin", &ca, "apply").await, 0, "done");
    expect(
        &topics_as(&kafka, "admin", &ca, "check").await,
        0,
        "every topic is as declared",
    );
    Box::pin(everything_works(&kafka, &services)).await;
    let refused = kafka.refusals().unwrap().split_off(before);
    assert_eq!(refused, Vec::<String>::new(), "rights are missing");

    nobody_reaches_what_is_not_theirs(&kafka);
    let refused = topics_as(&kafka, "orders", &ca, "apply").await;
    assert!(!refused.status.success(), "{}", text(&refused));
}

/// A purchase that succeeds, one that is rolled back, both told of by e-mail; and a service that starts again goes on where it
/// was.
async fn everything_works(kafka: &Kafka, services: &[&'static str]) {
    let logins: BTreeMap<&'static str, KafkaArgs> = services
        .iter()
        .map(|service| (*service, login(kafka, service)))
        .collect();
    let (bootstrap, admin) = (kafka.sasl_ssl_bootstrap(), login(kafka, "admin"));
    let mut world = World::start_with(|options| {
        options.kafka = Some(bootstrap);
        options.connection = admin;
        options.logins = logins;
    })
    .await;
    let ada = world.someone("ada", "admin");
    let alice = world.customer("alice");
    let rope = ada.create_product("Rope 60 m", "15.00", 10).await;
    for (method, state) in [("tok_ok", "COMPLETED"), ("tok_declined", "REJECTED")] {
        let id = alice.submit(&[(&rope, 1)], method).await;
        assert_eq!(alice.ended(&id).await["state"], state);
    }
    world.system().stop_service("orders").await.unwrap();
    world.system().start_service("orders").await.unwrap();
    let id = alice.submit(&[(&rope, 1)], "tok_ok").await;
    assert_eq!(alice.ended(&id).await["state"], "COMPLETED");
    // Every outcome has its e-mail, and nothing is on its way any more.
    world.audit_is_clean().await;
    world.stop().await;
}

fn client_of(kafka: &Kafka, service: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.sasl_ssl_bootstrap())
        .set("security.protocol", "sasl_ssl")
        .set("ssl.ca.pem", kafka.ca_pem())
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", user(service))
        .set("sasl.password", kafka.password())
        .set("log_level", "0");
    config
}

fn nobody_reaches_what_is_not_theirs(kafka: &Kafka) {
    for (service, topic, allowed) in [
        ("orders", PURCHASE_REPLIES, true),
        ("orders", PAYMENTS_COMMANDS, false),
        // It reads that one, and must not command itself.
        ("orders", ORDERS_COMMANDS, false),
        ("notifications", PURCHASE_REPLIES, false),
    ] {
        let written = write_as(kafka, service, topic);
        if allowed {
            assert_eq!(written, None, "{service} to {topic}");
        } else {
            assert!(
                matches!(
                    written,
                    Some(
                        RDKafkaErrorCode::TopicAuthorizationFailed
                            | RDKafkaErrorCode::ClusterAuthorizationFailed
                    )
                ),
                "{service} to {topic}: {written:?}"
            );
        }
    }
    for (service, topic, group, refusal) in [
        ("orders", ORDERS_COMMANDS, "belay.orders", None),
        (
            "orders",
            PAYMENTS_COMMANDS,
            "belay.orders",
            Some(RDKafkaErrorCode::TopicAuthorizationFailed),
        ),
        (
            "orders",
            ORDERS_COMMANDS,
            "belay.payments",
            Some(RDKafkaErrorCode::GroupAuthorizationFailed),
        ),
    ] {
        assert_eq!(
            read_as(kafka, service, topic, group),
            refusal,
            "{service}: {topic} as {group}"
        );
    }
}

/// Writes a record as a service would: with an idempotent producer. Why not, if not.
fn write_as(kafka: &Kafka, service: &str, topic: &str) -> Option<RDKafkaErrorCode> {
    let (told, answers) = std::sync::mpsc::channel();
    let producer: BaseProducer<Told> = client_of(kafka, service)
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "15000")
        .create_with_context(Told(told))
        .unwrap();
    producer
        .send(BaseRecord::to(topic).key("x").payload("x"))
        .unwrap();
    // A fatal error, such as a missing right to be idempotent, is told by the flush or by the record's fate.
    let _ = producer.flush(LIMIT);
    if let Some((code, _)) = producer.client().fatal_error() {
        return Some(code);
    }
    answers.recv_timeout(LIMIT).unwrap()
}

/// Passes on what became of each record.
struct Told(std::sync::mpsc::Sender<Option<RDKafkaErrorCode>>);

impl rdkafka::ClientContext for Told {}

impl rdkafka::producer::ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        let code = result
            .as_ref()
            .err()
            .and_then(|(error, _)| error.rdkafka_error_code());
        // Nobody listens any more when the test has failed.
        let _ = self.0.send(code);
    }
}

/// Reads a topic in a group until there is a record, or a reason why not. Every topic that is read here has records.
fn read_as(kafka: &Kafka, service: &str, topic: &str, group: &str) -> Option<RDKafkaErrorCode> {
    let consumer: BaseConsumer = client_of(kafka, service)
        .set("group.id", group)
        // From the beginning, and without a word about it to the group: the next test of it is to find the same.
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let until = std::time::Duration::from_secs(30);
    #[expect(clippy::disallowed_methods, reason = "measures how long it waits")]
    let begun = std::time::Instant::now();
    while begun.elapsed() < until {
        match consumer.poll(std::time::Duration::from_millis(200)) {
            Some(Ok(_)) => return None,
            Some(Err(KafkaError::MessageConsumption(code))) if is_refusal(code) => return Some(code),
            // The group is still being made, or the broker tells of itself.
            Some(Err(_)) | None => {}
        }
        if consumer.assignment().is_ok_and(|all| all.count() > 0) {
            // Whoever gets partitions may read.
            return None;
        }
    }
    panic!("{service} neither reads {topic} as {group} nor is refused");
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed
    )
}
