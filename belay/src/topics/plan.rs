//! From what is declared and what is there to what is to be done. Pure: the broker is asked before and told after.

use std::{collections::BTreeMap, fmt};

use contracts::topics::{TOPICS, Topic};
use serde_json::{Value, json};

/// A topic as it is to be.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// Its partitions.
    pub partitions: i32,
    /// Copies of each partition.
    pub replication_factor: i32,
    /// Its settings.
    pub settings: Vec<(&'static str, String)>,
}

/// A topic as it is.
#[derive(Debug, Clone, Default)]
pub struct Actual {
    /// Its partitions.
    pub partitions: i32,
    /// Copies of the partition that has the fewest.
    pub replication_factor: i32,
    /// All its settings that the broker tells, its defaults included.
    pub settings: BTreeMap<String, String>,
    /// What is in it. Only looked at where partitions are missing.
    pub contents: Contents,
}

/// What is in a topic.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Offsets between the beginning and the end of all partitions together.
    pub records: i64,
    /// The groups of ours that have not read all of it, and how much they have not.
    pub unread: Vec<(String, i64)>,
}

/// A setting that is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub name: String,
    /// What it is.
    pub from: String,
    /// What it is to be.
    pub to: String,
}

/// What is to be done with one topic, or why it cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is missing.
    Create {
        /// The topic.
        topic: &'static str,
        /// Its partitions.
        partitions: i32,
        /// Copies of each.
        replication_factor: i32,
        /// Its settings.
        settings: Vec<(&'static str, String)>,
    },
    /// Settings differ.
    Alter {
        /// The topic.
        topic: &'static str,
        /// What differs.
        changes: Vec<Change>,
    },
    /// It has too few partitions and is drained.
    AddPartitions {
        /// The topic.
        topic: &'static str,
        /// How many it has.
        from: i32,
        /// How many it is to have.
        to: i32,
    },
    /// It differs, and must not or cannot be changed.
    Refuse {
        /// The topic.
        topic: &'static str,
        /// Why, and what can be done.
        reason: Reason,
    },
}

/// Why a topic is not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A group of ours has not read all of it.
    Unread {
        /// Partitions that it has, and is to have.
        from: i32,
        /// See `from`.
        to: i32,
        /// The groups, and what each has not read.
        groups: Vec<(String, i64)>,
    },
    /// Everything is read, but it is still there: whoever reads from the beginning would see a key in two partitions.
    Records {
        /// Partitions that it has, and is to have.
        from: i32,
        /// See `from`.
        to: i32,
        /// How many.
        records: i64,
    },
    /// Kafka takes no partitions away.
    MorePartitions {
        /// How many it has.
        actual: i32,
        /// How many it is to have.
        declared: i32,
    },
    /// Copies are moved by a reassignment, which copies data between brokers at a time of the operator's choice.
    OtherReplication {
        /// How many it has.
        actual: i32,
        /// How many it is to have.
        declared: i32,
    },
}

/// The declaration of the repository, with the copies that `replication_factor` makes of the declared ones.
pub fn declared(replication_factor: impl Fn(i32) -> i32) -> Vec<Declared> {
    TOPICS
        .iter()
        .map(|topic: &Topic| {
            let copies = replication_factor(topic.replication_factor);
            Declared {
                name: topic.name,
                partitions: topic.partitions,
                replication_factor: copies,
                settings: topic.settings(copies),
            }
        })
        .collect()
}

/// What is to be done so that every declared topic is as declared. Topics that are not declared are left alone.
#[must_use]
pub fn plan(declared: &[Declared], actual: &BTreeMap<String, Actual>) -> Vec<Action> {
    declared
        .iter()
        .flat_map(|topic| match actual.get(topic.name) {
            None => vec![Action::Create {
                topic: topic.name,
                partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                settings: topic.settings.clone(),
            }],
            Some(actual) => differences(topic, actual),
        })
        .collect()
}

fn differences(declared: &Declared, actual: &Actual) -> Vec<Action> {
    let topic = declared.name;
    let mut actions = Vec::new();
    if declared.replication_factor != actual.replication_factor {
        let reason = Reason::OtherReplication {
            actual: actual.replication_factor,
            declared: declared.replication_factor,
        };
        actions.push(Action::Refuse { topic, reason });
    }
    actions.extend(partitions(declared, actual));
    let changes: Vec<Change> = declared
        .settings
        .iter()
        .filter_map(|(name, to)| {
            let from = actual.settings.get(*name);
            (from != Some(to)).then(|| Change {
                name: (*name).to_owned(),
                from: from.cloned().unwrap_or_else(|| "unknown".to_owned()),
                to: to.clone(),
            })
        })
        .collect();
    if !changes.is_empty() {
        actions.push(Action::Alter { topic, changes });
    }
    actions
}

/// Every topic of ours is keyed: with another number of partitions a key moves to another one, where it can be read before
/// what is left of it in the first. So it must be empty.
fn partitions(declared: &Declared, actual: &Actual) -> Option<Action> {
    let topic = declared.name;
    let (from, to) = (actual.partitions, declared.partitions);
    let Contents { records, unread } = &actual.contents;
    let refuse = |reason| Some(Action::Refuse { topic, reason });
    match from.cmp(&to) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => refuse(Reason::MorePartitions {
            actual: from,
            declared: to,
        }),
        std::cmp::Ordering::Less if !unread.is_empty() => refuse(Reason::Unread {
            from,
            to,
            groups: unread.clone(),
        }),
        std::cmp::Ordering::Less if *records > 0 => refuse(Reason::Records {
            from,
            to,
            records: *records,
        }),
        std::cmp::Ordering::Less => Some(Action::AddPartitions { topic, from, to }),
    }
}

impl Action {
    /// Whether nothing can be done.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refuse { .. } => true,
            Self::Create { .. } | Self::Alter { .. } | Self::AddPartitions { .. } => false,
        }
    }

    /// The topic that it is about.
    #[must_use]
    pub fn topic(&self) -> &'static str {
        match self {
            Self::Create { topic, .. }
            | Self::Alter { topic, .. }
            | Self::AddPartitions { topic, .. }
            | Self::Refuse { topic, .. } => topic,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Alter { .. } => "alter",
            Self::AddPartitions { .. } => "add partitions",
            Self::Refuse { .. } => "REFUSED",
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Create {
                partitions,
                replication_factor,
                settings,
                ..
            } => {
                let settings: Vec<String> = settings
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!(
                    "partitions {partitions}, replication factor {replication_factor}, {}",
                    settings.join(" ")
                )
            }
            Self::Alter { changes, .. } => {
                let changes: Vec<String> = changes
                    .iter()
                    .map(|change| format!("{} {} -> {}", change.name, change.from, change.to))
                    .collect();
                changes.join(", ")
            }
            Self::AddPartitions { from, to, .. } => format!("{from} -> {to}"),
            Self::Refuse { reason, .. } => reason.to_string(),
        }
    }

    /// In short: `orders.commands.v1: create`.
    #[must_use]
    pub fn name_and_topic(&self) -> String {
        format!("{}: {}", self.topic(), self.name())
    }

    pub(super) fn row(&self) -> [String; 3] {
        [self.topic().to_owned(), self.name().to_owned(), self.what()]
    }

    pub(super) fn json(&self) -> Value {
        json!({ "topic": self.topic(), "action": self.name().to_lowercase(), "what": self.what() })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.topic(), self.name(), self.what())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread { from, to, groups } => {
                let groups: Vec<String> = groups
                    .iter()
                    .map(|(group, records)| format!("{group} has {records} records to read"))
                    .collect();
                write!(
                    formatter,
                    "partitions {from} -> {to} while it is not drained: {}. A key would move to another partition and overtake \
                     itself. Stop what writes it, let the groups read on, then empty it",
                    groups.join(", ")
                )
            }
            Self::Records { from, to, records } => write!(
                formatter,
                "partitions {from} -> {to} while {records} records are in it: all are read, but whoever reads from the beginning \
                 would find a key in two partitions. Stop what writes it and delete the records (kafka-delete-records), or wait \
                 until they have expired; of a compacted topic make a new version instead"
            ),
            Self::MorePartitions { actual, declared } => write!(
                formatter,
                "it has {actual} partitions and {declared} are declared: Kafka takes none away. Declare {actual}, or make a new \
                 version of the topic"
            ),
            Self::OtherReplication { actual, declared } => write!(
                formatter,
                "it has {actual} copies and is to have {declared}: that is a reassignment (kafka-reassign-partitions), which moves \
                 data between brokers; or say --replication-factor {actual}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "orders.commands.v1";

    fn wanted() -> Declared {
        Declared {
            name: NAME,
            partitions: 8,
            replication_factor: 3,
            settings: vec![
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", "1000".to_owned()),
            ],
        }
    }

    /// As declared, with more that the declaration does not speak of.
    fn there() -> Actual {
        let settings = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "1000"),
            ("segment.ms", "5"),
        ];
        Actual {
            partitions: 8,
            replication_factor: 3,
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            contents: Contents::default(),
        }
    }

    fn refuse(reason: Reason) -> Vec<Action> {
        vec![Action::Refuse { topic: NAME, reason }]
    }

    #[test]
    fn what_differs_is_altered_and_what_cannot_be_is_refused() {
        let contents = |records, unread: &[(&str, i64)]| Contents {
            records,
            unread: unread
                .iter()
                .map(|(group, count)| ((*group).to_owned(), *count))
                .collect(),
        };
        let with = |change: fn(&mut Actual)| {
            let mut actual = there();
            change(&mut actual);
            actual
        };
        let few = |contents| Actual {
            partitions: 5,
            contents,
            ..there()
        };
        let groups = vec![("belay.orders".to_owned(), 3)];
        for (case, actual, expected) in [
            ("as declared", there(), vec![]),
            (
                "a setting differs and one is not told",
                with(|actual| {
                    actual.settings.insert("retention.ms".to_owned(), "7".to_owned());
                    actual.settings.remove("cleanup.policy");
                }),
                vec![Action::Alter {
                    topic: NAME,
                    changes: vec![
                        Change {
                            name: "cleanup.policy".to_owned(),
                            from: "unknown".to_owned(),
                            to: "delete".to_owned(),
                        },
                        Change {
                            name: "retention.ms".to_owned(),
                            from: "7".to_owned(),
                            to: "1000".to_owned(),
                        },
                    ],
                }],
            ),
            (
                "too few partitions, empty",
                few(contents(0, &[])),
                vec![Action::AddPartitions {
                    topic: NAME,
                    from: 5,
                    to: 8,
                }],
            ),
            (
                "too few partitions, unread",
                few(contents(9, &[("belay.orders", 3)])),
                refuse(Reason::Unread {
                    from: 5,
                    to: 8,
                    groups,
                }),
            ),
            (
                "too few partitions, read but there",
                few(contents(9, &[])),
                refuse(Reason::Records {
                    from: 5,
                    to: 8,
                    records: 9,
                }),
            ),
            (
                "too many partitions",
                with(|actual| actual.partitions = 9),
                refuse(Reason::MorePartitions {
                    actual: 9,
                    declared: 8,
                }),
            ),
            (
                "too few copies",
                with(|actual| actual.replication_factor = 1),
                refuse(Reason::OtherReplication {
                    actual: 1,
                    declared: 3,
                }),
            ),
        ] {
            let actual = BTreeMap::from([(NAME.to_owned(), actual)]);
            assert_eq!(plan(&[wanted()], &actual), expected, "{case}");
        }
    }

    #[test]
    fn what_is_missing_is_created_and_what_is_not_ours_is_left_alone() {
        let actual = BTreeMap::from([("somebody.elses".to_owned(), Actual::default())]);
        assert_eq!(
            plan(&[wanted()], &actual),
            [Action::Create {
                topic: NAME,
                partitions: 8,
                replication_factor: 3,
                settings: wanted().settings,
            }]
        );
    }

    #[test]
    fn fewer_copies_ask_for_fewer_in_sync() {
        let single = declared(|_| 1);
        assert_eq!(single.len(), TOPICS.len());
        for topic in &single {
            assert_eq!(topic.replication_factor, 1);
            assert!(
                topic.settings.contains(&("min.insync.replicas", "1".to_owned())),
                "{topic:?}"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_can_be_done() {
        let reason = Reason::Unread {
            from: 8,
            to: 12,
            groups: vec![("belay.orders".to_owned(), 3)],
        };
        let text = Action::Refuse { topic: NAME, reason }.to_string();
        assert!(
            text.starts_with("orders.commands.v1: REFUSED: partitions 8 -> 12")
                && text.contains("belay.orders has 3"),
            "{text}"
        );
    }
}
