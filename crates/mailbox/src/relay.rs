//! From the outbox to Kafka: visible rows in `seq` order, and exactly what was acknowledged is deleted.
//!
//! One leader per service holds a session advisory lock. It selects and deletes on the connection that holds the
//! lock, so that a leader whose session is gone can delete nothing. No position is kept, so nothing can be skipped: a row
//! that becomes visible late is simply found later. A message may be sent twice (a crash between acknowledgement and
//! delete); the consumer's inbox knows it by its id.
//!
//! Per-key order holds because `seq` is drawn while the key's row lock is held, because the producer leaves no gap
//! within a partition, and because there is one leader. Test: `the_relay_publishes_each_key_in_commit_order`.
//!
//! A broker that refuses a message answers for all that came with it in the same request. So a message is parked only
//! when it is refused alone. Test: `a_refusal_of_a_batch_parks_only_the_message_that_is_refused_alone`.

use std::{collections::HashSet, time::Duration};

use contracts::{
    envelope::{self, header},
    ids::MessageId,
};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureRecord, Producer},
    util::Timeout,
};
use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Fault, KafkaSettings, Outbox,
    failpoint::{self, Guard, Point},
    kafka::RelayProducer,
    limit::{STATEMENT_LIMIT, answered},
    outbox::Carrier,
    parked::{Cause, RefusedRow, park_outgoing, settle},
};

/// Rows read at once. Measured: 500 delete-returning rows a time relay about 64,000 rows/s on two cores.
const BATCH_ROWS: i64 = 500;
/// How long the relay sleeps when it is not woken: the latency of rows written by another process.
const POLL: Duration = Duration::from_millis(100);
/// How often an instance that is not the leader tries to become it.
const FOLLOWER_POLL: Duration = Duration::from_secs(1);
/// How long a batch may stay unacknowledged before another client sends it again. A broker that is away is waited out by one
/// client after the other; a client that keeps to a leader which is none any more never ends its waiting
/// (<https://github.com/confluentinc/librdkafka/issues/4898>).
const SEND_LIMIT: Duration = Duration::from_secs(60);
/// Pause after a failure of the database or the broker.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);

/// Moves the outbox of one service to Kafka.
#[derive(Debug)]
pub struct Relay {
    service: String,
    database: PgConnectOptions,
    kafka: KafkaSettings,
    outbox: Outbox,
    limit: Duration,
    send_limit: Duration,
}

/// A row that is sent.
#[derive(Debug)]
struct Row {
    seq: i64,
    id: Uuid,
    topic: String,
    key: String,
    message_type: String,
    payload: Vec<u8>,
    source: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
    command_id: Option<Uuid>,
    causation_id: Option<Uuid>,
    reply_to: Option<String>,
    created_at: chrono::DateTime<chrono::Utc>,
}

/// What became of one row.
enum Delivery {
    Acknowledged,
    /// The broker will never take it.
    Refused(String),
    /// It may take it later.
    Failed(KafkaError),
}

impl Relay {
    /// A relay for the schema that `database` names in its search path.
    #[must_use]
    pub fn new(service: &str, database: PgConnectOptions, kafka: KafkaSettings, outbox: Outbox) -> Self {
        // A leader whose host vanished must not hold the lock for the two hours of the system's default: the server
        // probes after 10 s and gives up after 3 more probes.
        let database = database.options([
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
        ]);
        Self {
            service: service.to_owned(),
            database,
            kafka,
            outbox,
            limit: STATEMENT_LIMIT,
            send_limit: SEND_LIMIT,
        }
    }

    /// Gives a statement another limit than [`STATEMENT_LIMIT`]. For tests.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Waits for the broker's acknowledgement of a batch for another time than a minute. For tests.
    #[must_use]
    pub fn with_send_limit(self, send_limit: Duration) -> Self {
        Self { send_limit, ..self }
    }

    /// Runs until `shutdown`. Faults of the database and the broker are logged and tried again for ever.
    ///
    /// At shutdown a batch that is under way is awaited for up to 0.5 s; what is not acknowledged stays in the outbox.
    pub async fn run(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.lead(&shutdown).await {
                metrics::counter!("belay_relay_failures_total", "service" => self.service.clone())
                    .increment(1);
                tracing::warn!(service = %self.service, "relay stopped and will start again: {error:#}");
                pause(FAILURE_PAUSE, &shutdown).await;
            }
        }
    }

    /// Becomes the leader and relays until shutdown or failure.
    async fn lead(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        // Dropped with every error, so that a connection that does not answer is never asked again.
        let mut connection = answered(self.limit, PgConnection::connect_with(&self.database)).await?;
        while !answered(self.limit, try_lock(&mut connection)).await? {
            pause(FOLLOWER_POLL, shutdown).await;
            if shutdown.is_cancelled() {
                return Ok(());
            }
        }
        tracing::debug!(service = %self.service, "relay leads");
        metrics::gauge!("belay_relay_leader", "service" => self.service.clone()).set(1.0);
        let result = self.relay(&mut connection, shutdown).await;
        metrics::gauge!("belay_relay_leader", "service" => self.service.clone()).set(0.0);
        result
    }

    async fn relay(&self, connection: &mut PgConnection, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut producer = self.kafka.relay_producer()?;
        let mut parked = answered(self.limit, parked_keys(connection)).await?;
        // Up to this row, rows are sent one at a time: the broker has refused one of them in company.
        let mut alone_to: Option<i64> = None;
        while !shutdown.is_cancelled() {
            if !parked.is_empty() {
                // An operator may have settled what a key waits for, or wants it sent again.
                answered(self.limit, settle::put_back(connection, Carrier::Relay)).await?;
                parked = answered(self.limit, parked_keys(connection)).await?;
            }
            let mut rows = answered(self.limit, select(connection)).await?;
            metrics::gauge!("belay_outbox_rows", "service" => self.service.clone()).set(rows.len() as f64);
            let Some(first) = rows.first() else {
                // Cancel-safe: a wake that is lost here is made good by the next select.
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = self.outbox.woken() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
                continue;
            };
            if alone_to.is_some_and(|last| first.seq <= last) {
                rows.truncate(1);
            } else {
                alone_to = None;
            }
            let (rows, behind): (Vec<Row>, Vec<Row>) = rows
                .into_iter()
                .partition(|row| !parked.contains(&(row.topic.clone(), row.key.clone())));
            for row in behind {
                let why = "an earlier message of its key is parked";
                answered(self.limit, park(connection, row, Cause::Behind, why)).await?;
            }
            failpoint::reach(Point::RelaySelected).await;
            // Dropping the sending loses nothing: what is not deleted is sent again.
            let sending = self.send(&producer, rows, shutdown);
            let Ok(sent) = tokio::time::timeout(self.send_limit, sending).await else {
                anyhow::bail!(
                    "the broker has not acknowledged a batch within {:?}",
                    self.send_limit
                );
            };
            let Some(sent) = sent? else { break };
            failpoint::reach(Point::RelaySent).await;
            let acknowledged: Vec<i64> = sent
                .iter()
                .filter(|(_, delivery)| matches!(delivery, Delivery::Acknowledged))
                .map(|(row, _)| row.seq)
                .collect();
            answered(self.limit, delete(connection, &acknowledged)).await?;
            failpoint::reach(Point::RelayDeleted).await;
            metrics::counter!("belay_relayed_total", "service" => self.service.clone())
                .increment(acknowledged.len() as u64);
            let company = sent.len() > 1;
            let mut failure = None;
            let mut renew = false;
            for (row, delivery) in sent {
                match delivery {
                    Delivery::Acknowledged => {}
                    Delivery::Refused(error) if company => {
                        tracing::warn!(service = %self.service, message.id = %row.id, "the broker refuses a batch, whose messages are sent again one by one: {error}");
                        alone_to = alone_to.max(Some(row.seq));
                        renew = true;
                    }
                    Delivery::Refused(error) => {
                        tracing::error!(service = %self.service, message.id = %row.id, "the broker refuses a message; its key is parked: {error}");
                        parked.insert((row.topic.clone(), row.key.clone()));
                        answered(self.limit, park(connection, row, Cause::Failed, &error)).await?;
                        renew = true;
                    }
                    // After a refusal the rest of the batch fails with it; that is no failure of the broker's.
                    Delivery::Failed(_) if renew => {}
                    Delivery::Failed(error) => failure = Some(error),
                }
            }
            if renew || failure.is_some() {
                // A gapless producer that failed once refuses everything after it: purge it, and read the rows again.
                producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
                producer = self.kafka.relay_producer()?;
            }
            if let Some(error) = failure {
                tracing::warn!(service = %self.service, "the broker did not take a batch, which is sent again: {error}");
                pause(FAILURE_PAUSE, shutdown).await;
            }
        }
        let _ = producer.flush(Timeout::After(Duration::ZERO));
        Ok(())
    }

    /// The span of a send, a child of the one that wrote the row.
    fn trace(&self, row: &Row) -> tracing::Span {
        let written_in = row.traceparent.as_deref().and_then(|text| text.parse().ok());
        spans::send(
            &self.service,
            &row.topic,
            &row.key,
            MessageId(row.id),
            row.payload.len(),
            written_in,
            row.tracestate.as_deref(),
        )
    }

    /// Hands all rows to the producer in order and waits for every answer. `None` when shutdown came first.
    async fn send(
        &self,
        producer: &RelayProducer,
        rows: Vec<Row>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Vec<(Row, Delivery)>>> {
        let mut pending = Vec::with_capacity(rows.len());
        for row in rows {
            let span = self.trace(&row);
            let delivery = enqueue(producer, &row, &span);
            // Nothing of the batch may overtake a row that could not be queued.
            let failed = delivery.is_err();
            pending.push((row, span, delivery));
            if failed {
                break;
            }
        }
        if failpoint::is_off(Guard::DeleteRule) {
            let hoped = pending.into_iter().map(|(row, ..)| (row, Delivery::Acknowledged));
            return Ok(Some(hoped.collect()));
        }
        let answers = async {
            let mut answers = Vec::with_capacity(pending.len());
            for (row, span, delivery) in pending {
                let delivery = match delivery {
                    Err(error) => classify(error),
                    Ok(future) => match future.await {
                        Ok(Ok(place)) => {
                            let partition = tracing::field::display(place.partition);
                            span.record("messaging.destination.partition.id", partition);
                            span.record("messaging.kafka.offset", place.offset);
                            Delivery::Acknowledged
                        }
                        Ok(Err((error, _))) => classify(error),
                        Err(_) => Delivery::Failed(KafkaError::Canceled),
                    },
                };
                match &delivery {
                    Delivery::Acknowledged => {}
                    Delivery::Refused(_) => spans::failed(&span, "refused"),
                    Delivery::Failed(_) => spans::failed(&span, "failed"),
                }
                answers.push((row, delivery));
            }
            answers
        };
        // Dropping the answers loses nothing: what is not deleted is sent again.
        tokio::select! {
            answers = answers => Ok(Some(answers)),
            () = async { shutdown.cancelled().await; tokio::time::sleep(Duration::from_millis(500)).await } => Ok(None),
        }
    }
}

fn enqueue(
    producer: &RelayProducer,
    row: &Row,
    span: &tracing::Span,
) -> Result<rdkafka::producer::DeliveryFuture, KafkaError> {
    // The consumer continues at the send; while tracing is off, at the span that wrote the row.
    let own = spans::context_of(span).map(|trace| trace.to_string());
    let mut headers = OwnedHeaders::new_with_capacity(13);
    for (name, value) in header_list(row) {
        let value = match &own {
            Some(own) if name == header::TRACEPARENT => own.clone(),
            Some(_) | None => value,
        };
        headers = headers.insert(Header {
            key: name,
            value: Some(&value),
        });
    }
    let record = FutureRecord::to(&row.topic)
        .key(&row.key)
        .payload(&row.payload)
        .headers(headers);
    producer.send_result(record).map_err(|(error, _)| error)
}

fn header_list(row: &Row) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        (header::SPEC_VERSION, envelope::SPEC_VERSION.to_owned()),
        (header::ID, row.id.to_string()),
        (header::TYPE, row.message_type.clone()),
        (header::SOURCE, row.source.clone()),
        (header::SUBJECT, row.key.clone()),
        (
            header::TIME,
            row.created_at
                .to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        ),
        (header::CONTENT_TYPE, envelope::CONTENT_TYPE.to_owned()),
        (header::SEQUENCE, row.seq.to_string()),
    ];
    let optional = [
        (header::TRACEPARENT, row.traceparent.clone()),
        (header::TRACESTATE, row.tracestate.clone()),
        (header::COMMAND_ID, row.command_id.map(|id| id.to_string())),
        (header::CAUSATION_ID, row.causation_id.map(|id| id.to_string())),
        (header::REPLY_TO, row.reply_to.clone()),
    ];
    headers.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| (name, value))),
    );
    headers
}

/// Only what the message itself brings about is final. A missing topic or right is the deployment's fault and concerns
/// every message alike: that is waited out.
fn classify(error: KafkaError) -> Delivery {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidRecord,
        ) => Delivery::Refused(error.to_string()),
        _ => Delivery::Failed(error),
    }
}

/// One lock per schema, so that two services that share a database have a leader each.
async fn try_lock(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select pg_try_advisory_lock(hashtextextended('belay relay of ' || current_schema(), 0)) as "locked!""#
    )
    .fetch_one(connection)
    .await
}

async fn select(connection: &mut PgConnection) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        "select seq, id, aggregatetype as topic, aggregateid as key, type as message_type, payload, source,
                traceparent, tracestate, command_id, causation_id, reply_to, created_at
         from outbox order by seq limit $1",
        BATCH_ROWS
    )
    .fetch_all(connection)
    .await
}

async fn delete(connection: &mut PgConnection, sequences: &[i64]) -> Result<(), sqlx::Error> {
    if sequences.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from outbox where seq = any($1)", sequences)
        .execute(connection)
        .await?;
    Ok(())
}

async fn parked_keys(connection: &mut PgConnection) -> Result<HashSet<(String, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select distinct topic, key as "key!" from parked
           where consumer = 'relay' and resolved_at is null and key is not null"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.topic, row.key)).collect())
}

async fn park(connection: &mut PgConnection, row: Row, cause: Cause, error: &str) -> Result<(), Fault> {
    let headers: Map<String, Value> = header_list(&row)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect();
    let seq = row.seq;
    let refused = RefusedRow {
        id: row.id,
        topic: row.topic,
        key: row.key,
        message_type: row.message_type,
        command_id: row.command_id,
        headers: Value::Object(headers),
        payload: row.payload,
    };
    let mut tx = connection.begin().await?;
    if cause == Cause::Behind && !is_held_up(&mut tx, &refused.topic, &refused.key).await? {
        // An operator discarded what it would wait for: it is sent with the next batch.
        return Ok(());
    }
    park_outgoing(&mut tx, &refused, cause, error).await?;
    delete(&mut tx, &[seq]).await?;
    tx.commit().await?;
    Ok(())
}

/// Whether a message of the key is parked, which then stays so until the transaction ends.
async fn is_held_up(connection: &mut PgConnection, topic: &str, key: &str) -> Result<bool, sqlx::Error> {
    let held = sqlx::query!(
        "select id from parked where consumer = 'relay' and topic = $1 and key = $2 and resolved_at is null
         order by seq for share",
        topic,
        key
    )
    .fetch_all(connection)
    .await?;
    Ok(!held.is_empty())
}

async fn pause(duration: Duration, shutdown: &CancellationToken) {
    // Cancel-safe: nothing is under way while it waits.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}
