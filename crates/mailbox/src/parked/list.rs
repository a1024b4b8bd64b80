//! Reads of parked messages.

use apache_avro::reader::datum::GenericDatumReader;
use chrono::{DateTime, Utc};
use contracts::{
    http::MAX_PAGE,
    parked::{ParkedAction, ParkedContent, ParkedMessage, ParkedPage},
};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{Codec, Fault};

/// Which messages are asked for; the names are those of the query string.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this consumer, or `relay`.
    pub consumer: Option<String>,
    /// Of this topic.
    pub topic: Option<String>,
    /// Of this class of errors.
    pub error_class: Option<String>,
    /// Only those that were settled so: `replayed` or `discarded`.
    pub resolution: Option<String>,
    /// Also those that are settled.
    #[serde(default)]
    pub all: bool,
    /// Only those parked before this `seq`.
    pub before: Option<i64>,
    /// At most so many: 20 when nothing is said, [`MAX_PAGE`] at most.
    pub limit: Option<i64>,
}

struct Row {
    id: Uuid,
    seq: i64,
    consumer: String,
    topic: String,
    partition: Option<i32>,
    offset: Option<i64>,
    key: Option<String>,
    message_id: Option<Uuid>,
    message_type: Option<String>,
    command_id: Option<Uuid>,
    cause: String,
    error_class: String,
    error: String,
    attempts: i32,
    parked_at: DateTime<Utc>,
    failed_at: DateTime<Utc>,
    replaying: bool,
    resolved_at: Option<DateTime<Utc>>,
    resolution: Option<String>,
    resolved_by: Option<String>,
    reason: Option<String>,
}

impl Row {
    fn message(self, service: &str) -> ParkedMessage {
        ParkedMessage {
            id: self.id,
            seq: self.seq,
            service: service.to_owned(),
            consumer: self.consumer,
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            key: self.key,
            message_id: self.message_id,
            message_type: self.message_type,
            command_id: self.command_id,
            cause: self.cause,
            error_class: self.error_class,
            error: self.error,
            attempts: self.attempts,
            parked_at: self.parked_at.timestamp_micros(),
            failed_at: self.failed_at.timestamp_micros(),
            replaying: self.replaying,
            resolved_at: self.resolved_at.map(|at| at.timestamp_micros()),
            resolution: self.resolution,
            resolved_by: self.resolved_by,
            reason: self.reason,
            content: None,
        }
    }
}

/// A page of the parked messages of `service`, newest first.
///
/// # Errors
/// The database's faults.
pub async fn list(pool: &PgPool, service: &str, filter: &Filter) -> Result<ParkedPage, Fault> {
    let limit = filter.limit.unwrap_or(20).clamp(1, MAX_PAGE);
    let mut rows = sqlx::query_as!(
        Row,
        r#"select id, seq, consumer, topic, partition, "offset", key, message_id, message_type, command_id, cause,
                  error_class, error, attempts, parked_at, failed_at, resolved_at, resolution, resolved_by, reason,
                  resolved_at is null and exists (
                      select from replay r where (r.consumer, r.topic, r.line) = (p.consumer, p.topic, p.line)
                  ) as "replaying!"
           from parked p
           where ($1::text is null or consumer = $1) and ($2::text is null or topic = $2)
             and ($3::text is null or error_class = $3)
             and case when $7::text is null then $4 or resolved_at is null else resolution = $7 end
             and ($5::bigint is null or seq < $5)
           order by seq desc limit $6"#,
        filter.consumer.as_deref(),
        filter.topic.as_deref(),
        filter.error_class.as_deref(),
        filter.all,
        filter.before,
        limit + 1,
        filter.resolution.as_deref(),
    )
    .fetch_all(pool)
    .await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    Ok(ParkedPage {
        parked: rows.into_iter().map(|row| row.message(service)).collect(),
        more,
    })
}

/// These messages, in no particular order; unknown ids are absent.
///
/// # Errors
/// The database's faults.
pub async fn these(pool: &PgPool, service: &str, ids: &[Uuid]) -> Result<Vec<ParkedMessage>, Fault> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, seq, consumer, topic, partition, "offset", key, message_id, message_type, command_id, cause,
                  error_class, error, attempts, parked_at, failed_at, resolved_at, resolution, resolved_by, reason,
                  resolved_at is null and exists (
                      select from replay r where (r.consumer, r.topic, r.line) = (p.consumer, p.topic, p.line)
                  ) as "replaying!"
           from parked p where id = any($1)"#,
        ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| row.message(service)).collect())
}

/// One message with all that came with it.
///
/// # Errors
/// The database's faults. A message that cannot be read as Avro is told without it.
pub async fn show(
    pool: &PgPool,
    codec: &Codec,
    service: &str,
    id: Uuid,
) -> Result<Option<ParkedMessage>, Fault> {
    let Some(mut message) = these(pool, service, &[id]).await?.pop() else {
        return Ok(None);
    };
    let content = sqlx::query!("select headers, payload from parked where id = $1", id)
        .fetch_one(pool)
        .await?;
    let actions = sqlx::query!(
        "select action, actor, reason, at from parked_action where parked_id = $1 order by id",
        id
    )
    .fetch_all(pool)
    .await?;
    message.content = Some(ParkedContent {
        headers: content.headers,
        message: match content.payload {
            Some(payload) => readable(codec, &payload).await,
            None => None,
        },
        actions: actions
            .into_iter()
            .map(|row| ParkedAction {
                action: row.action,
                actor: row.actor,
                reason: row.reason,
                at: row.at.timestamp_micros(),
            })
            .collect(),
    });
    Ok(Some(message))
}

async fn readable(codec: &Codec, payload: &[u8]) -> Option<Value> {
    let (schema, datum) = codec.open(payload).await.ok()?;
    let reader = GenericDatumReader::builder(&schema).build().ok()?;
    let value = reader.read_value(&mut datum.as_slice()).ok()?;
    Value::try_from(value).ok()
}
