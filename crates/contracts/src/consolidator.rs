//! What the consolidator is asked and what it answers: is this purchase possible at these prices?

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ProductId, PurchaseId},
    message::messages,
    money::Currency,
};

/// Is everything sellable, at these prices, in these quantities?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidateInventory {
    pub purchase_id: PurchaseId,
    pub currency: Currency,
    pub lines: Vec<ValidateLine>,
}

/// One product to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidateLine {
    pub product_id: ProductId,
    pub quantity: i32,
    pub unit_price_minor: i64,
}

/// Everything can be sold as asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InventoryValidated {
    pub purchase_id: PurchaseId,
}

/// Some products are missing or short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InventoryRejected {
    pub purchase_id: PurchaseId,
    pub shortages: Vec<Shortage>,
}

/// A product of which there is too little; `available` is 0 for an unknown or inactive one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shortage {
    pub product_id: ProductId,
    pub requested: i32,
    pub available: i32,
}

/// Some prices are not the ones that the customer saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceChanged {
    pub purchase_id: PurchaseId,
    pub changes: Vec<PriceChange>,
}

/// A product whose price moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriceChange {
    pub product_id: ProductId,
    pub expected_minor: i64,
    pub actual_minor: i64,
    pub currency: Currency,
}

/// Forget the validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CancelValidation {
    pub purchase_id: PurchaseId,
}

/// Nothing of the validation is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationCancelled {
    pub purchase_id: PurchaseId,
}

messages!(
    "consolidator",
    "belay.consolidator",
    ValidateInventory,
    InventoryValidated,
    InventoryRejected,
    PriceChanged,
    CancelValidation,
    ValidationCancelled,
);
