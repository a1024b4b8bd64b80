//! Every read of a request: batched, within the time limits, and only what the viewer may see.
//!
//! Another customer's id is answered exactly like an unknown one, also while a service is away (test
//! `purchases::another_customers_purchase_is_like_an_unknown_one`).

use std::{collections::HashMap, sync::Arc};

use async_graphql::dataloader::{DataLoader, HashMapCache};
use contracts::{
    http::{Contact, InventoryLevel, Movement, Order, Payment},
    ids::{CustomerId, OrderId, ProductId, PurchaseId},
    operator::{OperatorView, PurchaseSearch, SagaMessage},
};
use host::identity::acting;
use uuid::Uuid;

use super::{
    batches::{
        ContactBatch, InventoryBatch, OperatorBatch, OrderBatch, PaymentBatch, ProductBatch, PurchaseBatch,
        SubmissionBatch,
    },
    failure::Failure,
};
use crate::{
    app::App,
    auth::Viewer,
    clients::ServiceError,
    domain::{
        product::Product,
        purchase::Purchase,
        words::{ProductStatus, PurchaseState},
    },
    store::{
        catalogue::{self, Place, Selection},
        submission::{self, OpenSearch, Submission},
    },
};

/// The reads of one request, or of one subscription.
pub(crate) struct Reader {
    app: Arc<App>,
    viewer: Viewer,
    purchases: Batched<PurchaseBatch>,
    operator_views: Batched<OperatorBatch>,
    submissions: Batched<SubmissionBatch>,
    contacts: Batched<ContactBatch>,
    orders: Batched<OrderBatch>,
    payments: Batched<PaymentBatch>,
    inventory: Batched<InventoryBatch>,
    products: Batched<ProductBatch>,
}

type Batched<L> = DataLoader<L, HashMapCache>;

impl Reader {
    /// For one request: what was read once is not read again.
    pub fn for_request(app: &Arc<App>, viewer: &Viewer) -> Self {
        Self {
            app: app.clone(),
            viewer: viewer.clone(),
            purchases: batched(PurchaseBatch(app.clone())),
            operator_views: batched(OperatorBatch(app.clone())),
            submissions: batched(SubmissionBatch(app.clone())),
            contacts: batched(ContactBatch(app.clone())),
            orders: batched(OrderBatch(app.clone())),
            payments: batched(PaymentBatch(app.clone())),
            inventory: batched(InventoryBatch(app.clone())),
            products: batched(ProductBatch(app.clone())),
        }
    }

    /// For a subscription, which outlives what it reads: batched, but nothing is kept.
    pub fn for_subscription(app: &Arc<App>, viewer: &Viewer) -> Self {
        let reader = Self::for_request(app, viewer);
        reader.purchases.enable_all_cache(false);
        reader.operator_views.enable_all_cache(false);
        reader.submissions.enable_all_cache(false);
        reader.contacts.enable_all_cache(false);
        reader.orders.enable_all_cache(false);
        reader.payments.enable_all_cache(false);
        reader.inventory.enable_all_cache(false);
        reader.products.enable_all_cache(false);
        reader
    }

    /// A purchase that the viewer may see, as purchase-manager knows it. Before that knows it, or while that is away and
    /// has not acknowledged it, as it was submitted.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when purchase-manager is away and the purchase has moved on since it was submitted.
    pub async fn purchase(&self, id: PurchaseId) -> Result<Option<Arc<Purchase>>, Failure> {
        if self.viewer.identity().is_none() {
            return Ok(None);
        }
        let asked = self.purchases.load_one(id).await;
        let away = match asked {
            Ok(Some(known)) => return Ok(Some(known).filter(|p| self.viewer.may_see(&p.customer))),
            Ok(None) => None,
            Err(away @ ServiceError::Away { .. }) => Some(away),
            Err(broken @ ServiceError::Broken { .. }) => return Err(broken.into()),
        };
        let submitted = self
            .submissions
            .load_one(id)
            .await?
            .filter(|s| self.viewer.may_see(&s.customer));
        match (submitted, away) {
            (Some(submission), Some(away)) if submission.acknowledged => Err(away.into()),
            (Some(submission), _) => Ok(Some(Arc::new(submission.pending()?))),
            (None, Some(away)) => Err(away.into()),
            (None, None) => Ok(None),
        }
    }

    /// The viewer's own purchases, newest first, older than `before`: what purchase-manager knows, and what it does not
    /// know yet. At most `limit`; all states when none is named.
    pub async fn purchases_of_viewer(
        &self,
        before: Option<PurchaseId>,
        limit: i64,
        states: &[PurchaseState],
    ) -> Result<Vec<Arc<Purchase>>, Failure> {
        let Some(identity) = self.viewer.identity() else {
            return Ok(Vec::new());
        };
        let told = self
            .app
            .clients
            .purchases_of(&identity.subject, before, limit, states)
            .await?;
        let mut found = HashMap::new();
        for purchase in told {
            let purchase = Arc::new(Purchase::try_from(purchase)?);
            found.insert(purchase.id, purchase);
        }
        let open = submission::open_of(&self.app.pool, &identity.subject, before, limit).await?;
        for submission in open {
            if found.contains_key(&submission.purchase) {
                continue;
            }
            // It may be known there in a state that was not asked for: its event is still on the way here.
            let current = match self.purchases.load_one(submission.purchase).await? {
                Some(known) => known,
                None => Arc::new(submission.pending()?),
            };
            if states.is_empty() || states.contains(&current.state) {
                found.insert(current.id, current);
            }
        }
        let mut all: Vec<_> = found.into_values().collect();
        all.sort_unstable_by_key(|purchase| std::cmp::Reverse(purchase.id));
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all)
    }

    /// Whether the purchase is the viewer's own, by its submission, or else by purchase-manager.
    pub async fn owns_purchase(&self, id: PurchaseId) -> Result<bool, Failure> {
        let owner: Option<CustomerId> = match self.submissions.load_one(id).await? {
            Some(submission) => Some(submission.customer),
            None => self
                .purchases
                .load_one(id)
                .await?
                .map(|purchase| purchase.customer.clone()),
        };
        Ok(owner.is_some_and(|owner| self.viewer.owns(&owner)))
    }

    /// What was submitted, if it is still kept.
    pub async fn submission(&self, id: PurchaseId) -> Result<Option<Submission>, Failure> {
        Ok(self.submissions.load_one(id).await?)
    }

    /// What operators see of a purchase beside what its customer sees; none for other viewers, and while purchase-manager does
    /// not know it.
    pub async fn operator_view(&self, id: PurchaseId) -> Result<Option<OperatorView>, Failure> {
        if !self.viewer.is_operator() {
            return Ok(None);
        }
        Ok(self.operator_views.load_one(id).await?)
    }

    /// The purchases that operators look for, newest first: what purchase-manager knows, and what it does not know yet. None
    /// for other viewers.
    pub async fn find_purchases(
        &self,
        search: &PurchaseSearch,
        open: Option<&OpenSearch>,
        limit: i64,
    ) -> Result<Vec<Arc<Purchase>>, Failure> {
        if !self.viewer.is_operator() {
            return Ok(Vec::new());
        }
        let mut found = HashMap::new();
        for told in self.app.clients.find_purchases(search).await? {
            let purchase = Arc::new(Purchase::try_from(told)?);
            found.insert(purchase.id, purchase);
        }
        if let Some(open) = open {
            let mut waiting = submission::find_open(&self.app.pool, open, search.before, limit).await?;
            waiting.retain(|submission| !found.contains_key(&submission.purchase));
            // What purchase-manager knows is what it says: its event is still on the way here.
            let ids: Vec<PurchaseId> = waiting.iter().map(|submission| submission.purchase).collect();
            let known = self.purchases.load_many(ids).await?;
            for submission in waiting {
                if !known.contains_key(&submission.purchase) {
                    found.insert(submission.purchase, Arc::new(submission.pending()?));
                }
            }
        }
        let mut all: Vec<_> = found.into_values().collect();
        all.sort_unstable_by_key(|purchase| std::cmp::Reverse(purchase.id));
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all)
    }

    /// How many purchases operators look for, of those that purchase-manager knows; none when there are too many to count.
    pub async fn count_purchases(&self, search: &PurchaseSearch) -> Result<Option<i64>, Failure> {
        if !self.viewer.is_operator() {
            return Ok(None);
        }
        Ok(self.app.clients.count_purchases(search).await?.total)
    }

    /// The messages of a purchase's saga, oldest first, behind `after`. None for those who are no operators.
    pub async fn saga_messages(
        &self,
        purchase: PurchaseId,
        after: Option<i64>,
        limit: i64,
    ) -> Result<Vec<SagaMessage>, Failure> {
        if !self.viewer.is_operator() {
            return Ok(Vec::new());
        }
        Ok(self.app.clients.saga_messages(purchase, after, limit).await?)
    }

    /// How to reach a customer, for operators and for themselves; none for other viewers, and while they never bought.
    pub async fn contact(&self, customer: &CustomerId) -> Result<Option<Contact>, Failure> {
        if !self.viewer.may_see(customer) {
            return Ok(None);
        }
        Ok(self.contacts.load_one(customer.clone()).await?)
    }

    /// The order of a purchase, if the viewer may see it. Orders knows whose it is, so that nobody else is needed.
    pub async fn order(&self, purchase: PurchaseId) -> Result<Option<Order>, Failure> {
        if self.viewer.identity().is_none() {
            return Ok(None);
        }
        let order = self.orders.load_one(purchase).await?;
        Ok(order.filter(|order| self.viewer.may_see(&order.customer_id)))
    }

    /// The viewer's own orders, newest first, older than `before`.
    pub async fn orders_of_viewer(&self, before: Option<OrderId>, limit: i64) -> Result<Vec<Order>, Failure> {
        let Some(identity) = self.viewer.identity() else {
            return Ok(Vec::new());
        };
        let orders = self
            .app
            .clients
            .orders_of(&identity.subject, before, limit)
            .await?;
        Ok(orders
            .into_iter()
            .filter(|order| self.viewer.owns(&order.customer_id))
            .collect())
    }

    /// The payments of a purchase that the viewer may see.
    pub async fn payments(&self, purchase: PurchaseId) -> Result<Vec<Payment>, Failure> {
        if self.viewer.identity().is_none() {
            return Ok(Vec::new());
        }
        let mut payments = self.payments.load_one(purchase).await?.unwrap_or_default();
        payments.retain(|payment| self.viewer.may_see(&payment.customer_id));
        Ok(payments)
    }

    /// A product that the viewer may see.
    pub async fn product(&self, id: ProductId) -> Result<Option<Product>, Failure> {
        Ok(self
            .products
            .load_one(id)
            .await?
            .filter(|product| self.may_see(product)))
    }

    /// Products that the viewer may see; others are absent.
    pub async fn products(&self, ids: Vec<ProductId>) -> Result<HashMap<ProductId, Product>, Failure> {
        let mut found = self.products.load_many(ids).await?;
        found.retain(|_, product| self.may_see(product));
        Ok(found)
    }

    /// The product with a stock keeping unit, if the viewer may see it.
    pub async fn product_by_sku(&self, sku: &str) -> Result<Option<Product>, Failure> {
        let found = catalogue::by_sku(&self.app.pool, sku).await?;
        Ok(found.filter(|product| self.may_see(product)))
    }

    /// Products in the order of their stock keeping units. Only operators see what is not on sale.
    pub async fn list_products(
        &self,
        mut selection: Selection,
        after: Option<&Place>,
        limit: i64,
    ) -> Result<Vec<Product>, Failure> {
        if !self.viewer.is_operator() {
            let wanted = selection
                .statuses
                .is_none_or(|all| all.contains(&ProductStatus::Active));
            selection.statuses = Some(if wanted {
                vec![ProductStatus::Active]
            } else {
                Vec::new()
            });
        }
        Ok(catalogue::list(&self.app.pool, &selection, after, limit).await?)
    }

    /// The stock of a product.
    pub async fn inventory(&self, product: ProductId) -> Result<Option<InventoryLevel>, Failure> {
        Ok(self.inventory.load_one(product).await?)
    }

    /// A product's stock movements, newest first, older than `before`.
    pub async fn movements(
        &self,
        product: ProductId,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Movement>, Failure> {
        Ok(self.app.clients.movements(product, before, limit).await?)
    }

    /// Whether the viewer may see the product.
    pub fn may_see(&self, product: &Product) -> bool {
        match product.status {
            ProductStatus::Active => true,
            ProductStatus::Draft | ProductStatus::Archived => self.viewer.is_operator(),
        }
    }
}

fn batched<L>(loader: L) -> Batched<L> {
    // The loader's own task asks for the same person.
    let spawn = |load| tokio::spawn(acting::scope(acting::current(), load));
    DataLoader::with_cache(loader, spawn, HashMapCache::default())
}
