//! All SQL of the service, and the payments of one batch in memory between reading and writing.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    http,
    ids::{CustomerId, PaymentId, PurchaseId},
    money::{Money, NotACurrency},
};
use mailbox::Fault;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    domain::{Action, Conflict, Payment, State},
    provider::Answer,
};

/// The payments of one batch: read and locked by [`load`], changed in memory, written by [`save`].
#[derive(Debug)]
pub struct World {
    payments: BTreeMap<PurchaseId, Payment>,
    /// Payments that are not in the table yet. Their state is in `payments`, because the same batch may move them on.
    attempts: Vec<Attempt>,
    /// Purchases whose payment is in the table and has changed.
    moved: BTreeSet<PurchaseId>,
}

/// What is kept of an attempt to take money.
#[derive(Debug)]
pub struct Attempt {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// How much.
    pub amount: Money,
    /// What the provider said.
    pub answer: Answer,
}

impl World {
    /// Notes an attempt and what became of it.
    ///
    /// # Errors
    /// [`Conflict::AlreadyThere`].
    pub fn record(&mut self, payment_id: PaymentId, state: State, attempt: Attempt) -> Result<(), Conflict> {
        if let Some(payment) = self.payments.get(&attempt.purchase_id) {
            return Err(Conflict::AlreadyThere(payment.payment_id));
        }
        self.payments
            .insert(attempt.purchase_id, Payment { payment_id, state });
        self.attempts.push(attempt);
        Ok(())
    }

    /// Moves the payment of a purchase on.
    ///
    /// # Errors
    /// [`Conflict::Illegal`], [`Conflict::Missing`].
    pub fn apply(&mut self, purchase: PurchaseId, action: Action) -> Result<PaymentId, Conflict> {
        let payment = self
            .payments
            .get_mut(&purchase)
            .ok_or(Conflict::Missing(action))?;
        *payment = payment.after(action)?;
        if !self
            .attempts
            .iter()
            .any(|attempt| attempt.purchase_id == purchase)
        {
            self.moved.insert(purchase);
        }
        Ok(payment.payment_id)
    }
}

/// Reads and locks the payments of `purchases`.
///
/// # Errors
/// The database's faults.
pub async fn load(connection: &mut PgConnection, purchases: &[PurchaseId]) -> Result<World, Fault> {
    let ids: Vec<Uuid> = purchases.iter().map(|purchase| purchase.0).collect();
    let rows = sqlx::query!(
        "select payment_id, purchase_id, state from payment
         where purchase_id = any($1) order by purchase_id for update",
        &ids
    )
    .fetch_all(connection)
    .await?;
    let mut payments = BTreeMap::new();
    for row in rows {
        let state = State::parse(&row.state).ok_or_else(|| {
            Fault::deterministic(anyhow::anyhow!("`{}` is not a state of a payment", row.state))
        })?;
        payments.insert(
            PurchaseId(row.purchase_id),
            Payment {
                payment_id: PaymentId(row.payment_id),
                state,
            },
        );
    }
    Ok(World {
        payments,
        attempts: Vec::new(),
        moved: BTreeSet::new(),
    })
}

/// Writes what the batch has changed.
///
/// # Errors
/// The database's faults. Two instances that hold the money of one purchase at once have met in the operation barrier
/// before they come here.
pub async fn save(connection: &mut PgConnection, world: &World) -> Result<(), Fault> {
    insert(connection, world).await?;
    if !world.moved.is_empty() {
        let ids: Vec<Uuid> = world.moved.iter().map(|purchase| purchase.0).collect();
        let states: Vec<String> = world
            .moved
            .iter()
            .map(|purchase| world.payments[purchase].state.as_str().to_owned())
            .collect();
        sqlx::query!(
            "update payment set state = moved.state, updated_at = now()
             from unnest($1::uuid[], $2::text[]) as moved (purchase_id, state)
             where payment.purchase_id = moved.purchase_id",
            &ids,
            &states
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, world: &World) -> Result<(), sqlx::Error> {
    let attempts = &world.attempts;
    if attempts.is_empty() {
        return Ok(());
    }
    let payment = |attempt: &Attempt| world.payments[&attempt.purchase_id];
    let ids: Vec<Uuid> = attempts.iter().map(|a| payment(a).payment_id.0).collect();
    let purchases: Vec<Uuid> = attempts.iter().map(|a| a.purchase_id.0).collect();
    let customers: Vec<String> = attempts.iter().map(|a| a.customer_id.0.clone()).collect();
    let states: Vec<String> = attempts
        .iter()
        .map(|a| payment(a).state.as_str().to_owned())
        .collect();
    let amounts: Vec<i64> = attempts.iter().map(|a| a.amount.minor).collect();
    let currencies: Vec<String> = attempts.iter().map(|a| a.amount.currency.to_string()).collect();
    let labels: Vec<String> = attempts
        .iter()
        .map(|a| a.answer.method_label.to_owned())
        .collect();
    let declines: Vec<Option<String>> = attempts
        .iter()
        .map(|a| a.answer.decline_message.clone())
        .collect();
    sqlx::query!(
        "insert into payment (payment_id, purchase_id, customer_id, state, amount_minor, currency, method_label,
                              decline_message)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                              $8::text[])",
        &ids,
        &purchases,
        &customers,
        &states,
        &amounts,
        &currencies,
        &labels,
        &declines as &[Option<String>]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The payments of `purchases`, by purchase.
///
/// # Errors
/// The database's errors.
pub async fn payments_of(pool: &PgPool, purchases: &[Uuid]) -> Result<Vec<http::Payment>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select payment_id, purchase_id, customer_id, state, amount_minor, currency, method_label, decline_message,
                  (extract(epoch from updated_at) * 1000000)::bigint as "updated_at!"
           from payment where purchase_id = any($1) order by purchase_id"#,
        purchases
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let currency = row
                .currency
                .parse()
                .map_err(|error: NotACurrency| sqlx::Error::Decode(Box::new(error)))?;
            Ok(http::Payment {
                payment_id: PaymentId(row.payment_id),
                purchase_id: PurchaseId(row.purchase_id),
                customer_id: CustomerId(row.customer_id),
                state: row.state,
                amount_minor: row.amount_minor,
                currency,
                method_label: row.method_label,
                decline_message: row.decline_message,
                updated_at: row.updated_at,
            })
        })
        .collect()
}
