//! What every service answers about its parked messages, and how an operator settles them.
//!
//! | request | answer |
//! |---|---|
//! | `GET /parked?consumer=C&topic=T&error_class=E&resolution=R&all=true&before=SEQ&limit=N` | [`ParkedPage`], newest first; without `all` those that wait |
//! | `GET /parked/{id}` | [`ParkedMessage`] with headers, content and actions, or 404 |
//! | `POST /parked/replay`, `POST /parked/discard` with [`SettleParked`] | [`SettledParked`] or 422 [`crate::http::Refused`] |
//!
//! The edge answers them at its internal address alone.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One page of parked messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedPage {
    pub parked: Vec<ParkedMessage>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// A message that waits for an operator, or did. Times are microseconds since 1970 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedMessage {
    pub id: Uuid,
    /// Its place in the order of parking; the cursor of a page.
    pub seq: i64,
    /// The service that holds it.
    pub service: String,
    /// The consumer group that could not handle it, or `relay` for one that the broker would not take.
    pub consumer: String,
    pub topic: String,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    pub key: Option<String>,
    pub message_id: Option<Uuid>,
    pub message_type: Option<String>,
    pub command_id: Option<Uuid>,
    /// `failed`, or `behind` for one that waits for an earlier one of its key.
    pub cause: String,
    pub error_class: String,
    pub error: String,
    pub attempts: i32,
    pub parked_at: i64,
    /// The last try.
    pub failed_at: i64,
    /// Whether it is to be handled again and has not been yet.
    pub replaying: bool,
    pub resolved_at: Option<i64>,
    /// `replayed` or `discarded`.
    pub resolution: Option<String>,
    pub resolved_by: Option<String>,
    pub reason: Option<String>,
    /// What came with it; only where one message is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ParkedContent>,
}

/// What came with a parked message, and who did what about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedContent {
    /// By name.
    pub headers: serde_json::Value,
    /// The message in JSON; none when its bytes cannot be read.
    pub message: Option<serde_json::Value>,
    /// Oldest first.
    pub actions: Vec<ParkedAction>,
}

/// Something that an operator wanted to happen to a parked message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkedAction {
    /// `replay` or `discard`.
    pub action: String,
    pub actor: String,
    pub reason: String,
    /// Microseconds since 1970 in UTC.
    pub at: i64,
}

/// What an operator wants to happen to parked messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettleParked {
    pub idempotency_key: Uuid,
    /// At most [`crate::http::MAX_IDS`].
    pub ids: Vec<Uuid>,
    /// Who: an id, not a name.
    pub actor: String,
    pub reason: String,
}

/// What became of them, in the order in which they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledParked {
    pub settled: Vec<Settled>,
}

/// What became of one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub id: Uuid,
    pub outcome: SettledOutcome,
}

/// What can become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettledOutcome {
    /// It will be handled again, with all that waits in its line, first come first.
    Replaying,
    /// It will not be handled.
    Discarded,
    /// It was handled again before; nothing was changed.
    AlreadyReplayed,
    /// It was discarded before; nothing was changed.
    AlreadyDiscarded,
    /// There is no such message here.
    Unknown,
}
