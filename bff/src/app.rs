//! What every request can use.

use mailbox::{Codec, Outbox};
use sqlx::PgPool;

use crate::{clients::Clients, domain::pricing::Shop, live::Hub};

/// The parts of the running service.
#[derive(Debug)]
pub(crate) struct App {
    pub pool: PgPool,
    pub codec: Codec,
    pub outbox: Outbox,
    pub clients: Clients,
    pub hub: Hub,
    pub shop: Shop,
    /// Purchases that a customer may have under way.
    pub max_open_purchases: u32,
}
