//! Messages that wait for an operator, and what waits behind them.
//!
//! [`list`] reads them, [`settle`] is what operators do about them, and `replay.rs` of [`crate::consumer`] handles a message again.
//!
//! Messages of one consumer, topic and key wait in one line. Whoever puts a message behind another one holds that one's row, and
//! whoever settles a message locks it: so no message is put behind one that is being settled, and none waits for nobody
//! (test `a_message_that_arrives_while_its_line_is_replayed_is_handled_last`).

pub mod list;
pub mod settle;

use rdkafka::message::{Headers, Message as _, OwnedMessage};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Fault;

/// Why a message is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It cannot be handled.
    Failed,
    /// A message of its key before it is parked.
    Behind,
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Behind => "behind",
        }
    }
}

/// The namespace of parked ids. A random UUID, fixed once and for all.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_4a52_9f5b_4c1e_8d53_7a1c_22b9_0e41);

/// Parks a message that came from the broker. Parking the same record twice changes nothing; a command that is
/// parked already under the same key is not parked again when it is sent again.
///
/// # Errors
/// The database's faults.
pub async fn park_received(
    connection: &mut PgConnection,
    consumer: &str,
    message: &OwnedMessage,
    cause: Cause,
    fault: &Fault,
) -> Result<(), Fault> {
    let mut headers = Map::new();
    if let Some(all) = message.headers() {
        for header in all.iter() {
            let value = header.value.map(|v| storable(&String::from_utf8_lossy(v)));
            headers.insert(storable(header.key), value.map_or(Value::Null, Value::String));
        }
    }
    let header = |name: &str| headers.get(name).and_then(Value::as_str).map(str::to_owned);
    let message_id = header(contracts::envelope::header::ID).and_then(|id| Uuid::parse_str(&id).ok());
    let command_id = header(contracts::envelope::header::COMMAND_ID).and_then(|id| Uuid::parse_str(&id).ok());
    let message_type = header(contracts::envelope::header::TYPE);
    let key = readable_key(message).map(str::to_owned);
    sqlx::query!(
        r#"insert into parked (id, consumer, topic, partition, "offset", key, message_id, message_type, command_id,
                               headers, payload, cause, error_class, error)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
           on conflict do nothing"#,
        record_id(consumer, message),
        consumer,
        message.topic(),
        message.partition(),
        message.offset(),
        key,
        message_id,
        message_type,
        command_id,
        Value::Object(headers.clone()),
        message.payload(),
        cause.as_str(),
        fault.class(),
        storable(&fault.to_string()),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// PostgreSQL's text holds every character but one.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The longest key that is taken. Ours are UUIDs of 36 bytes; an index holds up to some 2,700.
const MAX_KEY_BYTES: usize = 200;

/// The key, when it is text that can be stored and indexed.
pub(crate) fn readable_key(message: &OwnedMessage) -> Option<&str> {
    let key = std::str::from_utf8(message.key()?).ok()?;
    (key.len() <= MAX_KEY_BYTES && !key.contains('\0')).then_some(key)
}

/// The id of a parked record: the same whenever the same record is parked again. The record's time is part of it,
/// because offsets begin anew when a topic was lost.
fn record_id(consumer: &str, message: &OwnedMessage) -> Uuid {
    let time = message.timestamp().to_millis().unwrap_or_default();
    let place = format!(
        "{consumer} {} {} {} {time}",
        message.topic(),
        message.partition(),
        message.offset()
    );
    Uuid::new_v5(&NAMESPACE, place.as_bytes())
}

/// Parks a message that the broker refuses for good. It was in the outbox and is so no longer.
///
/// # Errors
/// The database's faults.
pub async fn park_outgoing(
    connection: &mut PgConnection,
    message: &RefusedRow,
    cause: Cause,
    error: &str,
) -> Result<(), Fault> {
    // A message that was put back into the outbox and is refused again waits again.
    let again = sqlx::query!(
        "update parked p set resolved_at = null, resolution = null, resolved_by = null, reason = null,
                           cause = $2, error = $3, error_class = 'broker', attempts = attempts + 1, failed_at = now()
         where id = $1 and resolved_at is not null
           and not exists (select from parked o
                           where o.consumer = 'relay' and o.topic = p.topic and o.key = p.key
                             and o.command_id = p.command_id and o.resolved_at is null)",
        message.id,
        cause.as_str(),
        error,
    )
    .execute(&mut *connection)
    .await?;
    if again.rows_affected() > 0 {
        return Ok(());
    }
    sqlx::query!(
        r#"insert into parked (id, consumer, topic, key, message_id, message_type, command_id, headers, payload,
                               cause, error_class, error)
           values ($1, 'relay', $2, $3, $4, $5, $6, $7, $8, $9, 'broker', $10)
           on conflict do nothing"#,
        message.id,
        message.topic,
        message.key,
        message.id,
        message.message_type,
        message.command_id,
        message.headers,
        message.payload,
        cause.as_str(),
        error,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A row of the outbox on its way into `parked`.
#[derive(Debug)]
pub struct RefusedRow {
    /// `ce_id`.
    pub id: Uuid,
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// `ce_type`.
    pub message_type: String,
    /// `command-id`.
    pub command_id: Option<Uuid>,
    /// All headers, by name.
    pub headers: Value,
    /// The value.
    pub payload: Vec<u8>,
}
