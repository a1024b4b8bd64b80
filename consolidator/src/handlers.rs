//! The commands of purchases: one query a batch, then each answered in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use contracts::{
    consolidator::{
        CancelValidation, InventoryRejected, InventoryValidated, PriceChanged, ValidateInventory,
        ValidationCancelled,
    },
    ids::{ProductId, PurchaseId},
};
use mailbox::{
    Codec, Fault, Outgoing, Received,
    barrier::Direction,
    participant::{Operation, Participant, ReplyMessage, Verdict, encode_reply},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::{
    domain::{Finding, Offer, examine},
    store,
};

/// Looking whether a purchase is possible.
pub const VALIDATE_INVENTORY: &str = "validate-inventory";

/// Everything that the consolidator can be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Look whether it is possible.
    Validate(ValidateInventory),
    /// Forget that it was looked at.
    Cancel(CancelValidation),
}

/// Everything that the consolidator answers. Stored with the operation, so the names of the variants are data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Reply {
    /// Everything can be sold as asked.
    InventoryValidated(InventoryValidated),
    /// Some products are short.
    InventoryRejected(InventoryRejected),
    /// Some prices moved.
    PriceChanged(PriceChanged),
    /// Nothing of the validation is left.
    ValidationCancelled(ValidationCancelled),
}

impl ReplyMessage for Reply {
    fn encode(&self, codec: &Codec, purchase: PurchaseId) -> Result<Outgoing, Fault> {
        match self {
            Self::InventoryValidated(reply) => encode_reply(codec, purchase, reply),
            Self::InventoryRejected(reply) => encode_reply(codec, purchase, reply),
            Self::PriceChanged(reply) => encode_reply(codec, purchase, reply),
            Self::ValidationCancelled(reply) => encode_reply(codec, purchase, reply),
        }
    }
}

/// The first to look at a purchase.
#[derive(Debug, Clone, Copy)]
pub struct Validator;

#[async_trait]
impl Participant for Validator {
    type Command = Command;
    type Reply = Reply;
    type World = HashMap<ProductId, Offer>;

    fn steps(&self) -> &'static [&'static str] {
        &[VALIDATE_INVENTORY]
    }

    fn read(&self, message: &Received) -> Result<Operation<Command>, Fault> {
        let step = VALIDATE_INVENTORY;
        if let Some(command) = message.decode_if::<ValidateInventory>()? {
            let (purchase_id, direction) = (command.purchase_id, Direction::Forward);
            return Ok(Operation {
                purchase_id,
                step,
                direction,
                command: Command::Validate(command),
            });
        }
        if let Some(command) = message.decode_if::<CancelValidation>()? {
            let (purchase_id, direction) = (command.purchase_id, Direction::Rollback);
            return Ok(Operation {
                purchase_id,
                step,
                direction,
                command: Command::Cancel(command),
            });
        }
        Err(message.unexpected())
    }

    async fn load(
        &self,
        connection: &mut PgConnection,
        batch: &[Operation<Command>],
    ) -> Result<Self::World, Fault> {
        let mut products: Vec<ProductId> = batch.iter().flat_map(named_products).collect();
        if products.is_empty() {
            return Ok(HashMap::new());
        }
        products.sort_unstable();
        products.dedup();
        Ok(store::offers(connection, &products).await?)
    }

    fn decide(
        &self,
        offers: &mut Self::World,
        operation: &Operation<Command>,
    ) -> Result<Verdict<Reply>, Fault> {
        let purchase_id = operation.purchase_id;
        match &operation.command {
            Command::Validate(command) => match examine(offers, command).map_err(Fault::deterministic)? {
                Finding::Possible => Ok(Verdict::Done(Reply::InventoryValidated(InventoryValidated {
                    purchase_id,
                }))),
                Finding::Short(shortages) => {
                    Ok(Verdict::Refused(Reply::InventoryRejected(InventoryRejected {
                        purchase_id,
                        shortages,
                    })))
                }
                Finding::PricesChanged(changes) => Ok(Verdict::Refused(Reply::PriceChanged(PriceChanged {
                    purchase_id,
                    changes,
                }))),
            },
            // The operation's row is all that a validation leaves, and it stays: it answers a duplicate.
            Command::Cancel(_) => Ok(Verdict::Done(cancelled(purchase_id))),
        }
    }

    fn nothing_to_undo(&self, operation: &Operation<Command>) -> Reply {
        cancelled(operation.purchase_id)
    }

    async fn save(
        &self,
        _connection: &mut PgConnection,
        _offers: Self::World,
    ) -> Result<Vec<Outgoing>, Fault> {
        Ok(Vec::new())
    }
}

fn cancelled(purchase_id: PurchaseId) -> Reply {
    Reply::ValidationCancelled(ValidationCancelled { purchase_id })
}

fn named_products(operation: &Operation<Command>) -> Vec<ProductId> {
    match &operation.command {
        Command::Validate(command) => command.lines.iter().map(|line| line.product_id).collect(),
        Command::Cancel(_) => Vec::new(),
    }
}
