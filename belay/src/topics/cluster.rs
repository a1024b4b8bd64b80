//! Asks the broker what is there, and tells it what to do.
//!
//! The embedded broker answers questions about topics, but none of the administration interface.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context as _, bail};
use contracts::traffic::{self, ASKING};
use mailbox::{KafkaSettings, closing::Closing, kafka::Context};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic,
        ResourceSpecifier, TopicReplication, TopicResult,
    },
    consumer::Consumer,
    error::RDKafkaErrorCode,
};
use tokio_util::sync::CancellationToken;

use crate::topics::plan::{Action, Actual, Contents, Declared, plan};

/// How long the broker may take for one answer.
const LIMIT: Duration = Duration::from_secs(15);
/// How long a change may take until the broker that answers knows of it.
const SETTLE: Duration = Duration::from_secs(15);
/// Pause before it is looked again.
const PAUSE: Duration = Duration::from_millis(100);

/// A broker that has answered.
#[derive(Debug)]
pub struct Cluster {
    settings: KafkaSettings,
    admin: Closing<AdminClient<Context>>,
    /// Ends the renewal of tokens.
    shutdown: CancellationToken,
}

/// Partitions and copies of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its partitions.
    pub partitions: i32,
    /// Copies of the partition that has the fewest.
    pub replication_factor: i32,
}

impl Cluster {
    /// Logs in and waits for the broker's first answer, for up to `limit` each.
    ///
    /// # Errors
    /// When there is none, or the login is refused.
    pub async fn connect(settings: KafkaSettings, limit: Duration) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        tokio::time::timeout(limit, settings.log_in(&shutdown))
            .await
            .context("the token issuer does not answer")??;
        let asked = settings.clone();
        tokio::task::spawn_blocking(move || asked.probe(limit))
            .await?
            .with_context(|| format!("the broker at {} cannot be used", settings.bootstrap))?;
        let admin = settings.admin()?;
        Ok(Self {
            settings,
            admin,
            shutdown,
        })
    }

    /// Every topic that we may see.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn topics(&self) -> anyhow::Result<BTreeMap<String, Shape>> {
        let settings = self.settings.clone();
        tokio::task::spawn_blocking(move || {
            let metadata = settings.asking(ASKING)?.fetch_metadata(None, LIMIT)?;
            let shapes = metadata
                .topics()
                .iter()
                .filter(|topic| topic.error().is_none())
                .map(|topic| {
                    let copies = topic
                        .partitions()
                        .iter()
                        .map(|partition| partition.replicas().len());
                    let shape = Shape {
                        partitions: count(topic.partitions().len()),
                        replication_factor: count(copies.min().unwrap_or_default()),
                    };
                    (topic.name().to_owned(), shape)
                });
            Ok(shapes.collect())
        })
        .await?
    }

    /// How many brokers there are.
    ///
    /// # Errors
    /// When none answers.
    pub async fn brokers(&self) -> anyhow::Result<i32> {
        let settings = self.settings.clone();
        tokio::task::spawn_blocking(move || {
            let metadata = settings.asking(ASKING)?.fetch_metadata(None, LIMIT)?;
            Ok(count(metadata.brokers().len()))
        })
        .await?
    }

    /// What is there of the declared topics.
    ///
    /// # Errors
    /// When the broker does not answer, or refuses to tell a topic's settings.
    pub async fn read(&self, declared: &[Declared]) -> anyhow::Result<BTreeMap<String, Actual>> {
        let shapes = self.topics().await?;
        let mut actual = BTreeMap::new();
        for topic in declared {
            let Some(shape) = shapes.get(topic.name) else {
                self.is_missing(topic.name).await?;
                continue;
            };
            let settings = self
                .resource(topic.name)
                .await?
                .entries
                .into_iter()
                .filter_map(|entry| Some((entry.name, entry.value?)))
                .collect();
            let contents = if shape.partitions < topic.partitions {
                self.contents(topic.name, shape.partitions).await?
            } else {
                Contents::default()
            };
            let topic_now = Actual {
                partitions: shape.partitions,
                replication_factor: shape.replication_factor,
                settings,
                contents,
            };
            actual.insert(topic.name.to_owned(), topic_now);
        }
        Ok(actual)
    }

    /// A topic that we may not see is not in the list of all, as if it were missing.
    async fn is_missing(&self, topic: &'static str) -> anyhow::Result<()> {
        let settings = self.settings.clone();
        tokio::task::spawn_blocking(move || {
            let metadata = settings.asking(ASKING)?.fetch_metadata(Some(topic), LIMIT)?;
            match metadata
                .topics()
                .first()
                .and_then(|found| found.error())
                .map(RDKafkaErrorCode::from)
            {
                Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    bail!("we may not see {topic}: {}", explained(code))
                }
                Some(_) | None => Ok(()),
            }
        })
        .await?
    }

    async fn resource(&self, topic: &str) -> anyhow::Result<ConfigResource> {
        let answers = self
            .admin
            .describe_configs(&[ResourceSpecifier::Topic(topic)], &options())
            .await
            .with_context(|| format!("the broker does not tell the settings of {topic}"))?;
        match answers.into_iter().next() {
            Some(Ok(resource)) => Ok(resource),
            Some(Err(code)) => {
                bail!(
                    "the broker does not tell the settings of {topic}: {}",
                    explained(code)
                )
            }
            None => bail!("the broker does not tell the settings of {topic}"),
        }
    }

    /// What is in a topic, and what the groups of ours have not read of it.
    async fn contents(&self, topic: &'static str, partitions: i32) -> anyhow::Result<Contents> {
        let settings = self.settings.clone();
        tokio::task::spawn_blocking(move || {
            let mut bounds = Vec::new();
            let consumer = settings.asking(ASKING)?;
            for partition in 0..partitions {
                bounds.push(consumer.fetch_watermarks(topic, partition, LIMIT)?);
            }
            let mut unread = Vec::new();
            for group in traffic::groups_of(topic) {
                let mut list = TopicPartitionList::new();
                list.add_partition_range(topic, 0, partitions - 1);
                let committed = settings
                    .asking(group)?
                    .committed_offsets(list, LIMIT)
                    .with_context(|| format!("the broker does not tell what {group} has read"))?;
                let left: i64 = (0..partitions)
                    .zip(&bounds)
                    .map(|(partition, (low, high))| {
                        let next = match committed
                            .find_partition(topic, partition)
                            .map(|found| found.offset())
                        {
                            Some(Offset::Offset(next)) => next.max(*low),
                            // Nothing is committed: a group begins at the beginning.
                            Some(_) | None => *low,
                        };
                        (high - next).max(0)
                    })
                    .sum();
                if left > 0 {
                    unread.push((group.to_owned(), left));
                }
            }
            let records = bounds.iter().map(|(low, high)| high - low).sum();
            Ok(Contents { records, unread })
        })
        .await?
    }

    /// Does what is planned for one topic. A refusal does nothing.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn carry_out(&self, action: &Action) -> anyhow::Result<()> {
        match action {
            Action::Create {
                topic,
                partitions,
                replication_factor,
                settings,
            } => {
                let new = NewTopic {
                    name: topic,
                    num_partitions: *partitions,
                    replication: TopicReplication::Fixed(*replication_factor),
                    config: settings
                        .iter()
                        .map(|(name, value)| (*name, value.as_str()))
                        .collect(),
                };
                let answers = self.admin.create_topics(&[new], &options()).await;
                settled(answers).with_context(|| format!("{topic} cannot be created"))
            }
            Action::AddPartitions { topic, to, .. } => {
                let new = NewPartitions::new(topic, usize::try_from(*to)?);
                let answers = self.admin.create_partitions(&[new], &options()).await;
                settled(answers).with_context(|| format!("{topic} cannot have more partitions"))
            }
            Action::Alter { topic, changes } => {
                // The interface sets all settings of a topic and resets what it is not told: what somebody else has set is
                // told with ours.
                let resource = self.resource(topic).await?;
                let mut entries: HashMap<&str, &str> = resource
                    .entries
                    .iter()
                    .filter(|entry| entry.source == ConfigSource::DynamicTopic)
                    .filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)))
                    .collect();
                entries.extend(
                    changes
                        .iter()
                        .map(|change| (change.name.as_str(), change.to.as_str())),
                );
                let alter = AlterConfig {
                    specifier: ResourceSpecifier::Topic(topic),
                    entries,
                };
                let answers = self.admin.alter_configs(&[alter], &options()).await;
                let answers = answers.map(|all| {
                    all.into_iter()
                        .map(|answer| {
                            answer
                                .map(|_| (*topic).to_owned())
                                .map_err(|(_, code)| ((*topic).to_owned(), code))
                        })
                        .collect()
                });
                settled(answers).with_context(|| format!("{topic} cannot be altered"))
            }
            Action::Refuse { .. } => Ok(()),
        }
    }

    /// Waits until the broker tells of the topics what is declared.
    ///
    /// # Errors
    /// When it does not within some seconds.
    pub async fn wait_until(&self, declared: &[Declared]) -> anyhow::Result<()> {
        let waited = tokio::time::timeout(SETTLE, async {
            loop {
                let left = plan(declared, &self.read(declared).await?);
                if left.is_empty() {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        waited.await.context(
            "the broker took every change and does not show it: run `belay topics check` in a while",
        )?
    }

    /// Waits until the broker knows the topics.
    ///
    /// # Errors
    /// When it does not within some seconds.
    pub async fn wait_until_present(&self, names: &[&str]) -> anyhow::Result<()> {
        let waited = tokio::time::timeout(SETTLE, async {
            loop {
                let present = self.topics().await?;
                if names.iter().all(|name| present.contains_key(*name)) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        waited.await.context("topics were created and are not there")?
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(LIMIT))
        .operation_timeout(Some(LIMIT))
}

fn settled(answers: Result<Vec<TopicResult>, rdkafka::error::KafkaError>) -> anyhow::Result<()> {
    for answer in answers? {
        match answer {
            // Somebody else was quicker; whether it is as declared shows when it is read again.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => bail!("{}", explained(code)),
        }
    }
    Ok(())
}

fn explained(code: RDKafkaErrorCode) -> String {
    let hint = match code {
        RDKafkaErrorCode::InvalidReplicationFactor => {
            ": there are fewer brokers than copies; say --replication-factor 1 for a single broker"
        }
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            ": `belay topics acls` prints the rights that this needs, under `admin`"
        }
        _ => "",
    };
    format!("{code}{hint}")
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
