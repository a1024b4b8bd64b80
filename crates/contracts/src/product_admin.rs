//! What product-admin is asked and what it answers: hold, sell and give back stock. And what it asks: whether what it holds is still wanted.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ProductId, PurchaseId},
    message::messages,
    money::Currency,
};

/// Hold these units for the purchase: all of them or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReserveProducts {
    pub purchase_id: PurchaseId,
    pub lines: Vec<ReserveLine>,
}

/// One product to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReserveLine {
    pub product_id: ProductId,
    pub quantity: i32,
}

/// Every unit is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProductsReserved {
    pub purchase_id: PurchaseId,
}

/// Nothing is held, because some products are short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReservationRejected {
    pub purchase_id: PurchaseId,
    pub shortages: Vec<ReservationShortage>,
}

/// A product of which there is too little; `available` is 0 for an unknown or inactive one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReservationShortage {
    pub product_id: ProductId,
    pub requested: i32,
    pub available: i32,
}

/// Give the held units back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseProducts {
    pub purchase_id: PurchaseId,
}

/// Nothing is held for the purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProductsReleased {
    pub purchase_id: PurchaseId,
}

/// The order stands: the held units are sold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfirmReservation {
    pub purchase_id: PurchaseId,
}

/// The held units are sold and wait to be dispatched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReservationConfirmed {
    pub purchase_id: PurchaseId,
}

/// Units are held for the purchase for longer than they should be: are they still wanted? Nothing is given back by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReservationExpired {
    pub purchase_id: PurchaseId,
    /// Microseconds since 1970 in UTC, by the clock of product-admin's database.
    pub expired_at: i64,
    /// How often this was asked, this time included.
    pub asked: i32,
}

/// The product as the catalogue shows it. A hint: the product table is the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProductChanged {
    pub product_id: ProductId,
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    pub price_minor: i64,
    pub currency: Currency,
    /// `DRAFT`, `ACTIVE` or `ARCHIVED`.
    pub status: String,
    /// `IN_STOCK`, `LOW_STOCK` or `OUT_OF_STOCK`.
    pub availability: String,
    pub version: i32,
    /// Microseconds since 1970 in UTC.
    pub updated_at: i64,
}

messages!(
    "product-admin",
    "belay.product_admin",
    ReserveProducts,
    ProductsReserved,
    ReservationRejected,
    ReleaseProducts,
    ProductsReleased,
    ConfirmReservation,
    ReservationConfirmed,
    ReservationExpired,
    ProductChanged,
);
