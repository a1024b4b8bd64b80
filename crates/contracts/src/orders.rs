//! What orders is asked and what it answers: place an order once, or withdraw it.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{CustomerId, OrderId, ProductId, PurchaseId},
    message::messages,
    money::Currency,
};

/// Place the order. After this there is no way back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateOrder {
    pub purchase_id: PurchaseId,
    pub customer_id: CustomerId,
    pub currency: Currency,
    pub total_minor: i64,
    pub home_delivery: bool,
    pub lines: Vec<OrderLine>,
}

/// One product of the order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderLine {
    pub product_id: ProductId,
    pub sku: String,
    pub name: String,
    pub quantity: i32,
    pub unit_price_minor: i64,
}

/// The order is placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderCreated {
    pub purchase_id: PurchaseId,
    pub order_id: OrderId,
    /// The order's number for people.
    pub number: String,
}

/// The order cannot be placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderRejected {
    pub purchase_id: PurchaseId,
    /// In words that a shopper understands.
    pub reason: String,
}

/// Withdraw the order, if there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CancelOrder {
    pub purchase_id: PurchaseId,
}

/// There is no live order for the purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderCancelled {
    pub purchase_id: PurchaseId,
}

messages!(
    "orders",
    "belay.orders",
    CreateOrder,
    OrderCreated,
    OrderRejected,
    CancelOrder,
    OrderCancelled
);
