//! The commands of purchases: lock, decide in offset order, write once.
//!
//! The operation barrier in front of it ([`mailbox::participant`]) sees to duplicates and to rollbacks that come first.

use std::time::Duration;

use async_trait::async_trait;
use contracts::{
    ids::{ProductId, PurchaseId},
    product_admin::{
        ConfirmReservation, ProductChanged, ProductsReleased, ProductsReserved, ReleaseProducts,
        ReservationConfirmed, ReservationRejected, ReserveProducts,
    },
    topics,
};
use mailbox::{
    Codec, Fault, Outgoing, Received,
    barrier::Direction,
    participant::{Operation, Participant, ReplyMessage, Verdict, encode_reply},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::{
    domain::stock::{Contradiction, Stock},
    store,
};

/// Holding units for a purchase, and giving them back.
pub const RESERVE_PRODUCTS: &str = "reserve-products";
/// Selling the units that are held.
pub const CONFIRM_RESERVATION: &str = "confirm-reservation";

/// Everything that product-admin can be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// Hold units.
    Reserve(ReserveProducts),
    /// Give them back.
    Release(ReleaseProducts),
    /// Sell them.
    Confirm(ConfirmReservation),
}

/// Everything that product-admin answers. Stored with the operation, so the names of the variants are data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Reply {
    /// Every unit is held.
    ProductsReserved(ProductsReserved),
    /// Too little is there.
    ReservationRejected(ReservationRejected),
    /// Nothing is held any more.
    ProductsReleased(ProductsReleased),
    /// The units are sold.
    ReservationConfirmed(ReservationConfirmed),
}

impl ReplyMessage for Reply {
    fn encode(&self, codec: &Codec, purchase: PurchaseId) -> Result<Outgoing, Fault> {
        match self {
            Self::ProductsReserved(reply) => encode_reply(codec, purchase, reply),
            Self::ReservationRejected(reply) => encode_reply(codec, purchase, reply),
            Self::ProductsReleased(reply) => encode_reply(codec, purchase, reply),
            Self::ReservationConfirmed(reply) => encode_reply(codec, purchase, reply),
        }
    }
}

/// The stock keeper of the saga.
#[derive(Debug, Clone)]
pub struct StockKeeper {
    codec: Codec,
    reservation_ttl: Duration,
}

impl StockKeeper {
    /// A stock keeper that writes its events with `codec` and holds units for `reservation_ttl` before it asks.
    #[must_use]
    pub fn new(codec: Codec, reservation_ttl: Duration) -> Self {
        Self {
            codec,
            reservation_ttl,
        }
    }
}

#[async_trait]
impl Participant for StockKeeper {
    type Command = Command;
    type Reply = Reply;
    type World = Stock;

    fn steps(&self) -> &'static [&'static str] {
        &[RESERVE_PRODUCTS, CONFIRM_RESERVATION]
    }

    fn read(&self, message: &Received) -> Result<Operation<Command>, Fault> {
        if let Some(command) = message.decode_if::<ReserveProducts>()? {
            let purchase_id = command.purchase_id;
            let (step, direction) = (RESERVE_PRODUCTS, Direction::Forward);
            return Ok(Operation {
                purchase_id,
                step,
                direction,
                command: Command::Reserve(command),
            });
        }
        if let Some(command) = message.decode_if::<ReleaseProducts>()? {
            let purchase_id = command.purchase_id;
            let (step, direction) = (RESERVE_PRODUCTS, Direction::Rollback);
            return Ok(Operation {
                purchase_id,
                step,
                direction,
                command: Command::Release(command),
            });
        }
        if let Some(command) = message.decode_if::<ConfirmReservation>()? {
            let purchase_id = command.purchase_id;
            let (step, direction) = (CONFIRM_RESERVATION, Direction::Forward);
            return Ok(Operation {
                purchase_id,
                step,
                direction,
                command: Command::Confirm(command),
            });
        }
        Err(message.unexpected())
    }

    async fn load(
        &self,
        connection: &mut PgConnection,
        batch: &[Operation<Command>],
    ) -> Result<Stock, Fault> {
        let purchases: Vec<PurchaseId> = batch.iter().map(|operation| operation.purchase_id).collect();
        let mut products: Vec<ProductId> = batch.iter().flat_map(named_products).collect();
        products.sort_unstable();
        products.dedup();
        Ok(store::stock::load(connection, &products, &purchases).await?)
    }

    fn decide(&self, stock: &mut Stock, operation: &Operation<Command>) -> Result<Verdict<Reply>, Fault> {
        let purchase_id = operation.purchase_id;
        match &operation.command {
            Command::Reserve(command) => match stock.reserve(purchase_id, &command.lines).map_err(fault)? {
                Ok(()) => Ok(Verdict::Done(Reply::ProductsReserved(ProductsReserved {
                    purchase_id,
                }))),
                Err(shortages) => Ok(Verdict::Refused(Reply::ReservationRejected(
                    ReservationRejected {
                        purchase_id,
                        shortages,
                    },
                ))),
            },
            Command::Release(_) => {
                stock.release(purchase_id).map_err(fault)?;
                Ok(Verdict::Done(Reply::ProductsReleased(ProductsReleased {
                    purchase_id,
                })))
            }
            Command::Confirm(_) => {
                stock.confirm(purchase_id).map_err(fault)?;
                Ok(Verdict::Done(Reply::ReservationConfirmed(ReservationConfirmed {
                    purchase_id,
                })))
            }
        }
    }

    fn nothing_to_undo(&self, operation: &Operation<Command>) -> Reply {
        Reply::ProductsReleased(ProductsReleased {
            purchase_id: operation.purchase_id,
        })
    }

    async fn save(&self, connection: &mut PgConnection, stock: Stock) -> Result<Vec<Outgoing>, Fault> {
        let crossed = store::stock::save(connection, &stock.changes(), self.reservation_ttl).await?;
        crossed
            .iter()
            .map(|product| product_changed(&self.codec, product))
            .collect()
    }
}

/// The event that tells the catalogue of a product.
///
/// # Errors
/// [`Fault::Deterministic`] when it does not fit its schema.
pub fn product_changed(codec: &Codec, product: &ProductChanged) -> Result<Outgoing, Fault> {
    codec.outgoing(topics::PRODUCT_EVENTS, product.product_id, product)
}

/// The products that a command names itself; those of a reservation are found by its purchase.
fn named_products(operation: &Operation<Command>) -> Vec<ProductId> {
    match &operation.command {
        Command::Reserve(command) => command.lines.iter().map(|line| line.product_id).collect(),
        Command::Release(_) | Command::Confirm(_) => Vec::new(),
    }
}

/// Only a lost race is worth another try; every other contradiction is the same next time.
fn fault(contradiction: Contradiction) -> Fault {
    match contradiction {
        Contradiction::NotLocked { .. } => Fault::transient(contradiction),
        Contradiction::NoLines(_)
        | Contradiction::Quantity { .. }
        | Contradiction::Twice { .. }
        | Contradiction::AlreadyReserved(_)
        | Contradiction::NotHeld(_)
        | Contradiction::Underflow { .. } => Fault::deterministic(contradiction),
    }
}
