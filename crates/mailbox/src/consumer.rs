//! From Kafka to a [`Handler`]: one transaction per batch, offsets after the commit.
//!
//! A batch is what is queued; the loop never waits for more. Its transaction holds the inbox claims, the handler's
//! changes and, last, the outbox. Transient faults repeat the same batch. Deterministic ones bisect it until the message
//! that fails alone is found, which is parked; later messages of its key are parked behind it. `replay.rs` handles them again.

mod assignments;
mod replay;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contracts::envelope::Envelope;
use futures::{FutureExt, StreamExt};
use rdkafka::{
    Message as _,
    consumer::{CommitMode, Consumer as _},
    message::{Headers, OwnedMessage},
};
use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use self::assignments::{Assignments, drop_revoked, store_offsets};
use crate::{
    Codec, Fault, KafkaSettings, Outbox, Outgoing, Received,
    backlog::{Backlog, STATISTICS_INTERVAL_MS},
    failpoint::{self, Guard, Point},
    inbox,
    kafka::stall::{Begins, StallWatch},
    limit::{self, STATEMENT_LIMIT},
    parked::{Cause, park_received, readable_key},
};

/// Messages in one transaction at most. Beyond some hundreds the cost of a commit is spread thin enough.
const BATCH_MESSAGES: usize = 500;
/// Between two complaints about a broker that is away.
const COMPLAINT: Duration = Duration::from_secs(10);
/// How long the end of the service waits for the group to be left.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// First pause after a transient fault; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a service does with a batch of messages that it has not seen before.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles the messages in order within the caller's transaction, and returns what is to be sent.
    ///
    /// Lock first, decide in memory in offset order, write once. The caller writes the outbox and commits. It may
    /// call again with a part of the same batch after a rollback, so nothing may be kept outside the transaction.
    ///
    /// # Errors
    /// [`Fault::Transient`] repeats the batch, [`Fault::Deterministic`] bisects it. A refusal is neither.
    async fn handle(&self, connection: &mut PgConnection, batch: &[Received])
    -> Result<Vec<Outgoing>, Fault>;

    /// Called after the commit of a batch, for what other tasks of the process wait for.
    fn committed(&self, _batch: &[Received]) {}
}

/// One consumer group of a service.
#[derive(Debug)]
pub struct Consumer<H> {
    service: String,
    group: String,
    topics: Vec<&'static str>,
    kafka: KafkaSettings,
    pool: PgPool,
    codec: Codec,
    outbox: Outbox,
    handler: H,
    limit: Duration,
    delay: Duration,
}

impl<H: Handler> Consumer<H> {
    /// A consumer of `topics` in `group`. The group's name is also the consumer's name in the inbox.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of its own, named at the only kind of call"
    )]
    pub fn new(
        service: &str,
        group: &str,
        topics: &[&'static str],
        kafka: KafkaSettings,
        pool: PgPool,
        codec: Codec,
        outbox: Outbox,
        handler: H,
    ) -> Self {
        Self {
            service: service.to_owned(),
            group: group.to_owned(),
            topics: topics.to_vec(),
            kafka,
            pool,
            codec,
            outbox,
            handler,
            limit: STATEMENT_LIMIT,
            delay: Duration::ZERO,
        }
    }

    /// Makes it slow: messages are taken one at a time, each after this pause. So one instance handles at most one message per
    /// `delay`, and further instances help, which is what a demonstration of autoscaling needs. Zero switches it off.
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Gives a transaction another limit than [`STATEMENT_LIMIT`]. For tests.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Runs until `shutdown`. A batch that has begun is finished first.
    ///
    /// # Errors
    /// When the client cannot be made from its settings, or the broker has put another one in its place (the same
    /// `group.instance.id`: fault suite, "SIGSTOP, and a successor under the same name"); everything else is tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (mut read, mut replay) = (Box::pin(self.read(&shutdown)), Box::pin(self.replay(&shutdown)));
        // Neither is dropped at shutdown: both finish what they have begun.
        tokio::select! {
            read = &mut read => {
                read?;
                replay.await;
                Ok(())
            }
            () = &mut replay => read.await,
        }
    }

    /// Takes messages from the broker until `shutdown`, by a new client whenever one stands still.
    async fn read(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut watch = StallWatch::new(Begins::AtItsOffsets);
        while !shutdown.is_cancelled() {
            self.read_by_one_client(&mut watch, shutdown).await?;
        }
        Ok(())
    }

    /// Takes messages until `shutdown`, or until the client stands still.
    async fn read_by_one_client(
        &self,
        watch: &mut StallWatch,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let generation = Arc::<AtomicU64>::default();
        watch.begin(&generation);
        let backlog = Backlog::new(&self.service, &self.group);
        let context = Assignments {
            service: self.service.clone(),
            group: self.group.clone(),
            generation: Arc::clone(&generation),
            login: self.kafka.context(),
            backlog: backlog.clone(),
        };
        let mut config = self.kafka.group_consumer(&self.group);
        config.set("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string());
        let consumer = Arc::new(self.kafka.stream(&config, context)?);
        consumer.subscribe(&self.topics)?;
        let mut complained = None;
        let most = if self.delay.is_zero() { BATCH_MESSAGES } else { 1 };
        loop {
            // Cancel-safe: a message that was not received yet stays in the client's queue.
            let first = tokio::select! {
                () = shutdown.cancelled() => break,
                () = watch.stalled(&consumer) => {
                    tracing::warn!(group = %self.group, "the broker has messages that do not come, so another client asks for them");
                    break;
                }
                message = consumer.recv() => message,
            };
            let first = match first {
                Ok(message) => message.detach(),
                Err(error) => {
                    // A client that has failed for good never gets a message again: the broker has given its name in the
                    // group to another process, for one. Ending is the way out: whoever runs the service starts it anew.
                    if let Some((code, reason)) = consumer.client().fatal_error() {
                        anyhow::bail!(
                            "the consumer of {} has failed for good ({code:?}): {reason}",
                            self.group
                        );
                    }
                    if complained.is_none_or(|at: tokio::time::Instant| at.elapsed() > COMPLAINT) {
                        tracing::warn!(group = %self.group, "the broker is away or not ready, which is waited out: {error}");
                        complained = Some(tokio::time::Instant::now());
                    }
                    pause(FIRST_PAUSE, shutdown).await;
                    continue;
                }
            };
            let before = generation.load(Ordering::Acquire);
            if !self.delay.is_zero() {
                pause(self.delay, shutdown).await;
            }
            let mut batch = vec![first];
            {
                let mut queued = consumer.stream();
                while batch.len() < most {
                    match queued.next().now_or_never() {
                        Some(Some(Ok(message))) => batch.push(message.detach()),
                        Some(Some(Err(_)) | None) | None => break,
                    }
                }
            }
            for message in &batch {
                watch.received(message.topic(), message.partition(), message.offset());
            }
            if generation.load(Ordering::Acquire) != before {
                drop_revoked(&consumer, &mut batch);
            }
            backlog.took(&batch);
            let settled = !batch.is_empty() && self.settle(&batch, shutdown).await;
            backlog.settled();
            if settled {
                store_offsets(&consumer, &batch);
            }
        }
        // A look that is still under way keeps the client, which is closed after it. What is not committed is delivered again,
        // and known by the inbox.
        if let Some(consumer) = Arc::into_inner(consumer) {
            consumer
                .close(CLOSE_LIMIT, |consumer| {
                    let _ = consumer.commit_consumer_state(CommitMode::Sync);
                })
                .await;
        }
        backlog.left();
        Ok(())
    }

    /// Handles a batch until it is settled: every message handled, known, or parked. False when shutdown came first.
    async fn settle(&self, batch: &[OwnedMessage], shutdown: &CancellationToken) -> bool {
        let mut delay = FIRST_PAUSE;
        loop {
            match self.handle_or_bisect(batch).await {
                Ok(()) => return true,
                Err(fault) => {
                    metrics::counter!("belay_batches_repeated_total", "service" => self.service.clone())
                        .increment(1);
                    tracing::warn!(group = %self.group, messages = batch.len(), retry_in_ms = delay.as_millis(), "a batch is repeated: {fault}");
                }
            }
            pause(delay, shutdown).await;
            if shutdown.is_cancelled() {
                return false;
            }
            delay = (delay * 2).min(LONGEST_PAUSE);
        }
    }

    /// The whole batch in one transaction, or its halves, down to the single message that fails, which is parked.
    async fn handle_or_bisect(&self, batch: &[OwnedMessage]) -> Result<(), Fault> {
        let mut work = vec![batch];
        while let Some(part) = work.pop() {
            match self.handle_at_once(part).await {
                Ok(()) => {}
                Err(fault @ Fault::Transient(_)) => return Err(fault),
                Err(fault @ Fault::Deterministic(_)) => {
                    if let [message] = part {
                        self.park(message, &fault).await?;
                    } else {
                        let (left, right) = part.split_at(part.len() / 2);
                        work.push(right);
                        work.push(left);
                    }
                }
            }
        }
        Ok(())
    }

    /// One transaction, traced: a span for each message, from here to the commit, and one for the transaction.
    async fn handle_at_once(&self, batch: &[OwnedMessage]) -> Result<(), Fault> {
        let started = tokio::time::Instant::now();
        let mut received = Vec::with_capacity(batch.len());
        for message in batch {
            received.push(self.open(message).await?);
        }
        for message in &mut received {
            self.trace(message, batch.len());
        }
        let messages: Vec<tracing::Span> = received.iter().map(|message| message.span.clone()).collect();
        let transaction = spans::transaction(&self.service, &messages);
        let result = self
            .settle_at_once(batch, received, started)
            .instrument(transaction.clone())
            .await;
        if let Err(fault) = &result {
            for span in messages.iter().chain([&transaction]) {
                spans::failed(span, fault.class());
            }
        }
        for span in &messages {
            // A span ends when it was last entered: at the end of the transaction, whatever ran in it before.
            span.in_scope(|| {});
        }
        result
    }

    /// Puts a message into a span of its own, whose trace is continued by whatever the message causes.
    fn trace(&self, message: &mut Received, batch: usize) {
        message.span = spans::process(
            &self.service,
            &self.group,
            &spans::kinds::Consumed {
                topic: &message.topic,
                partition: message.partition,
                offset: message.offset,
                key: &message.key,
                id: message.envelope.id,
                message_type: &message.envelope.message_type,
                batch,
                trace: message.envelope.trace,
                tracestate: message.envelope.tracestate.as_deref(),
            },
        );
        if let Some(own) = spans::context_of(&message.span) {
            message.envelope.trace = Some(own);
        }
    }

    async fn settle_at_once(
        &self,
        batch: &[OwnedMessage],
        received: Vec<Received>,
        started: tokio::time::Instant,
    ) -> Result<(), Fault> {
        let (fresh, sends) = limit::on_connection(&self.pool, self.limit, async |connection| {
            self.transact(connection, batch, received).await
        })
        .await?;
        if sends {
            self.outbox.wake_relay();
        }
        self.handler.committed(&fresh);
        metrics::histogram!("belay_batch_seconds", "service" => self.service.clone())
            .record(started.elapsed().as_secs_f64());
        metrics::counter!("belay_messages_handled_total", "service" => self.service.clone(), "group" => self.group.clone())
            .increment(fresh.len() as u64);
        Ok(())
    }

    /// One batch in one transaction: claims, the handler's changes, the outbox. Gives the messages that were handled, and
    /// whether something is to be sent.
    async fn transact(
        &self,
        connection: &mut PgConnection,
        batch: &[OwnedMessage],
        received: Vec<Received>,
    ) -> Result<(Vec<Received>, bool), Fault> {
        failpoint::reach(Point::BatchTaken).await;
        let mut tx = connection.begin().await?;
        let claims = inbox::claim(&mut tx, &self.group, &received).await?;
        let mut seen = std::collections::HashSet::new();
        let mut fresh = Vec::with_capacity(received.len());
        for (message, original) in received.into_iter().zip(batch) {
            let id: Uuid = message.envelope.id.0;
            if claims.blocked.contains(&id) {
                message.span.record("belay.outcome", "parked behind");
                let fault = Fault::deterministic(anyhow::anyhow!("an earlier message of its key is parked"));
                park_received(&mut tx, &self.group, original, Cause::Behind, &fault).await?;
            } else if claims.fresh.contains(&id) && (seen.insert(id) || failpoint::is_off(Guard::Inbox)) {
                message.span.record("belay.outcome", "handled");
                fresh.push(message);
            } else {
                message.span.record("belay.outcome", "known");
            }
        }
        let outgoing = if fresh.is_empty() {
            Vec::new()
        } else {
            self.handler.handle(&mut tx, &fresh).await?
        };
        self.outbox.append(&mut tx, &outgoing).await?;
        failpoint::reach(Point::BatchWritten).await;
        tx.commit().await?;
        failpoint::reach(Point::BatchCommitted).await;
        Ok((fresh, !outgoing.is_empty()))
    }

    /// Reads key, headers and wire format.
    async fn open(&self, message: &OwnedMessage) -> Result<Received, Fault> {
        open(&self.codec, message).await
    }

    async fn park(&self, message: &OwnedMessage, fault: &Fault) -> Result<(), Fault> {
        tracing::error!(group = %self.group, topic = message.topic(), partition = message.partition(), offset = message.offset(), "a message is parked: {fault}");
        metrics::counter!("belay_parked_total", "service" => self.service.clone()).increment(1);
        limit::on_connection(&self.pool, self.limit, async |connection| {
            let mut tx = connection.begin().await?;
            park_received(&mut tx, &self.group, message, Cause::Failed, fault).await?;
            Ok(tx.commit().await?)
        })
        .await
    }
}

/// Reads a record's key, headers and wire format.
pub(crate) async fn open(codec: &Codec, message: &OwnedMessage) -> Result<Received, Fault> {
    let header = |name: &str| {
        message
            .headers()
            .and_then(|all| all.iter().filter(|h| h.key == name).last().and_then(|h| h.value))
    };
    let envelope = Envelope::read(header).map_err(Fault::deterministic)?;
    let key = readable_key(message).ok_or_else(|| {
        Fault::deterministic(anyhow::anyhow!(
            "the message has no key that can be read as short text"
        ))
    })?;
    let value = message
        .payload()
        .ok_or_else(|| Fault::deterministic(anyhow::anyhow!("the message has no value")))?;
    let (schema, datum) = codec.open(value).await?;
    Ok(Received {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        sent_at_millis: message.timestamp().to_millis(),
        key: key.to_owned(),
        envelope,
        schema,
        schema_id: Codec::schema_id(value).unwrap_or_default(),
        datum,
        span: tracing::Span::none(),
    })
}

async fn pause(duration: Duration, shutdown: &CancellationToken) {
    // Cancel-safe: nothing is under way while it waits.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}
