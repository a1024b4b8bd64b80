//! The shell of a service that carries out commands: lock, decide in offset order in memory, write once.
//!
//! A participant says how its commands are read, what is loaded for a batch, how one command is decided in memory and
//! how the result is written. The rest is the same for all: the operation barrier, the tombstone that a rollback leaves
//! for a command it overtook, the replies with their headers.

use std::fmt::Debug;

use async_trait::async_trait;
use contracts::{
    Message,
    ids::{CommandId, PurchaseId},
    purchase_manager::CommandSuperseded,
    topics,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::PgConnection;

use crate::{
    Codec, Fault, Handler, Outgoing, Received,
    barrier::{Admission, Barrier, Direction, Outcome},
};

/// A command and its place in the saga.
#[derive(Debug, Clone)]
pub struct Operation<C> {
    /// The purchase, which is the saga.
    pub purchase_id: PurchaseId,
    /// The step of the saga, named as in the definition.
    pub step: &'static str,
    /// Doing or undoing it.
    pub direction: Direction,
    /// What is asked for.
    pub command: C,
}

/// A participant's answer to a command that it carried out or refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<R> {
    /// Carried out.
    Done(R),
    /// Refused: the business says no.
    Refused(R),
}

/// A service that carries out commands.
#[async_trait]
pub trait Participant: Send + Sync + 'static {
    /// Everything that it can be asked.
    type Command: Send + Sync + Debug;
    /// Everything that it can answer.
    type Reply: ReplyMessage;
    /// What a batch needs in memory: rows locked by [`Participant::load`], changed by [`Participant::decide`], written by
    /// [`Participant::save`].
    type World: Send;

    /// The steps that it carries out.
    fn steps(&self) -> &'static [&'static str];

    /// Reads a message.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] for a message that is none of its commands.
    fn read(&self, message: &Received) -> Result<Operation<Self::Command>, Fault>;

    /// Reads and locks what the batch is about, in id order.
    ///
    /// # Errors
    /// The database's faults.
    async fn load(
        &self,
        connection: &mut PgConnection,
        batch: &[Operation<Self::Command>],
    ) -> Result<Self::World, Fault>;

    /// Carries out one command in memory. Called only for what has to be done: never for a duplicate, never for a
    /// command whose rollback came first, never for a rollback with nothing to undo.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when the command contradicts what is stored: the message is parked.
    fn decide(
        &self,
        world: &mut Self::World,
        operation: &Operation<Self::Command>,
    ) -> Result<Verdict<Self::Reply>, Fault>;

    /// The acknowledgement of a rollback that finds nothing to undo.
    fn nothing_to_undo(&self, operation: &Operation<Self::Command>) -> Self::Reply;

    /// Writes what was changed, each row once, and returns the events to be sent besides the replies.
    ///
    /// # Errors
    /// The database's faults.
    async fn save(&self, connection: &mut PgConnection, world: Self::World) -> Result<Vec<Outgoing>, Fault>;
}

/// Every reply of a participant, as one type that can be stored and sent.
pub trait ReplyMessage: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static {
    /// Encodes the reply for `purchase.replies.v1`.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when it does not fit its schema.
    fn encode(&self, codec: &Codec, purchase: PurchaseId) -> Result<Outgoing, Fault>;
}

/// Encodes one kind of reply: the body of a [`ReplyMessage::encode`] arm.
///
/// # Errors
/// [`Fault::Deterministic`] when it does not fit its schema.
pub fn encode_reply<M: Message>(codec: &Codec, purchase: PurchaseId, reply: &M) -> Result<Outgoing, Fault> {
    codec.outgoing(topics::PURCHASE_REPLIES, purchase, reply)
}

/// A stored answer: the participant's own, or that the command came too late.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Answer<R> {
    Reply(R),
    Superseded,
}

/// The [`Handler`] of a participant.
#[derive(Debug)]
pub struct ParticipantHandler<P> {
    participant: P,
    codec: Codec,
}

impl<P: Participant> ParticipantHandler<P> {
    /// Puts a participant behind the operation barrier.
    pub fn new(participant: P, codec: Codec) -> Self {
        Self { participant, codec }
    }
}

#[async_trait]
impl<P: Participant> Handler for ParticipantHandler<P> {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        batch: &[Received],
    ) -> Result<Vec<Outgoing>, Fault> {
        let mut operations = Vec::with_capacity(batch.len());
        for message in batch {
            operations.push(self.participant.read(message)?);
        }
        let sagas: Vec<uuid::Uuid> = operations.iter().map(|o| o.purchase_id.0).collect();
        let mut barrier: Barrier<Answer<P::Reply>> =
            Barrier::load(connection, &sagas, self.participant.steps()).await?;
        let mut world = self.participant.load(connection, &operations).await?;
        let mut replies = Vec::with_capacity(batch.len());
        for (message, operation) in batch.iter().zip(&operations) {
            let span = spans::operation(
                &message.span,
                operation.purchase_id,
                operation.step,
                operation.direction.as_str(),
            );
            let answered =
                span.in_scope(|| answer(&self.participant, &mut barrier, &mut world, operation, &span));
            let answer = match answered {
                Ok(answer) => answer,
                Err(fault) => return Err(self.race_or(fault, connection, operation).await?),
            };
            replies.push(self.reply(message, operation.purchase_id, &answer)?);
        }
        barrier.save(connection).await?;
        let events = self.participant.save(connection, world).await?;
        replies.extend(events);
        Ok(replies)
    }
}

impl<P: Participant> ParticipantHandler<P> {
    /// A contradiction may be the work of another instance that carried out the same command after the barrier was
    /// read: while this transaction waited for the rows, they came to say that it is done. Then the batch is worth
    /// another try, which finds the stored reply (product-admin's test
    /// `the_same_command_at_two_instances_is_done_once`).
    async fn race_or(
        &self,
        fault: Fault,
        connection: &mut PgConnection,
        operation: &Operation<P::Command>,
    ) -> Result<Fault, Fault> {
        let (saga, step, direction) = (operation.purchase_id.0, operation.step, operation.direction);
        let committed: Barrier<Answer<P::Reply>> =
            Barrier::load(connection, &[saga], self.participant.steps()).await?;
        match committed.admit(saga, step, direction) {
            Admission::Repeat(_) => Ok(Fault::transient(anyhow::anyhow!(
                "another instance carried out the same command meanwhile ({fault})"
            ))),
            Admission::Run | Admission::NothingToUndo => Ok(fault),
        }
    }

    fn reply(
        &self,
        message: &Received,
        purchase: PurchaseId,
        answer: &Answer<P::Reply>,
    ) -> Result<Outgoing, Fault> {
        let outgoing = match answer {
            Answer::Reply(reply) => reply.encode(&self.codec, purchase)?,
            Answer::Superseded => encode_reply(
                &self.codec,
                purchase,
                &CommandSuperseded {
                    purchase_id: purchase,
                },
            )?,
        };
        let command: CommandId = message.envelope.command_id.ok_or_else(|| {
            Fault::deterministic(contracts::envelope::EnvelopeError::Missing(
                contracts::envelope::header::COMMAND_ID,
            ))
        })?;
        Ok(outgoing.caused_by(message).command(command))
    }
}

/// Answers one command in memory.
fn answer<P: Participant>(
    participant: &P,
    barrier: &mut Barrier<Answer<P::Reply>>,
    world: &mut P::World,
    operation: &Operation<P::Command>,
    span: &tracing::Span,
) -> Result<Answer<P::Reply>, Fault> {
    let (saga, step, direction) = (operation.purchase_id.0, operation.step, operation.direction);
    let (outcome, answer) = match barrier.admit(saga, step, direction) {
        Admission::Repeat(answer) => {
            span.record("belay.outcome", "repeated");
            return Ok(answer.clone());
        }
        Admission::NothingToUndo => (
            Outcome::Done,
            Answer::Reply(participant.nothing_to_undo(operation)),
        ),
        Admission::Run => match participant.decide(world, operation)? {
            Verdict::Done(reply) => (Outcome::Done, Answer::Reply(reply)),
            Verdict::Refused(reply) => (Outcome::Refused, Answer::Reply(reply)),
        },
    };
    span.record("belay.outcome", outcome.as_str());
    if direction == Direction::Rollback && !barrier.has_seen(saga, step) {
        // The tombstone that a command meets when it arrives after its rollback.
        barrier.record(
            saga,
            step,
            Direction::Forward,
            Outcome::Superseded,
            Answer::Superseded,
        );
    }
    barrier.record(saga, step, direction, outcome, answer.clone());
    Ok(answer)
}
