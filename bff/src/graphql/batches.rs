//! How the reads of one request become few: each loader collects the keys that are asked for at once.
//!
//! No check of whose anything is: that is [`super::reader`]'s, through which alone these are reached.

use std::{collections::HashMap, sync::Arc};

use async_graphql::dataloader::Loader;
use contracts::{
    http::{Contact, InventoryLevel, MAX_IDS, Order, Payment},
    ids::{CustomerId, ProductId, PurchaseId},
    operator::OperatorView,
};

use crate::{
    app::App,
    clients::ServiceError,
    domain::{product::Product, purchase::Purchase},
    store::{
        catalogue, contact,
        submission::{self, Submission},
    },
};

pub(super) struct PurchaseBatch(pub Arc<App>);
pub(super) struct OperatorBatch(pub Arc<App>);
pub(super) struct SubmissionBatch(pub Arc<App>);
pub(super) struct ContactBatch(pub Arc<App>);
pub(super) struct OrderBatch(pub Arc<App>);
pub(super) struct PaymentBatch(pub Arc<App>);
pub(super) struct InventoryBatch(pub Arc<App>);
pub(super) struct ProductBatch(pub Arc<App>);

impl Loader<PurchaseId> for PurchaseBatch {
    type Value = Arc<Purchase>;
    type Error = ServiceError;

    async fn load(&self, ids: &[PurchaseId]) -> Result<HashMap<PurchaseId, Self::Value>, Self::Error> {
        let mut found = HashMap::with_capacity(ids.len());
        for part in ids.chunks(MAX_IDS) {
            for told in self.0.clients.purchases(part).await? {
                let purchase = Purchase::try_from(told).map_err(|error| ServiceError::Broken {
                    service: "purchase-manager",
                    reason: error.to_string(),
                })?;
                found.insert(purchase.id, Arc::new(purchase));
            }
        }
        Ok(found)
    }
}

impl Loader<PurchaseId> for SubmissionBatch {
    type Value = Submission;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, ids: &[PurchaseId]) -> Result<HashMap<PurchaseId, Self::Value>, Self::Error> {
        let found = submission::by_purchases(&self.0.pool, ids).await?;
        Ok(found
            .into_iter()
            .map(|submission| (submission.purchase, submission))
            .collect())
    }
}

impl Loader<PurchaseId> for OperatorBatch {
    type Value = OperatorView;
    type Error = ServiceError;

    async fn load(&self, ids: &[PurchaseId]) -> Result<HashMap<PurchaseId, Self::Value>, Self::Error> {
        let mut found = HashMap::with_capacity(ids.len());
        for part in ids.chunks(MAX_IDS) {
            let views = self.0.clients.operator_views(part).await?;
            found.extend(views.into_iter().map(|view| (view.purchase_id, view)));
        }
        Ok(found)
    }
}

impl Loader<PurchaseId> for OrderBatch {
    type Value = Order;
    type Error = ServiceError;

    async fn load(&self, purchases: &[PurchaseId]) -> Result<HashMap<PurchaseId, Self::Value>, Self::Error> {
        let mut found = HashMap::with_capacity(purchases.len());
        for part in purchases.chunks(MAX_IDS) {
            let orders = self.0.clients.orders(part).await?;
            found.extend(orders.into_iter().map(|order| (order.purchase_id, order)));
        }
        Ok(found)
    }
}

impl Loader<PurchaseId> for PaymentBatch {
    type Value = Vec<Payment>;
    type Error = ServiceError;

    async fn load(&self, purchases: &[PurchaseId]) -> Result<HashMap<PurchaseId, Self::Value>, Self::Error> {
        let mut found: HashMap<_, Vec<_>> = HashMap::with_capacity(purchases.len());
        for part in purchases.chunks(MAX_IDS) {
            for payment in self.0.clients.payments(part).await? {
                found.entry(payment.purchase_id).or_default().push(payment);
            }
        }
        Ok(found)
    }
}

impl Loader<ProductId> for InventoryBatch {
    type Value = InventoryLevel;
    type Error = ServiceError;

    async fn load(&self, products: &[ProductId]) -> Result<HashMap<ProductId, Self::Value>, Self::Error> {
        let mut found = HashMap::with_capacity(products.len());
        for part in products.chunks(MAX_IDS) {
            let levels = self.0.clients.inventory(part).await?;
            found.extend(levels.into_iter().map(|level| (level.product_id, level)));
        }
        Ok(found)
    }
}

impl Loader<ProductId> for ProductBatch {
    type Value = Product;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, ids: &[ProductId]) -> Result<HashMap<ProductId, Self::Value>, Self::Error> {
        Ok(catalogue::by_ids(&self.0.pool, ids).await?)
    }
}

impl Loader<CustomerId> for ContactBatch {
    type Value = Contact;
    type Error = Arc<sqlx::Error>;

    async fn load(&self, customers: &[CustomerId]) -> Result<HashMap<CustomerId, Self::Value>, Self::Error> {
        let found = contact::of(&self.0.pool, customers).await?;
        Ok(found
            .into_iter()
            .map(|contact| (contact.customer_id.clone(), contact))
            .collect())
    }
}
