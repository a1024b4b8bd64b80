//! The one query of the consolidator.

use std::collections::HashMap;

use contracts::{ids::ProductId, money::NotACurrency};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::{Offer, Sale};

/// Reads the offers for those of `products` that exist. Takes no lock.
///
/// The only statement of the system that names another service's schema: the view is made for it.
///
/// # Errors
/// The database's errors.
pub async fn offers(
    connection: &mut PgConnection,
    products: &[ProductId],
) -> Result<HashMap<ProductId, Offer>, sqlx::Error> {
    let ids: Vec<Uuid> = products.iter().map(|product| product.0).collect();
    // A view's columns count as nullable; those behind this one are not.
    let rows = sqlx::query!(
        r#"select id as "id!", price_minor as "price_minor!", currency as "currency!",
                  status = 'ACTIVE' as "open!", available as "available!"
           from product_admin.product_for_validation where id = any($1)"#,
        &ids
    )
    .fetch_all(connection)
    .await?;
    let mut offers = HashMap::with_capacity(rows.len());
    for row in rows {
        let sale = if row.open { Sale::Open } else { Sale::Closed };
        let currency = row.currency.parse().map_err(unreadable)?;
        let offer = Offer {
            sale,
            price_minor: row.price_minor,
            currency,
            available: row.available,
        };
        offers.insert(ProductId(row.id), offer);
    }
    Ok(offers)
}

fn unreadable(error: NotACurrency) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
