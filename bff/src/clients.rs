//! The other services, over HTTP.
//!
//! Every call ends within a limit (`service.rs`). A read of many things is tried once more when the first try failed quickly; a
//! write is not, because its caller holds the idempotency key and may. Who is away blanks its own fields, nothing else.

mod service;

use contracts::{
    http::{
        AdjustInventory, CancelPurchase, Cancelled, CreateProduct, Inventory, InventoryLevel, Movement,
        Movements, Order, Orders, Payment, Payments, ProductWritten, Products, Purchases, Restock,
        UpdateProduct,
    },
    ids::{CustomerId, OrderId, ProductId, PurchaseId},
    operator::{
        Counted, OperatorView, OperatorViews, PurchaseSearch, SagaActed, SagaAction, SagaMessage,
        SagaMessages,
    },
    parked::{ParkedMessage, ParkedPage, SettleParked, SettledParked},
    product_admin::ProductChanged,
    purchase_manager::PurchaseUpdated,
    report::ServiceReport,
};
use host::identity::Identity;
use reqwest::Url;
use uuid::Uuid;

use self::service::Service;
use crate::domain::{Refusal, words::PurchaseState};

pub(crate) use self::service::ServiceError;

/// How to reach the services. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    purchase_manager: Service,
    product_admin: Service,
    orders: Service,
    payments: Service,
    /// Whoever may have parked messages, besides the edge itself.
    parking: Vec<Service>,
}

/// Where the services are.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub purchase_manager: Url,
    pub product_admin: Url,
    pub orders: Url,
    pub payments: Url,
    /// Asked for their parked messages alone.
    pub consolidator: Option<Url>,
    pub notifications: Option<Url>,
}

impl Clients {
    /// Clients for these addresses, who ask in the name of `identity`.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(addresses: Addresses, identity: &Identity) -> anyhow::Result<Self> {
        let http = service::http_client()?;
        let service = |name, base| Service::new(&http, name, base, identity);
        let parking = [
            ("purchase-manager", Some(addresses.purchase_manager.clone())),
            ("product-admin", Some(addresses.product_admin.clone())),
            ("orders", Some(addresses.orders.clone())),
            ("payments", Some(addresses.payments.clone())),
            ("consolidator", addresses.consolidator),
            ("notifications", addresses.notifications),
        ];
        let parking = parking
            .into_iter()
            .filter_map(|(name, base)| Some(service(name, base?)));
        Ok(Self {
            parking: parking.collect(),
            purchase_manager: service("purchase-manager", addresses.purchase_manager),
            product_admin: service("product-admin", addresses.product_admin),
            orders: service("orders", addresses.orders),
            payments: service("payments", addresses.payments),
        })
    }

    /// The purchases with these ids, at most [`contracts::http::MAX_IDS`].
    pub async fn purchases(&self, ids: &[PurchaseId]) -> Result<Vec<PurchaseUpdated>, ServiceError> {
        let found: Purchases = self
            .purchase_manager
            .read(&["purchases"], &[("ids", list(ids))])
            .await?;
        Ok(found.purchases)
    }

    /// A customer's purchases, newest first, older than `before`.
    pub async fn purchases_of(
        &self,
        customer: &CustomerId,
        before: Option<PurchaseId>,
        limit: i64,
        states: &[PurchaseState],
    ) -> Result<Vec<PurchaseUpdated>, ServiceError> {
        let mut query = vec![("customer", customer.0.clone()), ("limit", limit.to_string())];
        query.extend(before.map(|id| ("before", id.to_string())));
        if !states.is_empty() {
            query.push(("states", list(states.iter().map(|state| state.as_str()))));
        }
        let found: Purchases = self.purchase_manager.read(&["purchases"], &query).await?;
        Ok(found.purchases)
    }

    /// Asks for a purchase to be taken back.
    pub async fn cancel(
        &self,
        purchase: PurchaseId,
        request: &CancelPurchase,
    ) -> Result<Result<Cancelled, Vec<Refusal>>, ServiceError> {
        self.purchase_manager
            .write(&["purchases", &purchase.to_string(), "cancel"], request)
            .await
    }

    /// What operators see of these purchases.
    pub async fn operator_views(&self, ids: &[PurchaseId]) -> Result<Vec<OperatorView>, ServiceError> {
        let path = ["operator", "purchases"];
        let found: OperatorViews = self.purchase_manager.read(&path, &[("ids", list(ids))]).await?;
        Ok(found.purchases)
    }

    /// The purchases looked for, newest first.
    pub async fn find_purchases(
        &self,
        search: &PurchaseSearch,
    ) -> Result<Vec<PurchaseUpdated>, ServiceError> {
        let path = ["operator", "search"];
        let found: Purchases = self.purchase_manager.read(&path, &search_query(search)).await?;
        Ok(found.purchases)
    }

    /// How many purchases are looked for.
    pub async fn count_purchases(&self, search: &PurchaseSearch) -> Result<Counted, ServiceError> {
        let path = ["operator", "count"];
        self.purchase_manager.read(&path, &search_query(search)).await
    }

    /// The messages of a purchase's saga, oldest first, behind `after`.
    pub async fn saga_messages(
        &self,
        purchase: PurchaseId,
        after: Option<i64>,
        limit: i64,
    ) -> Result<Vec<SagaMessage>, ServiceError> {
        let path = ["operator", "purchases", &purchase.to_string(), "messages"];
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.map(|place| ("after", place.to_string())));
        let found: SagaMessages = self.purchase_manager.read(&path, &query).await?;
        Ok(found.messages)
    }

    /// Has an operator's `verb` carried out on a purchase: `retry`, `compensate` or `resolve`.
    pub async fn act(
        &self,
        purchase: PurchaseId,
        verb: &str,
        action: &SagaAction,
    ) -> Result<Result<SagaActed, Vec<Refusal>>, ServiceError> {
        let path = ["purchases", &purchase.to_string(), verb];
        self.purchase_manager.write(&path, action).await
    }

    /// The services that may have parked messages.
    pub fn parking(&self) -> impl Iterator<Item = &'static str> {
        self.parking.iter().map(|service| service.name)
    }

    fn parker(&self, name: &str) -> Option<&Service> {
        self.parking.iter().find(|service| service.name == name)
    }

    /// What a service tells of itself; none when it is none of ours.
    pub async fn report(&self, name: &str) -> Result<Option<ServiceReport>, ServiceError> {
        match self.parker(name) {
            Some(service) => service.read(&["report"], &[]).await.map(Some),
            None => Ok(None),
        }
    }

    /// A page of a service's parked messages. `query` is that of `contracts::parked`.
    pub async fn parked(&self, name: &str, query: &[(&str, String)]) -> Result<ParkedPage, ServiceError> {
        match self.parker(name) {
            Some(service) => service.read(&["parked"], query).await,
            None => Ok(ParkedPage {
                parked: Vec::new(),
                more: false,
            }),
        }
    }

    /// One parked message with its content; none when the service has no such message.
    pub async fn parked_message(&self, name: &str, id: Uuid) -> Result<Option<ParkedMessage>, ServiceError> {
        let Some(service) = self.parker(name) else {
            return Ok(None);
        };
        service.find(&["parked", &id.to_string()]).await
    }

    /// Settles parked messages: `verb` is `replay` or `discard`.
    pub async fn settle_parked(
        &self,
        name: &str,
        verb: &str,
        request: &SettleParked,
    ) -> Result<Result<SettledParked, Vec<Refusal>>, ServiceError> {
        match self.parker(name) {
            Some(service) => service.write(&["parked", verb], request).await,
            None => Ok(Ok(SettledParked { settled: Vec::new() })),
        }
    }

    /// The orders of these purchases.
    pub async fn orders(&self, purchases: &[PurchaseId]) -> Result<Vec<Order>, ServiceError> {
        let found: Orders = self
            .orders
            .read(&["orders"], &[("purchases", list(purchases))])
            .await?;
        Ok(found.orders)
    }

    /// A customer's orders, newest first, older than `before`.
    pub async fn orders_of(
        &self,
        customer: &CustomerId,
        before: Option<OrderId>,
        limit: i64,
    ) -> Result<Vec<Order>, ServiceError> {
        let mut query = vec![("customer", customer.0.clone()), ("limit", limit.to_string())];
        query.extend(before.map(|id| ("before", id.to_string())));
        let found: Orders = self.orders.read(&["orders"], &query).await?;
        Ok(found.orders)
    }

    /// The payments of these purchases.
    pub async fn payments(&self, purchases: &[PurchaseId]) -> Result<Vec<Payment>, ServiceError> {
        let found: Payments = self
            .payments
            .read(&["payments"], &[("purchases", list(purchases))])
            .await?;
        Ok(found.payments)
    }

    /// The stock of these products.
    pub async fn inventory(&self, products: &[ProductId]) -> Result<Vec<InventoryLevel>, ServiceError> {
        let found: Inventory = self
            .product_admin
            .read(&["inventory"], &[("products", list(products))])
            .await?;
        Ok(found.inventory)
    }

    /// A page of the product table in the order of change.
    pub async fn product_changes(
        &self,
        since_micros: i64,
        after: Option<ProductId>,
        limit: i64,
    ) -> Result<Vec<ProductChanged>, ServiceError> {
        let mut query = vec![("since", since_micros.to_string()), ("limit", limit.to_string())];
        query.extend(after.map(|id| ("after", id.to_string())));
        let found: Products = self.product_admin.read(&["products", "changes"], &query).await?;
        Ok(found.products)
    }

    /// A product's stock movements, newest first, older than `before`.
    pub async fn movements(
        &self,
        product: ProductId,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Movement>, ServiceError> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(before.map(|id| ("before", id.to_string())));
        let path = ["products", &product.to_string(), "movements"];
        let found: Movements = self.product_admin.read(&path, &query).await?;
        Ok(found.movements)
    }

    /// Makes a product.
    pub async fn create_product(
        &self,
        request: &CreateProduct,
    ) -> Result<Result<ProductWritten, Vec<Refusal>>, ServiceError> {
        self.product_admin.write(&["products"], request).await
    }

    /// Adds units of a product.
    pub async fn restock(
        &self,
        product: ProductId,
        request: &Restock,
    ) -> Result<Result<ProductWritten, Vec<Refusal>>, ServiceError> {
        self.product_admin
            .write(&["products", &product.to_string(), "restock"], request)
            .await
    }

    /// Changes a product's words, price or status.
    pub async fn update_product(
        &self,
        product: ProductId,
        request: &UpdateProduct,
    ) -> Result<Result<ProductWritten, Vec<Refusal>>, ServiceError> {
        let path = ["products", &product.to_string(), "update"];
        self.product_admin.write(&path, request).await
    }

    /// Corrects the stock of a product.
    pub async fn adjust_inventory(
        &self,
        product: ProductId,
        request: &AdjustInventory,
    ) -> Result<Result<ProductWritten, Vec<Refusal>>, ServiceError> {
        let path = ["products", &product.to_string(), "adjust"];
        self.product_admin.write(&path, request).await
    }
}

/// A search as a query has it.
fn search_query(search: &PurchaseSearch) -> Vec<(&'static str, String)> {
    let PurchaseSearch {
        states,
        step,
        customer,
        reference,
        sku,
        created_after,
        created_before,
        stuck_for_seconds,
        before,
        limit,
    } = search;
    let text = [
        ("states", states.clone()),
        ("step", step.clone()),
        ("customer", customer.as_ref().map(|customer| customer.0.clone())),
        ("reference", reference.clone()),
        ("sku", sku.clone()),
        ("created_after", created_after.map(|at| at.to_string())),
        ("created_before", created_before.map(|at| at.to_string())),
        (
            "stuck_for_seconds",
            stuck_for_seconds.map(|seconds| seconds.to_string()),
        ),
        ("before", before.map(|id| id.to_string())),
        ("limit", limit.map(|limit| limit.to_string())),
    ];
    text.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(",")
}
