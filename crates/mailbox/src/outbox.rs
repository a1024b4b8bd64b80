//! Messages written with the business change, in its transaction, and last in it.
//!
//! Last, because the row's `seq` is then drawn while the key's row lock is held: that makes it the order of the
//! commits for each key, which is all the order that the relay promises.

use std::sync::Arc;

use contracts::{
    ids::{CommandId, MessageId},
    trace::TraceContext,
};
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::{Fault, Received};

/// The largest value that may be written: below Kafka's default `message.max.bytes` of 1,048,588 with room for
/// the headers.
pub const MAX_PAYLOAD_BYTES: usize = 900 * 1024;

/// A message on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Of this send alone (`ce_id`).
    pub id: MessageId,
    /// The topic.
    pub topic: &'static str,
    /// The key: the purchase's id, of product events the product's.
    pub key: String,
    /// Full name of the record (`ce_type`).
    pub message_type: &'static str,
    /// The value in Confluent's wire format.
    pub payload: Vec<u8>,
    /// The sender (`ce_source`).
    pub source: String,
    /// The trace it belongs to, and the span that writes it. None is filled in by [`Outbox::append`]: the span it is called
    /// in, or a trace that begins there.
    pub trace: Option<TraceContext>,
    /// Vendors' trace state, handed on.
    pub tracestate: Option<String>,
    /// What is asked for or answered.
    pub command_id: Option<CommandId>,
    /// The message that this one answers or follows.
    pub causation_id: Option<MessageId>,
    /// The topic that waits for the answer.
    pub reply_to: Option<&'static str>,
}

impl Outgoing {
    /// Continues the trace of `cause`, at the span in which `cause` is handled, and names it as the cause.
    #[must_use]
    pub fn caused_by(mut self, cause: &Received) -> Self {
        self.causation_id = Some(cause.envelope.id);
        self.trace = Some(cause.envelope.trace.unwrap_or_else(TraceContext::root));
        self.tracestate.clone_from(&cause.envelope.tracestate);
        self
    }

    /// Sets the trace.
    #[must_use]
    pub fn traced(mut self, trace: TraceContext) -> Self {
        self.trace = Some(trace);
        self
    }

    /// Says what is asked for, or answered.
    #[must_use]
    pub fn command(mut self, id: CommandId) -> Self {
        self.command_id = Some(id);
        self
    }

    /// Says where the answer goes.
    #[must_use]
    pub fn reply_to(mut self, topic: &'static str) -> Self {
        self.reply_to = Some(topic);
        self
    }
}

/// Who carries messages from the outbox to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carrier {
    /// [`crate::relay`], within the service.
    #[default]
    Relay,
    /// Change data capture, outside of it: [`crate::capture`].
    Capture,
}

/// The handle with which a service writes its outbox and wakes its relay. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    wake: Arc<Notify>,
    carrier: Carrier,
}

impl Outbox {
    /// An outbox whose relay is woken through this handle.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An outbox that `carrier` empties.
    #[must_use]
    pub fn carried_by(carrier: Carrier) -> Self {
        Self {
            carrier,
            ..Self::default()
        }
    }

    /// Who empties it.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Writes the messages in the caller's transaction. Call it last: see the module.
    ///
    /// For [`Carrier::Capture`] it deletes them too: the database's log has them, and the table stays empty (test
    /// `a_captured_message_is_in_the_log_and_not_in_the_table`).
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when a message exceeds [`MAX_PAYLOAD_BYTES`]; the database's faults.
    pub async fn append(&self, connection: &mut PgConnection, messages: &[Outgoing]) -> Result<(), Fault> {
        if messages.is_empty() {
            return Ok(());
        }
        if let Some(large) = messages.iter().find(|m| m.payload.len() > MAX_PAYLOAD_BYTES) {
            return Err(Fault::deterministic(anyhow::anyhow!(
                "a {} of {} bytes exceeds the limit of {MAX_PAYLOAD_BYTES} bytes",
                large.message_type,
                large.payload.len()
            )));
        }
        let column = |f: fn(&Outgoing) -> String| messages.iter().map(f).collect::<Vec<_>>();
        let optional = |f: fn(&Outgoing) -> Option<String>| messages.iter().map(f).collect::<Vec<_>>();
        let ids: Vec<uuid::Uuid> = messages.iter().map(|m| m.id.0).collect();
        let payloads: Vec<&[u8]> = messages.iter().map(|m| m.payload.as_slice()).collect();
        let commands: Vec<Option<uuid::Uuid>> = messages.iter().map(|m| m.command_id.map(|c| c.0)).collect();
        let current = spans::current();
        let current_state = current.and_then(|_| spans::current_tracestate());
        let traces: Vec<String> = messages
            .iter()
            .map(|m| m.trace.or(current).unwrap_or_else(TraceContext::root).to_string())
            .collect();
        let states: Vec<Option<String>> = messages
            .iter()
            .map(|m| {
                m.tracestate
                    .clone()
                    .or_else(|| current_state.clone().filter(|_| m.trace.is_none()))
            })
            .collect();
        let causes: Vec<Option<uuid::Uuid>> = messages.iter().map(|m| m.causation_id.map(|c| c.0)).collect();
        let sequences = sqlx::query_scalar!(
            "insert into outbox (id, aggregatetype, aggregateid, type, payload, source, traceparent, tracestate,
                                 command_id, causation_id, reply_to)
             select m.id, m.topic, m.key, m.type, m.payload, m.source, m.traceparent, m.tracestate,
                    m.command_id, m.causation_id, m.reply_to
             from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[],
                         $8::text[], $9::uuid[], $10::uuid[], $11::text[])
                  with ordinality as m (id, topic, key, type, payload, source, traceparent, tracestate,
                                        command_id, causation_id, reply_to, position)
             order by m.position
             returning seq",
            &ids,
            &column(|m| m.topic.to_owned()),
            &column(|m| m.key.clone()),
            &column(|m| m.message_type.to_owned()),
            &payloads as &[&[u8]],
            &column(|m| m.source.clone()),
            &traces,
            &states as &[Option<String>],
            &commands as &[Option<uuid::Uuid>],
            &causes as &[Option<uuid::Uuid>],
            &optional(|m| m.reply_to.map(str::to_owned)) as &[Option<String>],
        )
        .fetch_all(&mut *connection)
        .await?;
        match self.carrier {
            Carrier::Relay => {}
            Carrier::Capture => {
                sqlx::query!("delete from outbox where seq = any($1)", &sequences)
                    .execute(connection)
                    .await?;
            }
        }
        Ok(())
    }

    /// Wakes the relay. Call it after the commit: before it there is nothing to see.
    pub fn wake_relay(&self) {
        self.wake.notify_one();
    }

    /// Resolves at the next [`Outbox::wake_relay`], or at once when there was one since the last wait.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}
