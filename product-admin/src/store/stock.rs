//! The products and reservations of a batch: locked, read, and written once.

use std::time::Duration;

use contracts::{
    ids::{ProductId, PurchaseId},
    product_admin::ProductChanged,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{ProductRow, unreadable};
use crate::domain::{
    level::{Availability, Level},
    stock::{Changes, Reservation, Stock},
};

/// Locks, in id order, `products` and those that `purchases` have reserved, and reads them with the reservations.
///
/// The reservations need no lock of their own: who writes one has locked its product first.
///
/// # Errors
/// The database's errors.
pub async fn load(
    connection: &mut PgConnection,
    products: &[ProductId],
    purchases: &[PurchaseId],
) -> Result<Stock, sqlx::Error> {
    let products: Vec<Uuid> = products.iter().map(|p| p.0).collect();
    let purchases: Vec<Uuid> = purchases.iter().map(|p| p.0).collect();
    // The array is made before the lock is taken, which lets the planner walk the primary key.
    let rows = sqlx::query!(
        "select id, status, on_hand, reserved, availability from product
         where id = any(array(select unnest($1::uuid[])
                              union select product_id from reservation where purchase_id = any($2)))
         order by id for update",
        &products,
        &purchases
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut levels = Vec::with_capacity(rows.len());
    for row in rows {
        let level = Level {
            status: row.status.parse().map_err(unreadable)?,
            on_hand: row.on_hand,
            reserved: row.reserved,
            announced: row.availability.parse().map_err(unreadable)?,
        };
        levels.push((ProductId(row.id), level));
    }
    let rows = sqlx::query!(
        "select purchase_id, product_id, quantity, state from reservation where purchase_id = any($1)",
        &purchases
    )
    .fetch_all(connection)
    .await?;
    let mut reservations = Vec::with_capacity(rows.len());
    for row in rows {
        let state = row.state.parse().map_err(unreadable)?;
        let reservation = Reservation {
            quantity: row.quantity,
            state,
        };
        reservations.push((
            PurchaseId(row.purchase_id),
            ProductId(row.product_id),
            reservation,
        ));
    }
    Ok(Stock::new(levels, reservations))
}

/// Writes what changed, one row per product and reservation, and returns the products whose availability crossed,
/// in id order, as they are now. A new reservation's time is over after `ttl`, by PostgreSQL's clock.
///
/// # Errors
/// The database's errors; constraints stand behind every decision.
pub async fn save(
    connection: &mut PgConnection,
    changes: &Changes,
    ttl: Duration,
) -> Result<Vec<ProductChanged>, sqlx::Error> {
    write_reservations(connection, changes, ttl).await?;
    write_levels(connection, changes).await?;
    let crossed: Vec<Uuid> = changes
        .levels
        .iter()
        .filter(|(_, level)| level.crossing().is_some())
        .map(|(product, _)| product.0)
        .collect();
    if crossed.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        ProductRow,
        "select id, sku, name, description, price_minor, currency, status, availability, version, updated_at
         from product where id = any($1) order by id",
        &crossed
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(ProductRow::document).collect()
}

/// `updated_at` and `version` move only where the availability crosses, and the time never moves back: the transaction
/// that waited for the lock may have begun before the one it waited for.
async fn write_levels(connection: &mut PgConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    if changes.levels.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = changes.levels.iter().map(|(product, _)| product.0).collect();
    let reserved: Vec<i32> = changes.levels.iter().map(|(_, level)| level.reserved).collect();
    let availability: Vec<String> = changes
        .levels
        .iter()
        .map(|(_, level)| Availability::of(level.available()).as_str().to_owned())
        .collect();
    sqlx::query!(
        "update product p
         set reserved = c.reserved,
             availability = c.availability,
             version = p.version + (p.availability <> c.availability)::integer,
             updated_at = case when p.availability <> c.availability then greatest(p.updated_at, now())
                               else p.updated_at end,
             stock_updated_at = greatest(p.stock_updated_at, now())
         from unnest($1::uuid[], $2::integer[], $3::text[]) as c (id, reserved, availability)
         where p.id = c.id",
        &ids,
        &reserved,
        &availability
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_reservations(
    connection: &mut PgConnection,
    changes: &Changes,
    ttl: Duration,
) -> Result<(), sqlx::Error> {
    if changes.reservations.is_empty() {
        return Ok(());
    }
    let all = &changes.reservations;
    let purchases: Vec<Uuid> = all.iter().map(|(purchase, _, _)| purchase.0).collect();
    let products: Vec<Uuid> = all.iter().map(|(_, product, _)| product.0).collect();
    let quantities: Vec<i32> = all
        .iter()
        .map(|(_, _, reservation)| reservation.quantity)
        .collect();
    let states: Vec<String> = all.iter().map(|(_, _, r)| r.state.as_str().to_owned()).collect();
    sqlx::query!(
        "insert into reservation (purchase_id, product_id, quantity, state, expires_at, ask_at)
         select r.purchase_id, r.product_id, r.quantity, r.state, now() + make_interval(secs => $5),
                now() + make_interval(secs => $5)
         from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[]) as r (purchase_id, product_id, quantity, state)
         on conflict (purchase_id, product_id) do update set state = excluded.state, updated_at = now()",
        &purchases,
        &products,
        &quantities,
        &states,
        ttl.as_secs_f64()
    )
    .execute(connection)
    .await?;
    Ok(())
}
