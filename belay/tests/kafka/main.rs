//! Goal: the command line and the services' clients get on with Apache Kafka as users have it: TLS, SCRAM, PLAIN, certificates,
//! rights, topics.
//! Method: a broker of its own for each test (crate `parts`), and the program `belay` itself. Where no broker can be had, the
//! tests fail; they are run by name or by `make test-real`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod rights;

use std::{path::Path, process::Output, time::Duration};

use contracts::topics::ORDERS_COMMANDS;
use parts::{Certificates, Kafka, KafkaOptions, certificates::Identity};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

async fn broker(topics: bool) -> Kafka {
    let options = KafkaOptions {
        topics,
        ..KafkaOptions::default()
    };
    Kafka::start(options).await.unwrap()
}

/// Runs `belay topics` with the words of `line`.
async fn openly(line: &str) -> Output {
    run(line, &[]).await
}

/// The same with the password in the environment.
async fn topics(password: &str, line: String) -> Output {
    run(&line, &[("BELAY_KAFKA_PASSWORD", password)]).await
}

async fn run(line: &str, variables: &[(&str, &str)]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_belay"))
        .arg("topics")
        .args(line.split_whitespace())
        .envs(variables.iter().copied())
        .output()
        .await
        .unwrap()
}

/// The same by the plain listener.
async fn plainly(kafka: &Kafka, line: &str) -> Output {
    let line = format!("{line} --kafka {} --replication-factor 1", kafka.bootstrap());
    openly(&line).await
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn expect(output: &Output, code: i32, words: &str) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "{words}: {text}");
}

fn ca_file(kafka: &Kafka, directory: &Path) -> String {
    let path = directory.join("ca.pem");
    std::fs::write(&path, kafka.ca_pem()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    config
}

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    client(kafka).create().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_scram_and_by_plain_over_tls_is_let_in_and_others_are_told_why_not() {
    let kafka = broker(true).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = ca_file(&kafka, directory.path());
    let login = |mechanism: &str, ca: &str| {
        format!(
            "check --replication-factor 1 --kafka {} --kafka-security sasl-ssl --kafka-sasl-mechanism {mechanism} --kafka-user \
             belay {ca}",
            kafka.sasl_ssl_bootstrap()
        )
    };
    let trusting = format!("--kafka-ca {ca}");
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] {
        let output = topics(kafka.password(), login(mechanism, &trusting)).await;
        expect(&output, 0, "every topic is as declared");
        let refused = topics("wrong", login(mechanism, &trusting)).await;
        expect(&refused, 2, "uthentication failed");
        assert!(!text(&refused).contains("wrong"), "{}", text(&refused));
    }
    let stranger = topics(kafka.password(), login("PLAIN", "")).await;
    expect(&stranger, 2, "certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_certificate_is_let_in_and_one_without_is_told_why_not() {
    let kafka = broker(true).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = ca_file(&kafka, directory.path());
    let ours = kafka.identity("belay-admin").unwrap();
    let strange = Certificates::generate().unwrap().client("belay-admin").unwrap();
    let files = |name: &str, identity: &Identity| {
        let path = |what: &str| directory.path().join(format!("{name}.{what}"));
        std::fs::write(path("crt"), &identity.certificate).unwrap();
        std::fs::write(path("key"), &identity.key).unwrap();
        format!(
            "--kafka-certificate {} --kafka-key {}",
            path("crt").display(),
            path("key").display()
        )
    };
    let check = async |identity: &str| {
        let line = format!(
            "check --replication-factor 1 --kafka {} --kafka-security ssl --kafka-ca {ca} {identity}",
            kafka.mutual_tls_bootstrap()
        );
        openly(&line).await
    };
    expect(
        &check(&files("ours", &ours)).await,
        0,
        "every topic is as declared",
    );
    for identity in [String::new(), files("strange", &strange)] {
        let refused = check(&identity).await;
        expect(&refused, 2, "cannot be used");
        expect(&refused, 2, " alert ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_checked_and_altered_and_a_dry_run_changes_nothing() {
    let kafka = broker(false).await;
    expect(&plainly(&kafka, "apply --dry-run").await, 0, "would be done");
    expect(&plainly(&kafka, "check").await, 1, ORDERS_COMMANDS);
    expect(&plainly(&kafka, "apply").await, 0, "done");
    expect(&plainly(&kafka, "check").await, 0, "every topic is as declared");
    expect(&plainly(&kafka, "apply").await, 0, "every topic is as declared");

    // Somebody has changed a setting of ours, and set one that is nobody's business here.
    let alter = AlterConfig::new(ResourceSpecifier::Topic(ORDERS_COMMANDS))
        .set("retention.ms", "1000")
        .set("segment.bytes", "1048576");
    let altered = admin(&kafka)
        .alter_configs(&[alter], &AdminOptions::new())
        .await
        .unwrap();
    altered.into_iter().for_each(|answer| assert!(answer.is_ok()));
    // Until the broker that answers knows it.
    testkit::eventually("the broker shows the change", LIMIT, async || {
        (plainly(&kafka, "check").await.status.code() == Some(1)).then_some(())
    })
    .await;
    let report: Value = serde_json::from_slice(&plainly(&kafka, "check --json").await.stdout).unwrap();
    assert_eq!(report["actions"].as_array().unwrap().len(), 1, "{report}");
    expect(&plainly(&kafka, "apply").await, 0, "retention.ms");
    expect(&plainly(&kafka, "check").await, 0, "every topic is as declared");
    let told = admin(&kafka)
        .describe_configs(&[ResourceSpecifier::Topic(ORDERS_COMMANDS)], &AdminOptions::new())
        .await
        .unwrap();
    let resource = told.into_iter().next().unwrap().unwrap();
    let kept = resource.get("segment.bytes").unwrap().value.as_deref();
    assert_eq!(kept, Some("1048576"));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added_to_a_topic_only_when_it_is_drained_and_empty() {
    let kafka = broker(false).await;
    let admin = admin(&kafka);
    let few = NewTopic::new(ORDERS_COMMANDS, 5, TopicReplication::Fixed(1));
    admin.create_topics(&[few], &AdminOptions::new()).await.unwrap();
    write(&kafka, 3);

    let refused = plainly(&kafka, "apply").await;
    expect(&refused, 1, "belay.orders has 3 records to read");
    expect(&refused, 1, "nothing was changed");
    // Not even what could have been: the other topics are still missing.
    expect(&plainly(&kafka, "check").await, 1, "purchase.events.v1");

    read_all(&kafka, "belay.orders");
    expect(&plainly(&kafka, "apply").await, 1, "3 records are in it");

    let mut all = TopicPartitionList::new();
    for partition in 0..5 {
        all.add_partition_offset(ORDERS_COMMANDS, partition, Offset::End)
            .unwrap();
    }
    admin.delete_records(&all, &AdminOptions::new()).await.unwrap();
    expect(&plainly(&kafka, "apply").await, 0, "5 -> 8");
    expect(&plainly(&kafka, "check").await, 0, "every topic is as declared");
}

fn write(kafka: &Kafka, records: usize) {
    let producer: BaseProducer = client(kafka).create().unwrap();
    for number in 0..records {
        let key = number.to_string();
        producer
            .send(BaseRecord::to(ORDERS_COMMANDS).key(&key).payload("x"))
            .unwrap();
    }
    producer.flush(LIMIT).unwrap();
}

/// Commits the end of every partition for `group`.
fn read_all(kafka: &Kafka, group: &str) {
    let consumer: BaseConsumer = client(kafka).set("group.id", group).create().unwrap();
    let mut ends = TopicPartitionList::new();
    for partition in 0..5 {
        let (_, end) = consumer
            .fetch_watermarks(ORDERS_COMMANDS, partition, LIMIT)
            .unwrap();
        ends.add_partition_offset(ORDERS_COMMANDS, partition, Offset::Offset(end))
            .unwrap();
    }
    consumer.commit(&ends, CommitMode::Sync).unwrap();
}
