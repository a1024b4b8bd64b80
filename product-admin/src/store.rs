//! All SQL of product-admin.
//!
//! | module | for |
//! |---|---|
//! | [`stock`] | commands of purchases: a batch's products and reservations |
//! | [`expiry`] | reservations that have passed their time |
//! | [`products`] | staff and the edge: products, levels, movements |
//!
//! No statement changes `on_hand`, `reserved` or a reservation's state without the product's row lock, which is taken in id
//! order; so two transactions can neither oversell nor wait for each other in a circle.

pub mod expiry;
pub mod products;
pub mod stock;

use chrono::{DateTime, Utc};
use contracts::{ids::ProductId, product_admin::ProductChanged};
use uuid::Uuid;

/// A product's row as the catalogue shows it.
struct ProductRow {
    id: Uuid,
    sku: String,
    name: String,
    description: Option<String>,
    price_minor: i64,
    currency: String,
    status: String,
    availability: String,
    version: i32,
    updated_at: DateTime<Utc>,
}

impl ProductRow {
    fn document(self) -> Result<ProductChanged, sqlx::Error> {
        Ok(ProductChanged {
            product_id: ProductId(self.id),
            sku: self.sku,
            name: self.name,
            description: self.description,
            price_minor: self.price_minor,
            currency: self.currency.parse().map_err(unreadable)?,
            status: self.status,
            availability: self.availability,
            version: self.version,
            updated_at: self.updated_at.timestamp_micros(),
        })
    }
}

/// A stored word that this program does not know: it was written by a newer one.
fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
