//! Parked messages, handled again when an operator wants it: one at a time, in the order in which they were parked, each in a
//! transaction that settles it, handles it, and writes the outbox.
//!
//! A line is handled to its end, with what is parked behind it meanwhile. When a message fails again, it keeps its place with the
//! new error, and the line waits for the operator again. Several instances share the lines: whoever works on one holds its row.

use rdkafka::{
    Timestamp,
    message::{Header, OwnedHeaders, OwnedMessage},
};
use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection};
use tracing::Instrument;

use super::{
    CancellationToken, Consumer, Duration, Handler, LONGEST_PAUSE, Received, Uuid, inbox, limit, open, pause,
};
use crate::{Fault, parked::storable};

/// How often an idle consumer asks whether an operator wants something. A person does not notice it, and neither does the
/// database.
const LOOK: Duration = Duration::from_secs(1);

/// The first message of a line that is to be handled again.
struct First {
    topic: String,
    line: String,
    /// None when the line is empty.
    id: Option<Uuid>,
    message: OwnedMessage,
}

impl<H: Handler> Consumer<H> {
    /// Handles again what operators want handled again, until `shutdown`.
    pub(super) async fn replay(&self, shutdown: &CancellationToken) {
        let mut delay = LOOK;
        while !shutdown.is_cancelled() {
            match self.replay_next().await {
                Ok(true) => {
                    delay = LOOK;
                    continue;
                }
                Ok(false) => delay = LOOK,
                Err(fault) => {
                    tracing::warn!(group = %self.group, "parked messages could not be handled again yet: {fault}");
                    delay = (delay * 2).min(LONGEST_PAUSE);
                }
            }
            pause(delay, shutdown).await;
        }
    }

    /// Handles one message again, or takes leave of a line that is empty. False when there is nothing to do.
    async fn replay_next(&self) -> Result<bool, Fault> {
        let first = limit::on_connection(&self.pool, self.limit, async |connection| {
            first(connection, &self.group).await
        })
        .await?;
        let Some(first) = first else {
            return Ok(false);
        };
        if first.id.is_none() {
            return limit::on_connection(&self.pool, self.limit, async |connection| {
                self.leave(connection, &first).await
            })
            .await;
        }
        // The registry may be asked, so this is outside of the transaction.
        let opened = match open(&self.codec, &first.message).await {
            Ok(mut received) => {
                self.trace(&mut received, 1);
                let span = received.span.clone();
                let handled = limit::on_connection(&self.pool, self.limit, async |connection| {
                    self.handle_first(connection, &first, received).await
                });
                let handled = handled.instrument(span.clone()).await;
                if let Err(fault) = &handled {
                    spans::failed(&span, fault.class());
                }
                handled
            }
            Err(fault) => Err(fault),
        };
        match opened {
            Err(fault @ Fault::Deterministic(_)) => {
                tracing::error!(group = %self.group, topic = %first.topic, "a parked message failed again: {fault}");
                limit::on_connection(&self.pool, self.limit, async |connection| {
                    self.fail(connection, &first, &fault).await
                })
                .await
            }
            other => other,
        }
    }

    /// Handles the first message of a line. False when somebody else was faster, or works on the line.
    async fn handle_first(
        &self,
        connection: &mut PgConnection,
        first: &First,
        received: Received,
    ) -> Result<bool, Fault> {
        let mut tx = connection.begin().await?;
        let settled = sqlx::query_scalar!(
            r#"with mine as (
                   select actor, reason from replay where consumer = $1 and topic = $2 and line = $3
                   for update skip locked
               )
               update parked set resolved_at = now(), resolution = 'replayed', resolved_by = mine.actor,
                                 reason = mine.reason
               from mine where id = $4 and resolved_at is null
               returning true as "settled!""#,
            self.group,
            first.topic,
            first.line,
            first.id
        )
        .fetch_optional(&mut *tx)
        .await?;
        if settled.is_none() {
            return Ok(false);
        }
        let fresh = inbox::claim_first(&mut tx, &self.group, &received).await?;
        let batch = [received];
        let outgoing = if fresh {
            self.handler.handle(&mut tx, &batch).await?
        } else {
            Vec::new()
        };
        self.outbox.append(&mut tx, &outgoing).await?;
        tx.commit().await?;
        if !outgoing.is_empty() {
            self.outbox.wake_relay();
        }
        if fresh {
            self.handler.committed(&batch);
        }
        metrics::counter!("belay_parked_replayed_total", "service" => self.service.clone()).increment(1);
        Ok(true)
    }

    /// Keeps a message that failed again in its place, with the new error. The line waits for the operator.
    async fn fail(&self, connection: &mut PgConnection, first: &First, fault: &Fault) -> Result<bool, Fault> {
        let mut tx = connection.begin().await?;
        let mine = sqlx::query_scalar!(
            r#"delete from replay where ctid = (
                   select ctid from replay where consumer = $1 and topic = $2 and line = $3 for update skip locked)
               returning true as "mine!""#,
            self.group,
            first.topic,
            first.line
        )
        .fetch_optional(&mut *tx)
        .await?;
        if mine.is_none() {
            return Ok(false);
        }
        sqlx::query!(
            "update parked set cause = 'failed', error_class = $2, error = $3, attempts = attempts + 1, failed_at = now()
             where id = $1 and resolved_at is null",
            first.id,
            fault.class(),
            storable(&fault.to_string())
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets a line that is empty. Nothing can be parked behind nobody, so it stays so.
    async fn leave(&self, connection: &mut PgConnection, line: &First) -> Result<bool, Fault> {
        let left = sqlx::query!(
            "delete from replay r where ctid = (
                 select ctid from replay where consumer = $1 and topic = $2 and line = $3 for update skip locked)
               and not exists (select from parked p
                               where (p.consumer, p.topic, p.line) = (r.consumer, r.topic, r.line)
                                 and p.resolved_at is null)",
            self.group,
            line.topic,
            line.line
        )
        .execute(connection)
        .await?;
        Ok(left.rows_affected() > 0)
    }
}

/// The line that was asked for first among those that nobody works on, and its first message.
async fn first(connection: &mut PgConnection, consumer: &str) -> Result<Option<First>, Fault> {
    let row = sqlx::query!(
        r#"with wanted as (
               select topic, line from replay where consumer = $1
               order by requested_at, topic, line limit 1 for update skip locked
           )
           select w.topic, w.line, p.id as "id?", p.partition, p."offset", p.key, p.headers as "headers?", p.payload,
                  p.parked_at as "parked_at?"
           from wanted w
           left join lateral (
               select * from parked p
               where p.consumer = $1 and p.topic = w.topic and p.line = w.line and p.resolved_at is null
               order by seq limit 1
           ) p on true"#,
        consumer
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| First {
        message: OwnedMessage::new(
            row.payload,
            row.key.map(String::into_bytes),
            row.topic.clone(),
            row.parked_at.map_or(Timestamp::NotAvailable, |at| {
                Timestamp::CreateTime(at.timestamp_millis())
            }),
            row.partition.unwrap_or_default(),
            row.offset.unwrap_or_default(),
            Some(headers(row.headers.as_ref().and_then(Value::as_object))),
        ),
        topic: row.topic,
        line: row.line,
        id: row.id,
    }))
}

fn headers(kept: Option<&Map<String, Value>>) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    for (key, value) in kept.into_iter().flatten() {
        headers = headers.insert(Header {
            key,
            value: value.as_str(),
        });
    }
    headers
}
