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
        for message in batch {
            if !message.is::<PurchaseUpdated>() {
                return Err(message.unexpected());
            }
            // The key says all that is needed; the value is the live feed's business.
            ids.push(message.key.parse::<Uuid>().map_err(Fault::deterministic)?);
        }
        ids.sort_unstable();
        ids.dedup();
        submission::acknowledge(connection, &ids).await?;
        Ok(Vec::new())
    }
}
