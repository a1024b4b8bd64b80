//! Every topic, what it may carry, and how many partitions it starts with.
//!
//! The key of every message is the purchase's id, of product events the product's. Partitions are never added to
//! a topic that is not drained: the key would move to another partition and overtake itself.

use crate::{Message, MessageType, consolidator, orders, payments, product_admin, purchase_manager};

/// One topic of the declaration.
#[derive(Debug)]
pub struct Topic {
    /// The topic's name.
    pub name: &'static str,
    /// Partitions when it is created.
    pub partitions: i32,
    /// Whether the broker keeps only the last message of a key.
    pub compacted: bool,
    messages: fn() -> Vec<&'static MessageType>,
}

impl Topic {
    /// The messages that the topic may carry. Its subjects in the registry are the topic and the record's name.
    #[must_use]
    pub fn messages(&self) -> Vec<&'static MessageType> {
        (self.messages)()
    }
}

/// The message of that name on a topic, if the topic may carry it.
#[must_use]
pub fn message_on(topic: &str, name: &str) -> Option<&'static MessageType> {
    let topic = TOPICS.iter().find(|t| t.name == topic)?;
    topic.messages().into_iter().find(|m| m.name == name)
}

/// The subject under which the registry keeps a message of a topic (TopicRecordNameStrategy).
#[must_use]
pub fn subject(topic: &str, message: &MessageType) -> String {
    format!("{topic}-{}", message.name)
}

/// Partitions of every topic. More than the 5 instances that a participant scales to, so that none is idle.
const PARTITIONS: i32 = 8;

/// Submissions, from the edge to purchase-manager.
pub const PURCHASE_COMMANDS: &str = "purchase.commands.v1";
/// What participants answer.
pub const PURCHASE_REPLIES: &str = "purchase.replies.v1";
/// Every visible change of a purchase.
pub const PURCHASE_EVENTS: &str = "purchase.events.v1";
/// Every change of a product that the catalogue shows.
pub const PRODUCT_EVENTS: &str = "product.events.v1";
/// Commands to the consolidator.
pub const CONSOLIDATOR_COMMANDS: &str = "consolidator.commands.v1";
/// Commands to product-admin.
pub const PRODUCT_ADMIN_COMMANDS: &str = "product-admin.commands.v1";
/// Commands to payments.
pub const PAYMENTS_COMMANDS: &str = "payments.commands.v1";
/// Commands to orders.
pub const ORDERS_COMMANDS: &str = "orders.commands.v1";

/// The declaration.
pub static TOPICS: &[Topic] = &[
    Topic {
        name: PURCHASE_COMMANDS,
        partitions: PARTITIONS,
        compacted: false,
        messages: || vec![purchase_manager::SubmitPurchase::message_type()],
    },
    Topic {
        name: PURCHASE_REPLIES,
        partitions: PARTITIONS,
        compacted: false,
        messages: || {
            vec![
                purchase_manager::CommandSuperseded::message_type(),
                consolidator::InventoryValidated::message_type(),
                consolidator::InventoryRejected::message_type(),
                consolidator::PriceChanged::message_type(),
                consolidator::ValidationCancelled::message_type(),
                product_admin::ProductsReserved::message_type(),
                product_admin::ReservationRejected::message_type(),
                product_admin::ProductsReleased::message_type(),
                product_admin::ReservationConfirmed::message_type(),
                payments::PaymentAuthorized::message_type(),
                payments::PaymentDeclined::message_type(),
                payments::PaymentVoided::message_type(),
                payments::PaymentCaptured::message_type(),
                orders::OrderCreated::message_type(),
                orders::OrderRejected::message_type(),
                orders::OrderCancelled::message_type(),
            ]
        },
    },
    Topic {
        name: PURCHASE_EVENTS,
        partitions: PARTITIONS,
        compacted: false,
        messages: || vec![purchase_manager::PurchaseUpdated::message_type()],
    },
    Topic {
        name: PRODUCT_EVENTS,
        partitions: PARTITIONS,
        compacted: true,
        messages: || vec![product_admin::ProductChanged::message_type()],
    },
    Topic {
        name: CONSOLIDATOR_COMMANDS,
        partitions: PARTITIONS,
        compacted: false,
        messages: || {
            vec![
                consolidator::ValidateInventory::message_type(),
                consolidator::CancelValidation::message_type(),
            ]
        },
    },
    Topic {
        name: PRODUCT_ADMIN_COMMANDS,
        partitions: PARTITIONS,
        compacted: false,
        messages: || {
            vec![
                product_admin::ReserveProducts::message_type(),
                product_admin::ReleaseProducts::message_type(),
                product_admin::ConfirmReservation::message_type(),
            ]
        },
    },
    Topic {
        name: PAYMENTS_COMMANDS,
        partitions: PARTITIONS,
        compacted: false,
        messages: || {
            vec![
                payments::AuthorizePayment::message_type(),
                payments::VoidPayment::message_type(),
                payments::CapturePayment::message_type(),
            ]
        },
    },
    Topic {
        name: ORDERS_COMMANDS,
        partitions: PARTITIONS,
        compacted: false,
        messages: || {
            vec![
                orders::CreateOrder::message_type(),
                orders::CancelOrder::message_type(),
            ]
        },
    },
];
