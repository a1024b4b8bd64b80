//! Messages as a handler gets them, made without a broker.

use contracts::{
    Message,
    envelope::Envelope,
    ids::{CommandId, MessageId, PurchaseId},
    topics,
};
use mailbox::{Codec, Fault, Handler, Outgoing, Received};
use sqlx::PgPool;
use uuid::Uuid;

/// The namespace of command ids in tests. A random UUID, fixed once and for all.
const NAMESPACE: Uuid = Uuid::from_u128(0x0d5c_8f0e_7a3b_4f39_9b1c_4e61_d0f7_52aa);

/// What a consumer would get if `outgoing` were relayed.
///
/// # Panics
/// When the payload is not in the wire format, or its schema unknown.
pub async fn received(codec: &Codec, outgoing: &Outgoing) -> Received {
    let (schema, datum) = codec
        .open(&outgoing.payload)
        .await
        .expect("the message was written with a schema of this registry");
    Received {
        topic: outgoing.topic.to_owned(),
        partition: 0,
        offset: 0,
        sent_at_millis: None,
        key: outgoing.key.clone(),
        envelope: Envelope {
            id: outgoing.id,
            message_type: outgoing.message_type.to_owned(),
            source: outgoing.source.clone(),
            sequence: None,
            command_id: outgoing.command_id,
            causation_id: outgoing.causation_id,
            reply_to: outgoing.reply_to.map(str::to_owned),
            trace: outgoing.trace,
            tracestate: outgoing.tracestate.clone(),
        },
        schema,
        schema_id: Codec::schema_id(&outgoing.payload).expect("it is in the wire format"),
        datum,
        span: tracing::Span::none(),
    }
}

/// A command as its participant gets it. Its command id is the same for the same kind of command and purchase, so a
/// second call is a command that was sent again.
///
/// # Panics
/// When the message does not belong on `topic`.
pub async fn command<M: Message>(
    codec: &Codec,
    topic: &'static str,
    purchase: PurchaseId,
    message: &M,
) -> Received {
    let name = format!("{purchase} {}", M::message_type().name);
    let outgoing = codec
        .outgoing(topic, purchase, message)
        .expect("a test sends what belongs on the topic")
        .command(CommandId(Uuid::new_v5(&NAMESPACE, name.as_bytes())))
        .reply_to(topics::PURCHASE_REPLIES);
    received(codec, &outgoing).await
}

/// The same message sent once more: another message id, everything else as it was.
#[must_use]
pub fn repeated(message: &Received) -> Received {
    let mut again = message.clone();
    again.envelope.id = MessageId::fresh();
    again
}

/// Reads what a handler wants to send.
///
/// # Panics
/// When it is not an `M`.
pub async fn decoded<M: Message>(codec: &Codec, outgoing: &Outgoing) -> M {
    assert_eq!(
        outgoing.message_type,
        M::message_type().name,
        "another kind of message was expected"
    );
    received(codec, outgoing)
        .await
        .decode()
        .expect("the message fits its schema")
}

/// Has a handler handle a batch as the consumer would, in a transaction that is committed, and gives what it wants to
/// send instead of writing it to the outbox.
///
/// # Errors
/// The handler's; then nothing is committed.
pub async fn handle(
    pool: &PgPool,
    handler: &impl Handler,
    batch: &[Received],
) -> Result<Vec<Outgoing>, Fault> {
    let mut tx = pool.begin().await?;
    let outgoing = handler.handle(&mut tx, batch).await?;
    tx.commit().await?;
    Ok(outgoing)
}
