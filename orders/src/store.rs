//! All SQL of the service, and the orders of one batch in memory between reading and writing.

use std::collections::BTreeMap;

use contracts::{
    http,
    ids::{CustomerId, OrderId, PurchaseId},
    money::NotACurrency,
    orders::CreateOrder,
};
use mailbox::Fault;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::{Conflict, Identity, Order, State, number};

/// The orders of one batch: read and locked by [`load`], changed in memory, written by [`save`].
#[derive(Debug)]
pub struct World {
    orders: BTreeMap<PurchaseId, Order>,
    /// Names for as many orders as the batch can place.
    identities: std::vec::IntoIter<Identity>,
    placed: Vec<Placed>,
    /// Orders older than the batch that it withdraws.
    cancelled: Vec<OrderId>,
}

/// An order that is not in the table yet. Its state is in [`World::orders`], because the same batch may withdraw it.
#[derive(Debug)]
struct Placed {
    identity: Identity,
    content: CreateOrder,
}

impl World {
    /// Places an order that was checked.
    ///
    /// # Errors
    /// [`Conflict::AlreadyPlaced`].
    pub fn place(&mut self, content: &CreateOrder) -> Result<Identity, Conflict> {
        if let Some(order) = self.orders.get(&content.purchase_id) {
            return Err(Conflict::AlreadyPlaced(order.order_id));
        }
        let identity = self
            .identities
            .next()
            .expect("one was drawn for every creation of the batch");
        let order = Order {
            order_id: identity.order_id,
            state: State::Placed,
        };
        self.orders.insert(content.purchase_id, order);
        self.placed.push(Placed {
            identity: identity.clone(),
            content: content.clone(),
        });
        Ok(identity)
    }

    /// Withdraws the order of a purchase.
    ///
    /// # Errors
    /// [`Conflict::Dispatched`], [`Conflict::Missing`].
    pub fn cancel(&mut self, purchase: PurchaseId) -> Result<(), Conflict> {
        let order = self.orders.get_mut(&purchase).ok_or(Conflict::Missing)?;
        let before = order.state;
        *order = order.cancel()?;
        let in_the_table = !self
            .placed
            .iter()
            .any(|placed| placed.identity.order_id == order.order_id);
        if in_the_table && before != order.state {
            self.cancelled.push(order.order_id);
        }
        Ok(())
    }
}

/// Reads and locks the orders of `purchases`, and draws names for `creations` new ones.
///
/// # Errors
/// The database's faults.
pub async fn load(
    connection: &mut PgConnection,
    purchases: &[PurchaseId],
    creations: usize,
) -> Result<World, Fault> {
    let ids: Vec<Uuid> = purchases.iter().map(|purchase| purchase.0).collect();
    let rows = sqlx::query!(
        "select order_id, purchase_id, state from orders
         where purchase_id = any($1) order by purchase_id for update",
        &ids
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut orders = BTreeMap::new();
    for row in rows {
        let state = State::parse(&row.state).ok_or_else(|| {
            Fault::deterministic(anyhow::anyhow!("`{}` is not a state of an order", row.state))
        })?;
        orders.insert(
            PurchaseId(row.purchase_id),
            Order {
                order_id: OrderId(row.order_id),
                state,
            },
        );
    }
    let identities = draw(connection, creations).await?.into_iter();
    Ok(World {
        orders,
        identities,
        placed: Vec::new(),
        cancelled: Vec::new(),
    })
}

async fn draw(connection: &mut PgConnection, count: usize) -> Result<Vec<Identity>, sqlx::Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let count = i32::try_from(count).expect("a batch has some hundred messages");
    let rows = sqlx::query!(
        r#"select nextval('order_number') as "serial!",
                  extract(year from now() at time zone 'UTC')::integer as "year!"
           from generate_series(1, $1)"#,
        count
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Identity {
            order_id: OrderId::fresh(),
            number: number(row.year, row.serial),
        })
        .collect())
}

/// Writes what the batch has changed.
///
/// # Errors
/// The database's faults. Two instances that place the order of one purchase at once have met in the operation barrier
/// before they come here.
pub async fn save(connection: &mut PgConnection, world: World) -> Result<(), Fault> {
    insert(connection, &world).await?;
    insert_lines(connection, &world.placed).await?;
    if !world.cancelled.is_empty() {
        let ids: Vec<Uuid> = world.cancelled.iter().map(|order| order.0).collect();
        sqlx::query!(
            "update orders set state = 'CANCELLED', cancelled_at = now() where order_id = any($1)",
            &ids
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, world: &World) -> Result<(), sqlx::Error> {
    let placed = &world.placed;
    if placed.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = placed.iter().map(|p| p.identity.order_id.0).collect();
    let purchases: Vec<Uuid> = placed.iter().map(|p| p.content.purchase_id.0).collect();
    let customers: Vec<String> = placed.iter().map(|p| p.content.customer_id.0.clone()).collect();
    let numbers: Vec<String> = placed.iter().map(|p| p.identity.number.clone()).collect();
    let states: Vec<String> = placed
        .iter()
        .map(|p| world.orders[&p.content.purchase_id].state.as_str().to_owned())
        .collect();
    let totals: Vec<i64> = placed.iter().map(|p| p.content.total_minor).collect();
    let currencies: Vec<String> = placed.iter().map(|p| p.content.currency.to_string()).collect();
    let home: Vec<bool> = placed.iter().map(|p| p.content.home_delivery).collect();
    sqlx::query!(
        "insert into orders (order_id, purchase_id, customer_id, number, state, total_minor, currency, home_delivery,
                             cancelled_at)
         select o.order_id, o.purchase_id, o.customer_id, o.number, o.state, o.total_minor, o.currency, o.home_delivery,
                case when o.state = 'CANCELLED' then now() end
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                     $8::boolean[])
              as o (order_id, purchase_id, customer_id, number, state, total_minor, currency, home_delivery)",
        &ids,
        &purchases,
        &customers,
        &numbers,
        &states,
        &totals,
        &currencies,
        &home
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_lines(connection: &mut PgConnection, placed: &[Placed]) -> Result<(), sqlx::Error> {
    if placed.is_empty() {
        return Ok(());
    }
    let lines = || {
        placed.iter().flat_map(|p| {
            (1_i32..)
                .zip(&p.content.lines)
                .map(move |(line, content)| (p, line, content))
        })
    };
    let ids: Vec<Uuid> = lines().map(|(p, _, _)| p.identity.order_id.0).collect();
    let numbers: Vec<i32> = lines().map(|(_, line, _)| line).collect();
    let products: Vec<Uuid> = lines().map(|(_, _, l)| l.product_id.0).collect();
    let skus: Vec<String> = lines().map(|(_, _, l)| l.sku.clone()).collect();
    let names: Vec<String> = lines().map(|(_, _, l)| l.name.clone()).collect();
    let quantities: Vec<i32> = lines().map(|(_, _, l)| l.quantity).collect();
    let prices: Vec<i64> = lines().map(|(_, _, l)| l.unit_price_minor).collect();
    sqlx::query!(
        "insert into order_line (order_id, line, product_id, sku, name, quantity, unit_price_minor)
         select * from unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::integer[],
                              $7::bigint[])",
        &ids,
        &numbers,
        &products,
        &skus,
        &names,
        &quantities,
        &prices
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An order's row as the edge reads it.
struct OrderRow {
    order_id: Uuid,
    purchase_id: Uuid,
    customer_id: String,
    number: String,
    state: String,
    total_minor: i64,
    currency: String,
    placed_at: i64,
}

impl OrderRow {
    fn document(self) -> Result<http::Order, sqlx::Error> {
        Ok(http::Order {
            order_id: OrderId(self.order_id),
            purchase_id: PurchaseId(self.purchase_id),
            customer_id: CustomerId(self.customer_id),
            number: self.number,
            state: self.state,
            total_minor: self.total_minor,
            currency: self
                .currency
                .parse()
                .map_err(|error: NotACurrency| sqlx::Error::Decode(Box::new(error)))?,
            placed_at: self.placed_at,
        })
    }
}

/// The orders of `purchases`, oldest first.
///
/// # Errors
/// The database's errors.
pub async fn orders_of(pool: &PgPool, purchases: &[Uuid]) -> Result<Vec<http::Order>, sqlx::Error> {
    let rows = sqlx::query_as!(
        OrderRow,
        r#"select order_id, purchase_id, customer_id, number, state, total_minor, currency,
                  (extract(epoch from placed_at) * 1000000)::bigint as "placed_at!"
           from orders where purchase_id = any($1) order by placed_at, order_id"#,
        purchases
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(OrderRow::document).collect()
}

/// A customer's orders, newest first, older than `before`: the ids are version 7, so they sort by time.
///
/// # Errors
/// The database's errors.
pub async fn orders_of_customer(
    pool: &PgPool,
    customer: &str,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<http::Order>, sqlx::Error> {
    let rows = sqlx::query_as!(
        OrderRow,
        r#"select order_id, purchase_id, customer_id, number, state, total_minor, currency,
                  (extract(epoch from placed_at) * 1000000)::bigint as "placed_at!"
           from orders where customer_id = $1 and ($2::uuid is null or order_id < $2)
           order by order_id desc limit $3"#,
        customer,
        before,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(OrderRow::document).collect()
}
