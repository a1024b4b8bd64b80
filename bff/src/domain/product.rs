//! A product as the catalogue shows it.

use chrono::{DateTime, Utc};
use contracts::{ids::ProductId, money::Money, product_admin::ProductChanged};

use super::{
    NotUnderstood, time,
    words::{Availability, ProductStatus},
};

/// A product as product-admin last told it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Product {
    pub id: ProductId,
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    pub price: Money,
    pub status: ProductStatus,
    pub availability: Availability,
    /// Grows with every change.
    pub version: i32,
    pub updated_at: DateTime<Utc>,
}

impl TryFrom<ProductChanged> for Product {
    type Error = NotUnderstood;
    fn try_from(told: ProductChanged) -> Result<Self, Self::Error> {
        Ok(Self {
            id: told.product_id,
            sku: told.sku,
            name: told.name,
            description: told.description,
            price: Money::new(told.price_minor, told.currency),
            status: told.status.parse()?,
            availability: told.availability.parse()?,
            version: told.version,
            updated_at: time(told.updated_at)?,
        })
    }
}

/// The newest version of each product, in the order of their ids: one write per product, and two writers that meet lock
/// in the same order.
pub(crate) fn newest(products: impl IntoIterator<Item = Product>) -> Vec<Product> {
    let mut newest = std::collections::BTreeMap::new();
    for product in products {
        match newest.entry(product.id) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(product);
            }
            std::collections::btree_map::Entry::Occupied(mut known) => {
                if known.get().version < product.version {
                    known.insert(product);
                }
            }
        }
    }
    newest.into_values().collect()
}
