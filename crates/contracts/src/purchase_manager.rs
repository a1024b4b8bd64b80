//! What purchase-manager is told and what it tells: start, and every visible change.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{CustomerId, ProductId, PurchaseId},
    message::messages,
    money::Currency,
};

/// Starts the saga of a purchase that the edge has accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmitPurchase {
    pub purchase_id: PurchaseId,
    pub customer_id: CustomerId,
    pub reference: String,
    pub lines: Vec<PurchaseLine>,
    pub currency: Currency,
    pub total_minor: i64,
    pub payment_method_token: String,
    pub home_delivery: bool,
    pub note: Option<String>,
    /// Microseconds since 1970 in UTC.
    pub submitted_at: i64,
}

/// One product of a purchase, as it was priced when it was submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PurchaseLine {
    pub product_id: ProductId,
    pub sku: String,
    pub name: String,
    pub quantity: i32,
    pub unit_price_minor: i64,
}

/// The whole customer-visible state of a purchase. A hint: the saga table is the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PurchaseUpdated {
    pub purchase_id: PurchaseId,
    pub customer_id: CustomerId,
    pub reference: String,
    /// Grows by one with every visible change; drop what is not newer.
    pub version: i32,
    /// `PENDING`, `RUNNING`, `COMPLETED`, `COMPENSATING`, `CANCELLED`, `REJECTED` or `STUCK`.
    pub state: String,
    pub lines: Vec<PurchaseLine>,
    pub currency: Currency,
    pub total_minor: i64,
    pub home_delivery: bool,
    pub steps: Vec<PurchaseStepView>,
    pub failure: Option<PurchaseFailureView>,
    /// Microseconds since 1970 in UTC.
    pub created_at: i64,
    /// Microseconds since 1970 in UTC.
    pub updated_at: i64,
}

/// One step of the saga as a customer may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PurchaseStepView {
    pub name: String,
    pub participant: String,
    /// `FORWARD` or `COMPENSATION`.
    pub direction: String,
    /// `PENDING`, `RUNNING`, `SUCCEEDED`, `RETRYING`, `FAILED` or `SKIPPED`.
    pub state: String,
    pub attempt: i32,
    pub max_attempts: i32,
    /// Microseconds since 1970 in UTC, as are the two below.
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub next_retry_at: Option<i64>,
}

/// Why a purchase was rejected or cancelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PurchaseFailureView {
    /// A `UserErrorCode` of the GraphQL schema.
    pub code: String,
    /// In words that a shopper understands.
    pub message: String,
    /// The step that said no.
    pub step: Option<String>,
}

/// Answer to a command whose rollback had already arrived: nothing was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandSuperseded {
    pub purchase_id: PurchaseId,
}

messages!(
    "purchase-manager",
    "belay.purchase_manager",
    SubmitPurchase,
    PurchaseUpdated,
    CommandSuperseded,
);
