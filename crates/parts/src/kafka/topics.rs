//! The topics of the contract on a new broker.

use std::{sync::Arc, time::Duration};

use contracts::topics::TOPICS;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    types::RDKafkaErrorCode,
};

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// There is one broker.
const REPLICATION: i32 = 1;

pub(super) type Admin = Arc<AdminClient<DefaultClientContext>>;

/// A client for administration.
pub(super) fn admin(bootstrap: &str) -> anyhow::Result<Admin> {
    let admin = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200")
        // It is asked before the broker is there, which is no news.
        .set("log_level", "0")
        .create()?;
    Ok(Arc::new(admin))
}

/// Whether the broker answers, and every topic that it has is ready.
pub(super) async fn answers(admin: &Admin) -> Option<()> {
    leaders(admin).await.map(|_| ())
}

/// Makes what is missing. Whether every topic of the contract is there with a leader for every partition.
pub(super) async fn declared(admin: &Admin) -> Option<()> {
    let settings: Vec<Vec<(&str, String)>> = TOPICS.iter().map(|t| t.settings(REPLICATION)).collect();
    let topics = TOPICS.iter().zip(&settings).map(|(topic, settings)| {
        let new = NewTopic::new(topic.name, topic.partitions, TopicReplication::Fixed(REPLICATION));
        settings
            .iter()
            .fold(new, |new, (name, value)| new.set(name, value))
    });
    let topics: Vec<NewTopic<'_>> = topics.collect();
    let options = AdminOptions::new()
        .request_timeout(Some(LIMIT))
        .operation_timeout(Some(LIMIT));
    let results = admin.create_topics(&topics, &options).await.ok()?;
    let made = results
        .iter()
        .all(|result| matches!(result, Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))));
    let known = leaders(admin).await?;
    (made && TOPICS.iter().all(|topic| known.contains(&topic.name.to_owned()))).then_some(())
}

/// The names of all topics, if all their partitions have leaders.
async fn leaders(admin: &Admin) -> Option<Vec<String>> {
    let admin = Arc::clone(admin);
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, LIMIT).ok()?;
        let led = metadata
            .topics()
            .iter()
            .all(|topic| topic.partitions().iter().all(|partition| partition.leader() >= 0));
        (led && !metadata.brokers().is_empty()).then(|| {
            metadata
                .topics()
                .iter()
                .map(|topic| topic.name().to_owned())
                .collect()
        })
    });
    asked.await.ok().flatten()
}
