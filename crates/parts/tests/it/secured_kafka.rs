//! The broker: the contract's topics, logins over TLS, and a restart that keeps everything.

use std::time::Duration;

use contracts::topics::TOPICS;
use parts::{Kafka, KafkaOptions};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

const LIMIT: Duration = Duration::from_secs(10);

/// Partitions by topic, as a client with these settings sees them.
async fn topics(
    bootstrap: String,
    settings: Vec<(&'static str, String)>,
) -> Result<Vec<(String, usize)>, KafkaError> {
    let asked = tokio::task::spawn_blocking(move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("log_level", "0");
        for (name, value) in settings {
            config.set(name, value);
        }
        let consumer: BaseConsumer = config.create()?;
        let metadata = consumer.fetch_metadata(None, LIMIT)?;
        let topics = metadata.topics().iter();
        Ok(topics
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect())
    });
    asked.await.unwrap()
}

fn login(kafka: &Kafka, mechanism: &str, password: &str) -> Vec<(&'static str, String)> {
    vec![
        ("security.protocol", "sasl_ssl".to_owned()),
        ("ssl.ca.pem", kafka.ca_pem().to_owned()),
        ("sasl.mechanism", mechanism.to_owned()),
        ("sasl.username", "belay".to_owned()),
        ("sasl.password", password.to_owned()),
    ]
}

#[tokio::test]
#[ignore = "starts a real part: make test-real"]
async fn users_come_in_by_scram_and_plain_over_tls_and_by_nothing_else() {
    let kafka = Kafka::start(KafkaOptions::default()).await.unwrap();
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let right = login(&kafka, mechanism, kafka.password());
        let seen = topics(kafka.sasl_ssl_bootstrap(), right).await.unwrap();
        for topic in TOPICS {
            let partitions = usize::try_from(topic.partitions).unwrap();
            assert!(
                seen.contains(&(topic.name.to_owned(), partitions)),
                "{mechanism}: {seen:?}"
            );
        }
        let wrong = login(&kafka, mechanism, "wrong");
        assert!(
            topics(kafka.sasl_ssl_bootstrap(), wrong).await.is_err(),
            "{mechanism}"
        );
    }
    // Another authority's listener is not trusted.
    let mut strange = login(&kafka, "PLAIN", kafka.password());
    strange.retain(|(name, _)| *name != "ssl.ca.pem");
    assert!(topics(kafka.sasl_ssl_bootstrap(), strange).await.is_err());
}

#[tokio::test]
#[ignore = "starts a real part: make test-real"]
async fn a_broker_that_was_killed_comes_back_as_it_was() {
    let mut kafka = Kafka::start(KafkaOptions::default()).await.unwrap();
    let before = topics(kafka.bootstrap(), Vec::new()).await.unwrap();
    kafka.kill().await;
    assert!(topics(kafka.bootstrap(), Vec::new()).await.is_err());
    kafka.restart().await.unwrap();
    assert_eq!(topics(kafka.bootstrap(), Vec::new()).await.unwrap(), before);
    kafka.stop().await;
    assert!(topics(kafka.bootstrap(), Vec::new()).await.is_err());
}

#[tokio::test]
#[ignore = "starts a real part: make test-real"]
async fn an_authorizing_broker_shows_users_nothing_without_a_rule() {
    let options = KafkaOptions {
        authorize: true,
        ..KafkaOptions::default()
    };
    let kafka = Kafka::start(options).await.unwrap();
    let user = login(&kafka, "SCRAM-SHA-512", kafka.password());
    assert_eq!(topics(kafka.sasl_ssl_bootstrap(), user).await.unwrap(), []);
}
