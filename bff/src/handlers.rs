//! What is done with the messages that arrive.

use async_trait::async_trait;
use contracts::{product_admin::ProductChanged, purchase_manager::PurchaseUpdated};
use mailbox::{Fault, Handler, Outgoing, Received};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::product::{Product, newest},
    store::{catalogue, submission},
};

/// Keeps the catalogue.
#[derive(Debug)]
pub(crate) struct CatalogueHandler;

#[async_trait]
impl Handler for CatalogueHandler {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        batch: &[Received],
    ) -> Result<Vec<Outgoing>, Fault> {
        let mut products = Vec::with_capacity(batch.len());
        for message in batch {
            let told = message
                .decode_if::<ProductChanged>()?
                .ok_or_else(|| message.unexpected())?;
            products.push(Product::try_from(told).map_err(Fault::deterministic)?);
        }
        catalogue::keep_newer(connection, &newest(products)).await?;
        Ok(Vec::new())
    }
}

/// Notes which submissions purchase-manager has.
#[derive(Debug)]
pub(crate) struct AcknowledgementHandler;

#[async_trait]
impl Handler for AcknowledgementHandler {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        batch: &[Received],
    ) -> Result<Vec<Outgoing>, Fault> {
        let mut ids = Vec::with_capacity(batch.len());
        let mut ended = Vec::new();
        for message in batch {
            if !message.is::<PurchaseUpdated>() {
                return Err(message.unexpected());
            }
            let id = message.key.parse::<Uuid>().map_err(Fault::deterministic)?;
            ids.push(id);
            // That it is known at all the key says, also of a value that cannot be read.
            if let Ok(Some(told)) = message.decode_if::<PurchaseUpdated>()
                && SEEN_THROUGH.contains(&told.state.as_str())
            {
                ended.push(id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        submission::acknowledge(connection, &ids).await?;
        if !ended.is_empty() {
            submission::end(connection, &ended).await?;
        }
        Ok(Vec::new())
    }

    fn committed(&self, batch: &[Received]) {
        for message in batch {
            // What could not be read would have been parked.
            if let Ok(Some(told)) = message.decode_if::<PurchaseUpdated>()
                && SEEN_THROUGH.contains(&told.state.as_str())
            {
                let failure = told.failure.map_or_else(String::new, |failure| failure.code);
                metrics::counter!("belay_purchases_ended_total", "state" => told.state, "failure" => failure)
                    .increment(1);
            }
        }
    }
}

/// States after which a purchase goes on only by an operator, or never.
const SEEN_THROUGH: [&str; 4] = ["COMPLETED", "REJECTED", "CANCELLED", "STUCK"];
