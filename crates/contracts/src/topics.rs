//! Every topic: what it may carry, and how the broker keeps it. `belay topics apply` makes a cluster so.
//!
//! Who produces and consumes what is in [`crate::traffic`].
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
    /// Brokers that hold a copy of each partition, on a cluster of as many brokers.
    pub replication_factor: i32,
    /// What the broker throws away.
    pub cleanup: Cleanup,
    /// The largest batch that the broker takes (`max.message.bytes`), in bytes.
    pub max_message_bytes: u32,
    messages: fn() -> Vec<&'static MessageType>,
}

/// What the broker throws away of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// What is older than this, in milliseconds (`retention.ms`).
    Delete {
        /// How long a message is kept.
        retention_ms: i64,
    },
    /// Everything but the last message of a key, however old.
    Compact,
}

impl Topic {
    /// The messages that the topic may carry. Its subjects in the registry are the topic and the record's name.
    #[must_use]
    pub fn messages(&self) -> Vec<&'static MessageType> {
        (self.messages)()
    }

    /// Copies of a message that must be there before it is acknowledged (`min.insync.replicas`), when there are
    /// `replication_factor` copies: all but one. With three copies, one broker may be away and nothing stands still, and a
    /// message that was acknowledged survives the loss of one more; with two or one there is nothing to spare.
    #[must_use]
    pub fn min_insync_replicas(replication_factor: i32) -> i32 {
        (replication_factor - 1).max(1)
    }

    /// The topic's settings at the broker by name, as [`Topic::name`] is to have them with `replication_factor` copies.
    #[must_use]
    pub fn settings(&self, replication_factor: i32) -> Vec<(&'static str, String)> {
        let (policy, retention_ms) = match self.cleanup {
            Cleanup::Delete { retention_ms } => ("delete", retention_ms),
            // Without compaction's own end: no key is ever forgotten.
            Cleanup::Compact => ("compact", -1),
        };
        vec![
            ("cleanup.policy", policy.to_owned()),
            ("max.message.bytes", self.max_message_bytes.to_string()),
            (
                "min.insync.replicas",
                Self::min_insync_replicas(replication_factor).to_string(),
            ),
            ("retention.ms", retention_ms.to_string()),
        ]
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

/// Copies of every partition: the least with which one broker can be away for maintenance while another one fails.
const REPLICATION_FACTOR: i32 = 3;

/// Kafka's own default of `message.max.bytes`, said so that a cluster with another default refuses nothing that the outbox has
/// let through: its limit of 900 KiB a message lies below (`mailbox::outbox::MAX_PAYLOAD_BYTES`).
const MAX_MESSAGE_BYTES: u32 = 1_048_588;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Commands and replies: a participant may be away over a week's end and a holiday and find what was sent to it. Kept longer
/// they are of no use: whoever waits for an answer has sent again or given up.
const CONVERSATION: Cleanup = Cleanup::Delete {
    retention_ms: 7 * DAY_MS,
};

/// Events of purchases: as long as conversations. A reader that was away longer reconciles from purchase-manager's feed of
/// changes, so nothing rests on the topic's memory.
const HINTS: Cleanup = Cleanup::Delete {
    retention_ms: 7 * DAY_MS,
};

/// What purchase-manager is told: submissions by the edge, and by product-admin that a reservation has passed its time.
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
        replication_factor: REPLICATION_FACTOR,
        cleanup: CONVERSATION,
        max_message_bytes: MAX_MESSAGE_BYTES,
        messages: || {
            vec![
                purchase_manager::SubmitPurchase::message_type(),
                product_admin::ReservationExpired::message_type(),
            ]
        },
    },
    Topic {
        name: PURCHASE_REPLIES,
        partitions: PARTITIONS,
        replication_factor: REPLICATION_FACTOR,
        cleanup: CONVERSATION,
        max_message_bytes: MAX_MESSAGE_BYTES,
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
        replication_factor: REPLICATION_FACTOR,
        cleanup: HINTS,
        max_message_bytes: MAX_MESSAGE_BYTES,
        messages: || vec![purchase_manager::PurchaseUpdated::message_type()],
    },
    Topic {
        name: PRODUCT_EVENTS,
        partitions: PARTITIONS,
        replication_factor: REPLICATION_FACTOR,
        // A new edge builds its whole catalogue from it: the last event of every product, from the beginning.
        cleanup: Cleanup::Compact,
        max_message_bytes: MAX_MESSAGE_BYTES,
        messages: || vec![product_admin::ProductChanged::message_type()],
    },
    Topic {
        name: CONSOLIDATOR_COMMANDS,
        partitions: PARTITIONS,
        replication_factor: REPLICATION_FACTOR,
        cleanup: CONVERSATION,
        max_message_bytes: MAX_MESSAGE_BYTES,
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
        replication_factor: REPLICATION_FACTOR,
        cleanup: CONVERSATION,
        max_message_bytes: MAX_MESSAGE_BYTES,
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
        replication_factor: REPLICATION_FACTOR,
        cleanup: CONVERSATION,
        max_message_bytes: MAX_MESSAGE_BYTES,
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
        replication_factor: REPLICATION_FACTOR,
        cleanup: CONVERSATION,
        max_message_bytes: MAX_MESSAGE_BYTES,
        messages: || {
            vec![
                orders::CreateOrder::message_type(),
                orders::CancelOrder::message_type(),
            ]
        },
    },
];
