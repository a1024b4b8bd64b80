//! A message as it came from the broker, its envelope read and its schema found.

use std::sync::Arc;

use apache_avro::Schema;
use contracts::{Message, envelope::Envelope};

use crate::Fault;

/// A message whose envelope could be read.
#[derive(Debug, Clone)]
pub struct Received {
    /// The topic it came from.
    pub topic: String,
    /// The partition it came from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// When it was sent, in milliseconds since 1970, as the broker has it; none when it has no time.
    pub sent_at_millis: Option<i64>,
    /// The key: the purchase's id, of product events the product's.
    pub key: String,
    /// The headers. While it is handled and traced, `envelope.trace` is the context of [`Received::span`]: what a message
    /// causes continues there.
    pub envelope: Envelope,
    /// The schema with which `datum` was written.
    pub schema: Arc<Schema>,
    /// The registry's id of that schema.
    pub schema_id: u32,
    /// The Avro datum, without framing.
    pub datum: Vec<u8>,
    /// The span in which it is handled; none while tracing is off.
    pub span: tracing::Span,
}

impl Received {
    /// Whether the message is an `M`.
    #[must_use]
    pub fn is<M: Message>(&self) -> bool {
        self.envelope.message_type == M::message_type().name
    }

    /// Reads the message as an `M`, whichever version of it was written.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when it is not an `M` or does not resolve to ours.
    pub fn decode<M: Message>(&self) -> Result<M, Fault> {
        Ok(contracts::message::decode(&self.datum, &self.schema)?)
    }

    /// Reads the message when it is an `M`.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when it says that it is an `M` and cannot be read as one.
    pub fn decode_if<M: Message>(&self) -> Result<Option<M>, Fault> {
        if self.is::<M>() {
            self.decode().map(Some)
        } else {
            Ok(None)
        }
    }

    /// The fault for a message that this consumer has no use for.
    #[must_use]
    pub fn unexpected(&self) -> Fault {
        Fault::deterministic(anyhow::anyhow!(
            "a {} is not expected on {}",
            self.envelope.message_type,
            self.topic
        ))
    }
}
