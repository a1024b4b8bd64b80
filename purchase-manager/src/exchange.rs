//! Commands and replies as the engine sees them, so that a definition can name any message of the contract and nothing
//! else has to know it.

use std::sync::Arc;

use contracts::{Message, ids::PurchaseId, message::decode_json, topics};
use mailbox::{Codec, Fault, Outgoing, Received};
use saga::{Refusal, Verdict};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// A command on its way to a participant: any message, and the topic it belongs on.
#[derive(Debug, Clone)]
pub struct Command {
    topic: &'static str,
    message: Arc<dyn Encode>,
}

/// A message whose type is forgotten.
trait Encode: std::fmt::Debug + Send + Sync {
    fn outgoing(&self, codec: &Codec, topic: &'static str, purchase: PurchaseId) -> Result<Outgoing, Fault>;
    fn name(&self) -> &'static str;
    fn json(&self) -> Result<Value, serde_json::Error>;
}

impl<M: Message> Encode for M {
    fn outgoing(&self, codec: &Codec, topic: &'static str, purchase: PurchaseId) -> Result<Outgoing, Fault> {
        codec.outgoing(topic, purchase, self)
    }

    fn name(&self) -> &'static str {
        M::message_type().name
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// The command `message` on `topic`.
pub fn to<M: Message>(topic: &'static str, message: M) -> Command {
    Command {
        topic,
        message: Arc::new(message),
    }
}

impl Command {
    /// Makes the command ready for the outbox.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when the message does not belong on the topic.
    pub fn outgoing(&self, codec: &Codec, purchase: PurchaseId) -> Result<Outgoing, Fault> {
        self.message.outgoing(codec, self.topic, purchase)
    }
}

/// As it stands in the saga's log.
impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeStruct};
        let mut entry = serializer.serialize_struct("Command", 3)?;
        entry.serialize_field("topic", self.topic)?;
        entry.serialize_field("type", self.message.name())?;
        entry.serialize_field("body", &self.message.json().map_err(S::Error::custom)?)?;
        entry.end()
    }
}

/// A participant's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    #[serde(rename = "type")]
    message_type: String,
    body: Value,
}

impl Reply {
    /// Reads a message of `purchase.replies.v1`.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when the topic may not carry such a message, or its bytes are damaged.
    pub fn read(message: &Received) -> Result<Self, Fault> {
        let name = &message.envelope.message_type;
        let kind = topics::message_on(topics::PURCHASE_REPLIES, name).ok_or_else(|| message.unexpected())?;
        let body = decode_json(kind, &message.datum, &message.schema)?;
        Ok(Self {
            message_type: name.clone(),
            body,
        })
    }

    /// A reply as a test or a replay makes it.
    ///
    /// # Errors
    /// When the message cannot be written as JSON.
    pub fn of<M: Message>(message: &M) -> Result<Self, serde_json::Error> {
        Ok(Self {
            message_type: M::message_type().name.to_owned(),
            body: serde_json::to_value(message)?,
        })
    }

    /// The reply as an `M`, when it is one.
    #[must_use]
    pub fn get<M: Message>(&self) -> Option<M> {
        if self.message_type == M::message_type().name {
            serde_json::from_value(self.body.clone()).ok()
        } else {
            None
        }
    }
}

/// Whether the reply is an `M`.
#[must_use]
pub fn is<M: Message>(reply: &Reply) -> bool {
    reply.get::<M>().is_some()
}

/// Accepts an `A`; everything else is not what the step asked for.
#[must_use]
pub fn accept<A: Message>(reply: &Reply) -> Verdict {
    if is::<A>(reply) {
        Verdict::Accepted
    } else {
        Verdict::Unexpected
    }
}

/// Adds to a [`Verdict`] the messages that refuse.
pub trait OrRefuse {
    /// An `M` is a refusal, which `why` puts into words.
    #[must_use]
    fn or_refuse<M: Message>(self, reply: &Reply, why: impl FnOnce(&M) -> Refusal) -> Self;
}

impl OrRefuse for Verdict {
    fn or_refuse<M: Message>(self, reply: &Reply, why: impl FnOnce(&M) -> Refusal) -> Self {
        match (self, reply.get::<M>()) {
            (Verdict::Unexpected, Some(message)) => Verdict::Refused(why(&message)),
            (verdict, Some(_) | None) => verdict,
        }
    }
}
