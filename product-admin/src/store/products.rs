//! Products, levels and movements, for staff and for the edge.

use chrono::{DateTime, Utc};
use contracts::{
    http::{InventoryLevel, Movement},
    ids::{ProductId, PurchaseId},
    product_admin::ProductChanged,
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{ProductRow, unreadable};
use crate::domain::{
    level::{Availability, Level},
    product::NewProduct,
};

/// Why a product could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// Another product has the SKU.
    #[error("the SKU is taken")]
    DuplicateSku,
    /// The database's error.
    #[error("the product cannot be written")]
    Database(#[from] sqlx::Error),
}

/// Products that changed at `since` or later, by time and id; with `after`, only those behind that place.
///
/// A transaction that began before one already read may commit after it, so a reader begins a little before where it
/// left off and drops what is not newer by `version`.
///
/// # Errors
/// The database's errors.
pub async fn changes(
    pool: &PgPool,
    since: DateTime<Utc>,
    after: Option<ProductId>,
    limit: i64,
) -> Result<Vec<ProductChanged>, sqlx::Error> {
    let rows = sqlx::query_as!(
        ProductRow,
        "select id, sku, name, description, price_minor, currency, status, availability, version, updated_at
         from product
         where updated_at >= $1 and ($2::uuid is null or (updated_at, id) > ($1, $2))
         order by updated_at, id limit $3",
        since,
        after.map(|product| product.0),
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(ProductRow::document).collect()
}

/// The stock of those of `products` that exist.
///
/// # Errors
/// The database's errors.
pub async fn inventory(pool: &PgPool, products: &[ProductId]) -> Result<Vec<InventoryLevel>, sqlx::Error> {
    let ids: Vec<Uuid> = products.iter().map(|p| p.0).collect();
    let rows = sqlx::query!(
        "select id, on_hand, reserved, stock_version, stock_updated_at from product where id = any($1) order by id",
        &ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| InventoryLevel {
            product_id: ProductId(row.id),
            on_hand: row.on_hand,
            reserved: row.reserved,
            available: row.on_hand - row.reserved,
            version: row.stock_version,
            updated_at: row.stock_updated_at.timestamp_micros(),
        })
        .collect())
}

/// The movements of a product, newest first; with `before`, only older ones than that.
///
/// # Errors
/// The database's errors.
pub async fn movements(
    pool: &PgPool,
    product: ProductId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Movement>, sqlx::Error> {
    let rows = sqlx::query!(
        "select id, delta, reason, actor, purchase_id, at from stock_movement
         where product_id = $1 and ($2::uuid is null or id < $2)
         order by id desc limit $3",
        product.0,
        before,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Movement {
            movement_id: row.id,
            delta: row.delta,
            reason: row.reason,
            actor: row.actor,
            purchase_id: row.purchase_id.map(PurchaseId),
            at: row.at.timestamp_micros(),
        })
        .collect())
}

/// Enters a product, for sale at once.
///
/// # Errors
/// [`InsertError`]. The caller's transaction is then of no further use.
pub async fn insert(
    connection: &mut PgConnection,
    id: ProductId,
    product: &NewProduct,
) -> Result<ProductChanged, InsertError> {
    let row = sqlx::query_as!(
        ProductRow,
        "insert into product (id, sku, name, description, price_minor, currency, status, initial_on_hand, on_hand,
                              availability)
         values ($1, $2, $3, $4, $5, $6, 'ACTIVE', $7, $7, $8)
         returning id, sku, name, description, price_minor, currency, status, availability, version, updated_at",
        id.0,
        product.sku,
        product.name,
        product.description,
        product.price_minor,
        product.currency.as_str(),
        product.initial_stock,
        Availability::of(product.initial_stock).as_str(),
    )
    .fetch_one(connection)
    .await;
    match row {
        Ok(row) => Ok(row.document()?),
        Err(error) if broken_constraint(&error) == Some("product_sku_any_case") => {
            Err(InsertError::DuplicateSku)
        }
        Err(error) => Err(InsertError::Database(error)),
    }
}

/// A locked product's level, and its version: of what stands on the shelf.
#[derive(Debug, Clone, Copy)]
pub struct Shelf {
    /// What is there.
    pub level: Level,
    /// Grows when the units on hand change.
    pub version: i32,
}

/// Locks a product and reads its level; `None` when there is no such product.
///
/// # Errors
/// The database's errors.
pub async fn lock_shelf(
    connection: &mut PgConnection,
    product: ProductId,
) -> Result<Option<Shelf>, sqlx::Error> {
    let row = sqlx::query!(
        "select status, on_hand, reserved, availability, stock_version from product where id = $1 for update",
        product.0
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let level = Level {
        status: row.status.parse().map_err(unreadable)?,
        on_hand: row.on_hand,
        reserved: row.reserved,
        announced: row.availability.parse().map_err(unreadable)?,
    };
    Ok(Some(Shelf {
        level,
        version: row.stock_version,
    }))
}

/// Why units came or went.
#[derive(Debug, Clone, Copy)]
pub enum MovementKind {
    /// They were delivered.
    Restock,
    /// A count found another number than the books.
    Adjustment,
}

/// A change of the units on hand, as the books keep it.
#[derive(Debug)]
pub struct NewMovement<'a> {
    /// Version 7: later ones are greater.
    pub id: Uuid,
    /// Of which product.
    pub product: ProductId,
    /// Why.
    pub kind: MovementKind,
    /// Units, below zero when they went.
    pub delta: i32,
    /// In somebody's words.
    pub reason: &'a str,
    /// Who says so.
    pub actor: &'a str,
}

/// Writes the level of a locked product after a movement, with the movement, and returns the product as it is now.
///
/// # Errors
/// The database's errors.
pub async fn move_stock(
    connection: &mut PgConnection,
    movement: &NewMovement<'_>,
    level: &Level,
) -> Result<ProductChanged, sqlx::Error> {
    let kind = match movement.kind {
        MovementKind::Restock => "restock",
        MovementKind::Adjustment => "adjustment",
    };
    sqlx::query!(
        "insert into stock_movement (id, product_id, kind, delta, reason, actor)
         values ($1, $2, $3, $4, $5, $6)",
        movement.id,
        movement.product.0,
        kind,
        movement.delta,
        movement.reason,
        movement.actor
    )
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query_as!(
        ProductRow,
        "update product
         set on_hand = $2,
             availability = $3,
             version = version + (availability <> $3)::integer,
             updated_at = case when availability <> $3 then greatest(updated_at, now()) else updated_at end,
             stock_version = stock_version + 1,
             stock_updated_at = greatest(stock_updated_at, now())
         where id = $1
         returning id, sku, name, description, price_minor, currency, status, availability, version, updated_at",
        movement.product.0,
        level.on_hand,
        Availability::of(level.available()).as_str()
    )
    .fetch_one(connection)
    .await?;
    row.document()
}

/// Locks a product and reads it as the catalogue shows it; `None` when there is no such product.
///
/// # Errors
/// The database's errors.
pub async fn lock(
    connection: &mut PgConnection,
    product: ProductId,
) -> Result<Option<ProductChanged>, sqlx::Error> {
    let row = sqlx::query_as!(
        ProductRow,
        "select id, sku, name, description, price_minor, currency, status, availability, version, updated_at
         from product where id = $1 for update",
        product.0
    )
    .fetch_optional(connection)
    .await?;
    row.map(ProductRow::document).transpose()
}

/// Writes what staff changed of a locked product, notes who did it, and returns the product as it is now.
///
/// # Errors
/// The database's errors.
pub async fn edit(
    connection: &mut PgConnection,
    edit_id: Uuid,
    product: &ProductChanged,
    actor: &str,
) -> Result<ProductChanged, sqlx::Error> {
    let row = sqlx::query_as!(
        ProductRow,
        "update product
         set name = $2, description = $3, price_minor = $4, currency = $5, status = $6,
             version = version + 1, updated_at = greatest(updated_at, now())
         where id = $1
         returning id, sku, name, description, price_minor, currency, status, availability, version, updated_at",
        product.product_id.0,
        product.name,
        product.description,
        product.price_minor,
        product.currency.as_str(),
        product.status
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into product_edit (id, product_id, version, name, description, price_minor, currency, status, actor)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        edit_id,
        row.id,
        row.version,
        row.name,
        row.description,
        row.price_minor,
        row.currency,
        row.status,
        actor
    )
    .execute(connection)
    .await?;
    row.document()
}

/// The name of the constraint that a statement broke.
fn broken_constraint(error: &sqlx::Error) -> Option<&str> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::constraint)
}
