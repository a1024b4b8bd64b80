//! What operators look at: purchases by what they are, how many there are, and the messages of one.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::get,
};
use chrono::{DateTime, Utc};
use contracts::{
    http::{MAX_PAGE, Purchases},
    operator::{Counted, MAX_COUNTED, PurchaseSearch, SagaMessage, SagaMessages},
    topics,
};
use mailbox::Fault;
use saga::LogEntry;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    http::{Failure, view},
    orchestrator::Orchestrator,
    store::search::{self, Entry, Search},
};

/// What a view of a message leaves out: what pays, and what people wrote.
const REDACTED: [&str; 3] = ["payment_method_token", "note", "reason"];

/// The routes.
pub(crate) fn routes(orchestrator: Arc<Orchestrator>) -> Router {
    Router::new()
        .route("/operator/search", get(find))
        .route("/operator/count", get(count))
        .route("/operator/purchases/{id}/messages", get(messages))
        .with_state(orchestrator)
}

async fn find(
    State(orchestrator): State<Arc<Orchestrator>>,
    Query(query): Query<PurchaseSearch>,
) -> Result<Json<Purchases>, Failure> {
    let (before, limit) = (query.before.map(|id| id.0), query.limit.unwrap_or(20));
    let found = search::purchases(
        orchestrator.pool(),
        &read(query)?,
        before,
        limit.clamp(1, MAX_PAGE),
    )
    .await?;
    let purchases = found
        .iter()
        .filter_map(|record| view(&orchestrator, record))
        .collect();
    Ok(Json(Purchases { purchases }))
}

async fn count(
    State(orchestrator): State<Arc<Orchestrator>>,
    Query(query): Query<PurchaseSearch>,
) -> Result<Json<Counted>, Failure> {
    let counted = search::count(orchestrator.pool(), &read(query)?, MAX_COUNTED + 1).await?;
    Ok(Json(Counted {
        total: (counted <= MAX_COUNTED).then_some(counted),
    }))
}

fn read(query: PurchaseSearch) -> Result<Search, Failure> {
    Ok(Search {
        states: query
            .states
            .map(|states| states.split(',').map(str::to_owned).collect()),
        step: query.step,
        customer: query.customer.map(|customer| customer.0),
        reference: query.reference,
        sku: query.sku,
        created_after: query.created_after.map(time).transpose()?,
        created_before: query.created_before.map(time).transpose()?,
        stuck_for_seconds: query.stuck_for_seconds.map(|seconds| f64::from(seconds.max(0))),
    })
}

fn time(micros: i64) -> Result<DateTime<Utc>, Failure> {
    // PostgreSQL's calendar ends before ours does.
    DateTime::from_timestamp_micros(micros)
        .filter(|time| (0..=253_402_300_799).contains(&time.timestamp()))
        .ok_or_else(|| {
            Failure::BadRequest("times are microseconds since 1970, until the year 9999".to_owned())
        })
}

#[derive(Debug, Deserialize)]
struct MessagesQuery {
    after: Option<i64>,
    limit: Option<i64>,
}

async fn messages(
    State(orchestrator): State<Arc<Orchestrator>>,
    Path(id): Path<Uuid>,
    Query(query): Query<MessagesQuery>,
) -> Result<Json<SagaMessages>, Failure> {
    let (after, limit) = (query.after.unwrap_or(0).max(0), query.limit.unwrap_or(50));
    let limit = limit.clamp(1, MAX_PAGE);
    // Every entry has one message at least, so as many entries as messages are enough.
    let from = i32::try_from(after / PLACES).unwrap_or(i32::MAX);
    let entries = search::entries(orchestrator.pool(), id, from, limit + 1).await?;
    let mut messages = Vec::with_capacity(entries.len());
    for entry in entries {
        messages.extend(told(&entry)?);
    }
    messages.retain(|message| message.place > after);
    messages.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Json(SagaMessages { messages }))
}

/// Places of one entry: the message that it speaks of, and the event that was told with it.
const PLACES: i64 = 2;

fn told(entry: &Entry) -> Result<Vec<SagaMessage>, Fault> {
    let place = i64::from(entry.seq) * PLACES;
    let message = |place, message_type: String, topic: &str, payload| SagaMessage {
        place,
        message_type,
        topic: topic.to_owned(),
        partition: None,
        offset: None,
        schema_id: None,
        step: entry.step.clone(),
        at: entry.at.timestamp_micros(),
        payload,
    };
    let received = |message_type: String, topic: &str, payload| SagaMessage {
        partition: entry.partition,
        offset: entry.offset,
        schema_id: entry.schema_id,
        ..message(place, message_type, topic, Some(payload))
    };
    // Purchase, command and reply are read as they were written: an older program may have done so.
    let logged: LogEntry<Value, Value, Value> =
        serde_json::from_value(entry.body.clone()).map_err(Fault::deterministic)?;
    let first = match logged {
        LogEntry::Submitted { data, .. } | LogEntry::SubmittedCancelled { data, .. } => Some(received(
            "SubmitPurchase".to_owned(),
            topics::PURCHASE_COMMANDS,
            redacted(data),
        )),
        LogEntry::CommandSent(sent) => {
            let word = |name: &str| sent.command[name].as_str().unwrap_or_default().to_owned();
            let payload = redacted(sent.command["body"].clone());
            Some(message(
                place,
                record(&word("type")),
                &word("topic"),
                Some(payload),
            ))
        }
        LogEntry::ReplyAccepted { reply, .. }
        | LogEntry::ReplyRefused { reply, .. }
        | LogEntry::RollbackAcknowledged { reply, .. }
        | LogEntry::ReplyLate { reply, .. }
        | LogEntry::ReplyUnexpected { reply, .. } => Some(received(
            record(reply["type"].as_str().unwrap_or_default()),
            topics::PURCHASE_REPLIES,
            redacted(reply["body"].clone()),
        )),
        LogEntry::TimedOut(_)
        | LogEntry::CancelAccepted(_)
        | LogEntry::CancelRefused { .. }
        | LogEntry::OperatorActed { .. }
        | LogEntry::OperatorRefused { .. }
        | LogEntry::HoldExpired { .. }
        | LogEntry::StatusChanged(_) => None,
    };
    let event = entry.told_version.map(|_| SagaMessage {
        step: None,
        ..message(
            place + 1,
            "PurchaseUpdated".to_owned(),
            topics::PURCHASE_EVENTS,
            None,
        )
    });
    Ok(first.into_iter().chain(event).collect())
}

/// The record's name, without the namespace in which its owner has it.
fn record(full_name: &str) -> String {
    full_name.rsplit('.').next().unwrap_or(full_name).to_owned()
}

/// The content, without what nobody should read over an operator's shoulder.
fn redacted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let hidden = REDACTED.contains(&name.as_str()) && !value.is_null();
                let value = if hidden {
                    Value::String("[redacted]".to_owned())
                } else {
                    redacted(value)
                };
                (name, value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(redacted).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_pays_and_what_people_wrote_is_left_out_however_deep() {
        let content = json!({
            "payment_method_token": "tok_secret", "note": null, "total_minor": 5,
            "more": [{ "reason": "mine alone", "step": "x" }],
        });
        assert_eq!(
            redacted(content),
            json!({
                "payment_method_token": "[redacted]", "note": null, "total_minor": 5,
                "more": [{ "reason": "[redacted]", "step": "x" }],
            })
        );
    }
}
