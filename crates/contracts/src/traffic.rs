//! Who produces and consumes what, and so which rights each service needs at the broker.
//!
//! A test runs every service and compares: `what_the_services_produce_and_consume_is_what_is_declared` (belay).

use crate::topics::{
    CONSOLIDATOR_COMMANDS, ORDERS_COMMANDS, PAYMENTS_COMMANDS, PRODUCT_ADMIN_COMMANDS, PRODUCT_EVENTS,
    PURCHASE_COMMANDS, PURCHASE_EVENTS, PURCHASE_REPLIES,
};

/// What one service does at the broker.
#[derive(Debug)]
pub struct Traffic {
    /// The service's name.
    pub service: &'static str,
    /// Topics that it writes.
    pub produces: &'static [&'static str],
    /// What it reads.
    pub reads: &'static [Reading],
}

/// One consumer group, or one reader without a group, and its topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reading {
    /// The group's name. A reader without a group has one too, under which the broker knows it, and stores nothing there.
    pub group: &'static str,
    /// Whether offsets are kept, so that there can be a lag.
    pub keeps_offsets: bool,
    /// Topics that it reads.
    pub topics: &'static [&'static str],
}

const fn group(group: &'static str, topics: &'static [&'static str]) -> Reading {
    Reading {
        group,
        keeps_offsets: true,
        topics,
    }
}

const fn tail(group: &'static str, topics: &'static [&'static str]) -> Reading {
    Reading {
        group,
        keeps_offsets: false,
        topics,
    }
}

/// The name under which whoever only asks the broker something is known there. Nothing is ever kept in it, but librdkafka looks
/// for its coordinator all the same.
pub const ASKING: &str = "belay.topics";

/// The declaration.
pub static TRAFFIC: &[Traffic] = &[
    Traffic {
        service: "bff",
        produces: &[PURCHASE_COMMANDS],
        reads: &[
            group("belay.bff.acknowledgements", &[PURCHASE_EVENTS]),
            group("belay.bff.catalogue", &[PRODUCT_EVENTS]),
            tail("belay.bff.live", &[PURCHASE_EVENTS, PRODUCT_EVENTS]),
        ],
    },
    Traffic {
        service: "purchase-manager",
        produces: &[
            CONSOLIDATOR_COMMANDS,
            PRODUCT_ADMIN_COMMANDS,
            PAYMENTS_COMMANDS,
            ORDERS_COMMANDS,
            PURCHASE_EVENTS,
        ],
        reads: &[group(
            "belay.purchase-manager",
            &[PURCHASE_COMMANDS, PURCHASE_REPLIES],
        )],
    },
    Traffic {
        service: "consolidator",
        produces: &[PURCHASE_REPLIES],
        reads: &[group("belay.consolidator", &[CONSOLIDATOR_COMMANDS])],
    },
    Traffic {
        service: "product-admin",
        produces: &[PURCHASE_REPLIES, PRODUCT_EVENTS, PURCHASE_COMMANDS],
        reads: &[group("belay.product-admin", &[PRODUCT_ADMIN_COMMANDS])],
    },
    Traffic {
        service: "payments",
        produces: &[PURCHASE_REPLIES],
        reads: &[group("belay.payments", &[PAYMENTS_COMMANDS])],
    },
    Traffic {
        service: "notifications",
        produces: &[],
        reads: &[group("belay.notifications.events", &[PURCHASE_EVENTS])],
    },
    Traffic {
        service: "orders",
        produces: &[PURCHASE_REPLIES],
        reads: &[group("belay.orders", &[ORDERS_COMMANDS])],
    },
];

/// The groups that keep offsets in `topic`.
pub fn groups_of(topic: &str) -> impl Iterator<Item = &'static str> {
    TRAFFIC
        .iter()
        .flat_map(|traffic| traffic.reads)
        .filter(move |reading| reading.keeps_offsets && reading.topics.contains(&topic))
        .map(|reading| reading.group)
}
