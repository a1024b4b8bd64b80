//! The participant: the step `create-order` and its rollback.

use async_trait::async_trait;
use contracts::{
    ids::PurchaseId,
    orders::{CancelOrder, CreateOrder, OrderCancelled, OrderCreated, OrderRejected},
};
use mailbox::{
    Codec, Fault, Outgoing, Received,
    barrier::Direction,
    participant::{Operation, Participant, ReplyMessage, Verdict, encode_reply},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::{
    domain,
    store::{self, World},
};

/// The step, named as in the saga's definition.
pub const CREATE_ORDER: &str = "create-order";

/// What the service can be asked.
#[derive(Debug)]
pub enum Command {
    /// Place the order.
    Create(CreateOrder),
    /// Withdraw it.
    Cancel(CancelOrder),
}

/// What it can answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Reply {
    /// Placed.
    OrderCreated(OrderCreated),
    /// Not placed.
    OrderRejected(OrderRejected),
    /// No longer there.
    OrderCancelled(OrderCancelled),
}

impl ReplyMessage for Reply {
    fn encode(&self, codec: &Codec, purchase: PurchaseId) -> Result<Outgoing, Fault> {
        match self {
            Self::OrderCreated(reply) => encode_reply(codec, purchase, reply),
            Self::OrderRejected(reply) => encode_reply(codec, purchase, reply),
            Self::OrderCancelled(reply) => encode_reply(codec, purchase, reply),
        }
    }
}

/// The service as a participant of the saga.
#[derive(Debug)]
pub struct Orders;

#[async_trait]
impl Participant for Orders {
    type Command = Command;
    type Reply = Reply;
    type World = World;

    fn steps(&self) -> &'static [&'static str] {
        &[CREATE_ORDER]
    }

    fn read(&self, message: &Received) -> Result<Operation<Command>, Fault> {
        if let Some(create) = message.decode_if::<CreateOrder>()? {
            let (purchase_id, direction) = (create.purchase_id, Direction::Forward);
            return Ok(Operation {
                purchase_id,
                step: CREATE_ORDER,
                direction,
                command: Command::Create(create),
            });
        }
        if let Some(cancel) = message.decode_if::<CancelOrder>()? {
            let (purchase_id, direction) = (cancel.purchase_id, Direction::Rollback);
            return Ok(Operation {
                purchase_id,
                step: CREATE_ORDER,
                direction,
                command: Command::Cancel(cancel),
            });
        }
        Err(message.unexpected())
    }

    async fn load(
        &self,
        connection: &mut PgConnection,
        batch: &[Operation<Command>],
    ) -> Result<World, Fault> {
        let purchases: Vec<PurchaseId> = batch.iter().map(|operation| operation.purchase_id).collect();
        let creations = batch
            .iter()
            .filter(|operation| matches!(operation.command, Command::Create(_)))
            .count();
        store::load(connection, &purchases, creations).await
    }

    fn decide(&self, world: &mut World, operation: &Operation<Command>) -> Result<Verdict<Reply>, Fault> {
        let purchase_id = operation.purchase_id;
        match &operation.command {
            Command::Create(create) => {
                if let Err(malformed) = domain::check(create) {
                    let rejected = OrderRejected {
                        purchase_id,
                        reason: malformed.to_string(),
                    };
                    return Ok(Verdict::Refused(Reply::OrderRejected(rejected)));
                }
                let identity = world.place(create).map_err(Fault::deterministic)?;
                let created = OrderCreated {
                    purchase_id,
                    order_id: identity.order_id,
                    number: identity.number,
                };
                Ok(Verdict::Done(Reply::OrderCreated(created)))
            }
            Command::Cancel(_) => {
                world.cancel(purchase_id).map_err(Fault::deterministic)?;
                Ok(Verdict::Done(Reply::OrderCancelled(OrderCancelled {
                    purchase_id,
                })))
            }
        }
    }

    fn nothing_to_undo(&self, operation: &Operation<Command>) -> Reply {
        Reply::OrderCancelled(OrderCancelled {
            purchase_id: operation.purchase_id,
        })
    }

    async fn save(&self, connection: &mut PgConnection, world: World) -> Result<Vec<Outgoing>, Fault> {
        store::save(connection, world).await?;
        Ok(Vec::new())
    }
}
