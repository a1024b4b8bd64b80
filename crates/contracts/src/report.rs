//! What every service tells of itself: `GET /report` answers [`ServiceReport`].
//!
//! It speaks of all instances of the service: each writes its own part into the service's database, and any of them reads all.

use serde::{Deserialize, Serialize};

/// A service as it is at the moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    pub service: String,
    /// Of the program that answers.
    pub version: String,
    /// Instances that were alive within the last half minute.
    pub instances: i32,
    pub groups: Vec<GroupReport>,
    /// What is not as it should be, in words; empty when all is well.
    pub troubles: Vec<String>,
}

/// What a consumer group reads of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    pub group: String,
    pub topic: String,
    /// Instances that have partitions of the topic.
    pub members: i32,
    /// Messages that are not handled yet.
    pub lag: i64,
    /// Since when the oldest message at hand waits, in seconds; none when nothing is at hand.
    pub oldest_seconds: Option<i32>,
}
