//! What the services answer each other over HTTP: reads that the edge puts together, and writes with an idempotency key.
//!
//! Purchases are answered as [`crate::purchase_manager::PurchaseUpdated`] and products as
//! [`crate::product_admin::ProductChanged`]: the event and the read are the same document.
//!
//! | service | request | answer |
//! |---|---|---|
//! | purchase-manager | `GET /purchases?ids=a,b` | [`Purchases`]; unknown ids are absent |
//! | purchase-manager | `GET /purchases?customer=S&before=ID&limit=N&states=A,B` | [`Purchases`], newest first |
//! | purchase-manager | `POST /purchases/{id}/cancel` with [`CancelPurchase`] | [`Cancelled`] or 422 [`Refused`] |
//! | purchase-manager | `GET /purchases/ended?since=MICROS&after=ID&limit=N` | [`Purchases`] that have ended, with `updated_at >= since`, by time and id |
//! | bff, on its internal address | `POST /contacts` with [`ContactsWanted`] | [`Contacts`]; unknown customers are absent |
//! | orders | `GET /orders?purchases=a,b` | [`Orders`] |
//! | orders | `GET /orders?customer=S&before=ORDER_ID&limit=N` | [`Orders`], newest first |
//! | payments | `GET /payments?purchases=a,b` | [`Payments`] |
//! | product-admin | `GET /products/changes?since=MICROS&after=ID&limit=N` | [`Products`] with `updated_at >= since`, by time and id |
//! | product-admin | `GET /inventory?products=a,b` | [`Inventory`] |
//! | product-admin | `GET /products/{id}/movements?before=ID&limit=N` | [`Movements`], newest first |
//! | product-admin | `POST /products` with [`CreateProduct`] | [`ProductWritten`] or 422 [`Refused`] |
//! | product-admin | `POST /products/{id}/restock` with [`Restock`] | [`ProductWritten`] or 422 [`Refused`] |
//! | product-admin | `POST /products/{id}/update` with [`UpdateProduct`] | [`ProductWritten`] or 422 [`Refused`] |
//! | product-admin | `POST /products/{id}/adjust` with [`AdjustInventory`] | [`ProductWritten`] or 422 [`Refused`] |
//!
//! Any other status is a fault: 400 a malformed request (text), 503 a part that is away.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ids::{CustomerId, OrderId, PaymentId, ProductId, PurchaseId},
    money::{Currency, Money},
    product_admin::ProductChanged,
    purchase_manager::PurchaseUpdated,
};

/// Ids in one read at most; more is answered 400.
pub const MAX_IDS: usize = 200;
/// Rows of one page at most; a larger `limit` is cut to it.
pub const MAX_PAGE: i64 = 200;

/// Answer to a read of purchases.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Purchases {
    pub purchases: Vec<PurchaseUpdated>,
}

/// Whose contacts are asked for: at most [`MAX_IDS`]. In a body, because what names people does not belong in a URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContactsWanted {
    pub customers: Vec<CustomerId>,
}

/// Answer to a read of contacts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contacts {
    pub contacts: Vec<Contact>,
}

/// How to reach a customer, as their last token said. Personal data: not for topics, logs or other tables.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    pub customer_id: CustomerId,
    pub name: Option<String>,
    pub email: Option<String>,
}

impl std::fmt::Debug for Contact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What can be written to a log some day will be.
        f.debug_struct("Contact").finish_non_exhaustive()
    }
}

/// The customer wants out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CancelPurchase {
    pub idempotency_key: Uuid,
    /// Only this customer's purchase is cancelled; another's answers `NOT_FOUND`.
    pub customer_id: CustomerId,
    pub reason: Option<String>,
}

/// The purchase turns back. `purchase` is none when its submission has not arrived yet: it will be met by the cancellation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cancelled {
    pub purchase: Option<PurchaseUpdated>,
    /// The effects, in words.
    pub effects: Vec<String>,
}

/// Answer to a read of orders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    pub orders: Vec<Order>,
}

/// One order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub order_id: OrderId,
    pub purchase_id: PurchaseId,
    pub customer_id: CustomerId,
    /// The order's number for people.
    pub number: String,
    /// `PLACED`, `DISPATCHED` or `CANCELLED`.
    pub state: String,
    pub total_minor: i64,
    pub currency: Currency,
    /// Microseconds since 1970 in UTC.
    pub placed_at: i64,
}

/// Answer to a read of payments.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payments {
    pub payments: Vec<Payment>,
}

/// One attempt to take money for a purchase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payment {
    pub payment_id: PaymentId,
    pub purchase_id: PurchaseId,
    pub customer_id: CustomerId,
    /// `AUTHORIZED`, `CAPTURED`, `DECLINED`, `VOIDED` or `REFUNDED`.
    pub state: String,
    pub amount_minor: i64,
    pub currency: Currency,
    /// The payment method as its owner knows it.
    pub method_label: String,
    /// In words that a shopper understands.
    pub decline_message: Option<String>,
    /// Microseconds since 1970 in UTC.
    pub updated_at: i64,
}

/// A page of the product table in the order of change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Products {
    pub products: Vec<ProductChanged>,
}

/// Answer to a read of stock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inventory {
    pub inventory: Vec<InventoryLevel>,
}

/// The stock of one product.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InventoryLevel {
    pub product_id: ProductId,
    pub on_hand: i32,
    pub reserved: i32,
    pub available: i32,
    pub version: i32,
    /// Microseconds since 1970 in UTC.
    pub updated_at: i64,
}

/// Stock movements, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Movements {
    pub movements: Vec<Movement>,
}

/// One change of the stock on hand.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Movement {
    pub movement_id: Uuid,
    pub delta: i32,
    pub reason: String,
    pub actor: String,
    pub purchase_id: Option<PurchaseId>,
    /// Microseconds since 1970 in UTC.
    pub at: i64,
}

/// A new product.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreateProduct {
    pub idempotency_key: Uuid,
    /// Subject of the token of who does it.
    pub actor: String,
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    pub price_minor: i64,
    pub currency: Currency,
    pub initial_stock: i32,
}

/// More units of a product.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Restock {
    pub idempotency_key: Uuid,
    /// Subject of the token of who does it.
    pub actor: String,
    pub quantity: i32,
    pub reason: String,
}

/// Other words, another price or another status for a product. What is none stays as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpdateProduct {
    pub idempotency_key: Uuid,
    /// Subject of the token of who does it.
    pub actor: String,
    /// The product's `version` that was looked at; another one is refused with `VERSION_CONFLICT`.
    pub expected_version: Option<i32>,
    pub name: Option<String>,
    /// An empty one takes the description away.
    pub description: Option<String>,
    pub price: Option<Money>,
    /// `DRAFT`, `ACTIVE` or `ARCHIVED`.
    pub status: Option<String>,
}

/// A correction of the stock on hand: what was counted is not what the books say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdjustInventory {
    pub idempotency_key: Uuid,
    /// Subject of the token of who does it.
    pub actor: String,
    /// Units to add, or below zero to take away; not zero.
    pub delta: i32,
    /// The stock's `version` that was looked at; another one is refused with `VERSION_CONFLICT`.
    pub expected_version: i32,
    pub reason: String,
}

/// The product after a write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProductWritten {
    pub product: ProductChanged,
}

/// The business says no (status 422).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub errors: Vec<Refusal>,
}

/// One reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A `UserErrorCode` of the GraphQL schema.
    pub code: String,
    pub message: String,
    /// The path to the input field, if one is to blame.
    pub field: Option<Vec<String>>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}
