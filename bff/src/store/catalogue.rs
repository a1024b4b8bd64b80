//! The projection of the catalogue.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use contracts::{
    ids::ProductId,
    money::{Currency, Money},
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::{
    product::Product,
    words::{Availability, ProductStatus},
};

/// Which products to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Part of the name, the stock keeping unit or the description, in any case.
    pub text: Option<String>,
    /// All when none.
    pub statuses: Option<Vec<ProductStatus>>,
    /// All when none.
    pub availabilities: Option<Vec<Availability>>,
}

/// The place of a product in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub sku: String,
    pub id: ProductId,
}

struct Row {
    product_id: Uuid,
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

impl Row {
    fn product(self) -> Result<Product, sqlx::Error> {
        let unreadable = |error: &dyn std::fmt::Display| sqlx::Error::Decode(error.to_string().into());
        let currency: Currency = self.currency.parse().map_err(|error| unreadable(&error))?;
        Ok(Product {
            id: ProductId(self.product_id),
            sku: self.sku,
            name: self.name,
            description: self.description,
            price: Money::new(self.price_minor, currency),
            status: self.status.parse().map_err(|error| unreadable(&error))?,
            availability: self.availability.parse().map_err(|error| unreadable(&error))?,
            version: self.version,
            updated_at: self.updated_at,
        })
    }
}

/// Writes what is newer than what is known. `products` hold each product once, in the order of the ids
/// ([`crate::domain::product::newest`]).
pub(crate) async fn keep_newer(
    connection: &mut PgConnection,
    products: &[Product],
) -> Result<(), sqlx::Error> {
    let text = |field: fn(&Product) -> &str| products.iter().map(|p| field(p).to_owned()).collect::<Vec<_>>();
    let ids: Vec<Uuid> = products.iter().map(|p| p.id.0).collect();
    let descriptions: Vec<Option<String>> = products.iter().map(|p| p.description.clone()).collect();
    let prices: Vec<i64> = products.iter().map(|p| p.price.minor).collect();
    let currencies: Vec<String> = products.iter().map(|p| p.price.currency.to_string()).collect();
    let versions: Vec<i32> = products.iter().map(|p| p.version).collect();
    let updated: Vec<DateTime<Utc>> = products.iter().map(|p| p.updated_at).collect();
    sqlx::query!(
        "insert into catalogue_product as known
             (product_id, sku, name, description, price_minor, currency, status, availability, version, updated_at)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                              $8::text[], $9::integer[], $10::timestamptz[])
         on conflict (product_id) do update
         set sku = excluded.sku, name = excluded.name, description = excluded.description,
             price_minor = excluded.price_minor, currency = excluded.currency, status = excluded.status,
             availability = excluded.availability, version = excluded.version, updated_at = excluded.updated_at
         where known.version < excluded.version",
        &ids,
        &text(|p| &p.sku),
        &text(|p| &p.name),
        &descriptions as &[Option<String>],
        &prices,
        &currencies,
        &text(|p| p.status.as_str()),
        &text(|p| p.availability.as_str()),
        &versions,
        &updated,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The products with these ids; unknown ones are absent.
pub(crate) async fn by_ids(
    pool: &PgPool,
    ids: &[ProductId],
) -> Result<HashMap<ProductId, Product>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        "select product_id, sku, name, description, price_minor, currency, status, availability, version, updated_at
         from catalogue_product where product_id = any($1)",
        &ids
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| row.product().map(|product| (product.id, product)))
        .collect()
}

/// The product with this stock keeping unit, in any case; the newest, should a change of two have arrived by half.
pub(crate) async fn by_sku(pool: &PgPool, sku: &str) -> Result<Option<Product>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "select product_id, sku, name, description, price_minor, currency, status, availability, version, updated_at
         from catalogue_product where lower(sku) = lower($1) order by updated_at desc limit 1",
        sku
    )
    .fetch_optional(pool)
    .await?;
    row.map(Row::product).transpose()
}

/// `limit` products after a place, in the order of their stock keeping units.
pub(crate) async fn list(
    pool: &PgPool,
    selection: &Selection,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<Product>, sqlx::Error> {
    let statuses: Option<Vec<String>> = selection
        .statuses
        .as_ref()
        .map(|all| all.iter().map(|s| s.as_str().to_owned()).collect());
    let availabilities: Option<Vec<String>> = selection
        .availabilities
        .as_ref()
        .map(|all| all.iter().map(|a| a.as_str().to_owned()).collect());
    let rows = sqlx::query_as!(
        Row,
        "select product_id, sku, name, description, price_minor, currency, status, availability, version, updated_at
         from catalogue_product
         where ($1::text is null
                or position(lower($1) in lower(concat_ws(' ', sku, name, description))) > 0)
           and ($2::text[] is null or status = any($2))
           and ($3::text[] is null or availability = any($3))
           and ($4::text is null or (sku, product_id) > ($4, $5::uuid))
         order by sku, product_id
         limit $6",
        selection.text.as_deref(),
        statuses.as_deref(),
        availabilities.as_deref(),
        after.map(|place| place.sku.as_str()),
        after.map(|place| place.id.0),
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::product).collect()
}
