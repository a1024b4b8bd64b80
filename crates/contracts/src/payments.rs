//! What payments is asked and what it answers: hold, take and let go of money.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{CustomerId, PaymentId, PurchaseId},
    message::messages,
    money::Currency,
};

/// Hold the amount on the customer's payment method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuthorizePayment {
    pub purchase_id: PurchaseId,
    pub customer_id: CustomerId,
    pub amount_minor: i64,
    pub currency: Currency,
    pub method_token: String,
}

/// The amount is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaymentAuthorized {
    pub purchase_id: PurchaseId,
    pub payment_id: PaymentId,
}

/// The amount is not held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaymentDeclined {
    pub purchase_id: PurchaseId,
    pub payment_id: PaymentId,
    /// In words that a shopper understands.
    pub reason: String,
}

/// Let go of the amount; give it back when it was captured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoidPayment {
    pub purchase_id: PurchaseId,
}

/// Nothing is held or taken for the purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaymentVoided {
    pub purchase_id: PurchaseId,
}

/// The order stands: take the held amount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapturePayment {
    pub purchase_id: PurchaseId,
}

/// The amount is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaymentCaptured {
    pub purchase_id: PurchaseId,
    pub payment_id: PaymentId,
}

messages!(
    "payments",
    "belay.payments",
    AuthorizePayment,
    PaymentAuthorized,
    PaymentDeclined,
    VoidPayment,
    PaymentVoided,
    CapturePayment,
    PaymentCaptured,
);
