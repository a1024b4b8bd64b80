//! Load, decide in order, save: the one way in which anything happens to a saga.
//!
//! Each call works in the caller's transaction: it locks the sagas concerned, lets the engine decide input by input in
//! memory, and writes states, log and timers once. The messages are returned for the caller to write last.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use contracts::{
    ids::{CommandId, CustomerId, PurchaseId},
    topics,
};
use mailbox::{
    Codec, Fault, Outbox, Outgoing, Received,
    failpoint::{self, Point},
};
use saga::{Cancellation, Decision, Effect, Input, LogEntry, Outcome, SentCommand, State};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    definitions::{Definitions, PurchaseSaga},
    exchange::{Command, Reply},
    purchase::Purchase,
    record::{Record, Timings},
    store::{
        self, Written,
        log::LogRow,
        timers::{NewTimer, TimerId},
    },
};

/// Something that happens to one saga, and the message that brought it about.
#[derive(Debug)]
pub struct Event<'a> {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// What happens.
    pub what: What,
    /// The message, when it came from Kafka.
    pub cause: Option<&'a Received>,
}

/// What can happen.
#[derive(Debug)]
pub enum What {
    /// The edge submits it, perhaps again.
    Submit(Box<Purchase>),
    /// The customer wants out, perhaps before the submission arrives.
    Cancel {
        /// Who asks.
        customer_id: CustomerId,
        /// Who and why, for the log.
        cancellation: Cancellation,
    },
    /// Anything that only an existing saga can meet.
    Input(Input<Reply>),
}

/// What came of one event.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The engine took it, and says how.
    Decided(Outcome),
    /// The saga was there already: its state is told again.
    Repeated,
    /// The cancellation waits for the submission.
    CancelKept,
    /// There is no such saga.
    Unknown,
    /// It is another customer's.
    Foreign,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Worked {
    /// What is to be sent, in order.
    pub outgoing: Vec<Outgoing>,
    /// One for each event.
    pub answers: Vec<Answer>,
    /// The sagas concerned, as they are now.
    pub records: HashMap<Uuid, Record>,
}

/// Takes purchases through their sagas.
#[derive(Debug)]
pub struct Orchestrator {
    definitions: Definitions,
    codec: Codec,
    outbox: Outbox,
    pool: PgPool,
}

impl Orchestrator {
    /// An orchestrator of these definitions.
    #[must_use]
    pub fn new(definitions: Definitions, codec: Codec, outbox: Outbox, pool: PgPool) -> Self {
        Self {
            definitions,
            codec,
            outbox,
            pool,
        }
    }

    /// The definitions.
    #[must_use]
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The outbox.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Lets the events happen, in order, in the caller's transaction. The caller writes the outbox and commits.
    ///
    /// # Errors
    /// The database's faults; [`Fault::Deterministic`] when a stored saga cannot be read or follows a definition that
    /// this program lacks.
    pub async fn work(&self, connection: &mut PgConnection, events: Vec<Event<'_>>) -> Result<Worked, Fault> {
        let mut ids: Vec<Uuid> = events.iter().map(|event| event.purchase_id.0).collect();
        ids.sort_unstable();
        ids.dedup();
        let now = store::now(connection).await?;
        let locked = store::lock(connection, &ids).await?;
        let starts = events.iter().any(|event| matches!(event.what, What::Submit(_)));
        let active = if starts {
            store::versions::active(connection, self.definitions.name()).await?
        } else {
            i32::from(self.definitions.newest().version())
        };
        let mut batch = Batch {
            orchestrator: self,
            now,
            active,
            read_versions: locked
                .iter()
                .map(|record| (record.id.0, record.version))
                .collect(),
            records: locked.into_iter().map(|record| (record.id.0, record)).collect(),
            touched: BTreeMap::new(),
            log: Vec::new(),
            timers: BTreeMap::new(),
            outgoing: Vec::new(),
        };
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            answers.push(batch.happen(event)?);
        }
        failpoint::reach(Point::SagasDecided).await;
        batch.save(connection).await?;
        Ok(Worked {
            outgoing: batch.outgoing,
            answers,
            records: batch.records,
        })
    }
}

/// A batch in memory.
struct Batch<'a> {
    orchestrator: &'a Orchestrator,
    now: DateTime<Utc>,
    active: i32,
    read_versions: HashMap<Uuid, i32>,
    records: HashMap<Uuid, Record>,
    /// Sagas to be written, in the order of their ids.
    touched: BTreeMap<Uuid, ()>,
    log: Vec<LogRow>,
    /// What becomes of each timer: set, or cleared.
    timers: BTreeMap<TimerId, Option<NewTimer>>,
    outgoing: Vec<Outgoing>,
}

impl Batch<'_> {
    fn happen(&mut self, event: Event<'_>) -> Result<Answer, Fault> {
        let id = event.purchase_id.0;
        match event.what {
            What::Submit(purchase) => self.submit(id, *purchase, event.cause),
            What::Cancel {
                customer_id,
                cancellation,
            } => self.cancel(id, &customer_id, cancellation, event.cause),
            What::Input(input) => self.input(id, input, event.cause),
        }
    }

    fn submit(&mut self, id: Uuid, purchase: Purchase, cause: Option<&Received>) -> Result<Answer, Fault> {
        let early = match self.records.get(&id) {
            Some(record) if record.state.is_some() => {
                // Whoever submits again has not heard: tell the current state again.
                self.tell(id, cause)?;
                return Ok(Answer::Repeated);
            }
            Some(record) if record.customer_id != purchase.customer_id => return Ok(Answer::Foreign),
            Some(record) => record.early_cancel.clone(),
            None => None,
        };
        let definition = self.definition(self.active)?;
        let customer_id = purchase.customer_id.clone();
        let decision = match early {
            Some(cancellation) => saga::start_cancelled(definition, id, purchase, cancellation),
            None => saga::start(definition, id, purchase),
        };
        let (version, log_length, early_cancel) = match self.records.get(&id) {
            Some(record) => (record.version, record.log_length, record.early_cancel.clone()),
            None => (0, 0, None),
        };
        let record = Record {
            id: PurchaseId(id),
            customer_id,
            version,
            state: Some(decision.state.clone()),
            early_cancel,
            timings: Timings::default(),
            log_length,
            created_at: self.now,
            updated_at: self.now,
        };
        self.records.insert(id, record);
        self.take(id, decision, cause)
    }

    fn cancel(
        &mut self,
        id: Uuid,
        customer: &CustomerId,
        cancellation: Cancellation,
        cause: Option<&Received>,
    ) -> Result<Answer, Fault> {
        match self.records.get(&id) {
            Some(record) if record.customer_id != *customer => Ok(Answer::Foreign),
            Some(record) if record.state.is_some() => self.input(id, Input::Cancel(cancellation), cause),
            Some(_) => Ok(Answer::CancelKept),
            None => {
                let record = Record {
                    id: PurchaseId(id),
                    customer_id: customer.clone(),
                    version: 0,
                    state: None,
                    early_cancel: Some(cancellation),
                    timings: Timings::default(),
                    log_length: 0,
                    created_at: self.now,
                    updated_at: self.now,
                };
                self.records.insert(id, record);
                self.touched.insert(id, ());
                Ok(Answer::CancelKept)
            }
        }
    }

    fn input(&mut self, id: Uuid, input: Input<Reply>, cause: Option<&Received>) -> Result<Answer, Fault> {
        let Some(state) = self.records.get(&id).and_then(|record| record.state.clone()) else {
            return Ok(Answer::Unknown);
        };
        let definition = self.definition_of(&state)?;
        let decision = saga::decide(definition, id, state, input);
        if let Outcome::Incompatible(why) = &decision.outcome {
            return Err(Fault::deterministic(why.clone()));
        }
        self.take(id, decision, cause)
    }

    /// Puts a decision into the batch.
    fn take(
        &mut self,
        id: Uuid,
        decision: Decision<Purchase, Command, Reply>,
        cause: Option<&Received>,
    ) -> Result<Answer, Fault> {
        let _span = trace(id, &decision, cause).entered();
        let record = self
            .records
            .get_mut(&id)
            .expect("a decision is made for a saga of the batch");
        record.state = Some(decision.state);
        for effect in &decision.effects {
            record.timings.note(effect, self.now);
        }
        if !decision.effects.is_empty() {
            self.touched.insert(id, ());
        }
        for effect in decision.effects {
            match effect {
                Effect::Send(sent) => self.send(id, &sent, cause)?,
                Effect::SetTimer { timer, after } => {
                    let key = (id, timer.step.as_str().to_owned(), timer.direction.as_str());
                    let attempt = i32::try_from(timer.attempt).unwrap_or(i32::MAX);
                    let after_micros = i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
                    self.timers.insert(
                        key,
                        Some(NewTimer {
                            attempt,
                            after_micros,
                        }),
                    );
                }
                Effect::ClearTimer(timer) => {
                    let key = (id, timer.step.as_str().to_owned(), timer.direction.as_str());
                    self.timers.insert(key, None);
                }
                Effect::Log(entry) => self.log(id, &entry, cause)?,
                Effect::Changed => {
                    let record = self.records.get_mut(&id).expect("looked up above");
                    record.version += 1;
                    record.updated_at = self.now;
                    let version = record.version;
                    // The decision's own entries are the last ones of the log.
                    if let Some(row) = self.log.last_mut().filter(|row| row.saga_id == id) {
                        row.told_version = Some(version);
                    }
                    self.tell(id, cause)?;
                }
            }
        }
        Ok(Answer::Decided(decision.outcome))
    }

    fn send(&mut self, id: Uuid, sent: &SentCommand<Command>, cause: Option<&Received>) -> Result<(), Fault> {
        let outgoing = sent
            .command
            .outgoing(&self.orchestrator.codec, PurchaseId(id))?
            .command(CommandId(sent.command_id))
            .reply_to(topics::PURCHASE_REPLIES);
        self.outgoing.push(follow(outgoing, cause));
        Ok(())
    }

    /// Emits the current state.
    fn tell(&mut self, id: Uuid, cause: Option<&Received>) -> Result<(), Fault> {
        let record = &self.records[&id];
        let Some(state) = &record.state else { return Ok(()) };
        let definition = if state.has_ended() {
            self.orchestrator.definitions.of(i32::from(state.version()))
        } else {
            Some(self.definition_of(state)?)
        };
        let Some(view) = record.view(definition) else {
            return Ok(());
        };
        let event = self
            .orchestrator
            .codec
            .outgoing(topics::PURCHASE_EVENTS, record.id, &view)?;
        self.outgoing.push(follow(event, cause));
        Ok(())
    }

    fn log(
        &mut self,
        id: Uuid,
        entry: &LogEntry<Purchase, Command, Reply>,
        cause: Option<&Received>,
    ) -> Result<(), Fault> {
        let record = self
            .records
            .get_mut(&id)
            .expect("a decision is made for a saga of the batch");
        record.log_length += 1;
        self.log.push(LogRow {
            saga_id: id,
            seq: record.log_length,
            kind: entry.kind(),
            step: entry.step().map(|step| step.as_str().to_owned()),
            message_id: cause.map(|message| message.envelope.id.0),
            partition: cause.map(|message| message.partition),
            offset: cause.map(|message| message.offset),
            schema_id: cause.and_then(|message| i32::try_from(message.schema_id).ok()),
            told_version: None,
            trace: cause
                .and_then(|message| message.envelope.trace)
                .map(|trace| trace.to_string()),
            body: serde_json::to_value(entry).map_err(Fault::deterministic)?,
        });
        Ok(())
    }

    /// The definition of a saga. One that is open waits for a program that has it; to one that has ended nothing can happen any
    /// more that is worth waiting for, so its message is parked.
    fn definition_of(&self, state: &State<Purchase>) -> Result<&'_ PurchaseSaga, Fault> {
        let version = i32::from(state.version());
        match self.orchestrator.definitions.of(version) {
            Some(definition) => Ok(definition),
            None if state.has_ended() => Err(Fault::deterministic(anyhow::anyhow!(
                "the purchase has ended under version {version} of the purchase saga, which this program lacks"
            ))),
            None => self.definition(version),
        }
    }

    fn definition(&self, version: i32) -> Result<&'_ PurchaseSaga, Fault> {
        self.orchestrator.definitions.of(version).ok_or_else(|| {
            // Not this message's fault: another release is needed, and the message waits for it.
            Fault::transient(anyhow::anyhow!(
                "this program lacks version {version} of the purchase saga"
            ))
        })
    }

    async fn save(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        let written: Vec<Written<'_>> = self
            .touched
            .keys()
            .map(|id| Written {
                record: &self.records[id],
                read_version: self.read_versions.get(id).copied(),
            })
            .collect();
        store::save(connection, &written).await?;
        store::log::append(connection, &self.log).await?;
        let mut cleared = Vec::new();
        let mut set = Vec::new();
        for (id, timer) in &self.timers {
            match timer {
                Some(timer) => set.push((id.clone(), *timer)),
                // A saga that is new in this batch has no timer to be cleared.
                None if self.read_versions.contains_key(&id.0) => cleared.push(id.clone()),
                None => {}
            }
        }
        store::timers::write(connection, &cleared, &set).await
    }
}

/// What is caused by no message belongs to the span that it happens in: of a request, or of the timers.
fn follow(outgoing: Outgoing, cause: Option<&Received>) -> Outgoing {
    match cause {
        Some(message) => outgoing.caused_by(message),
        None => outgoing,
    }
}

/// The span of a decision: what became of the input, and which steps are commanded now.
fn trace(id: Uuid, decision: &Decision<Purchase, Command, Reply>, cause: Option<&Received>) -> tracing::Span {
    let input = decision.log().next();
    let span = spans::decision(
        cause.map(|message| &message.span),
        PurchaseId(id),
        input.and_then(|entry| entry.step()).map(|step| step.as_str()),
        input.map_or("nothing", LogEntry::kind),
    );
    if !span.is_disabled() {
        let commands: Vec<&str> = decision.commands().map(|sent| sent.step.as_str()).collect();
        span.record("belay.commands", commands.join(","));
    }
    span
}
