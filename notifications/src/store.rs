//! All SQL of the service.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::ids::{CustomerId, PurchaseId};
use mailbox::Fault;
use serde::Serialize;
use sqlx::{PgConnection, PgPool, types::Json};
use uuid::Uuid;

use crate::domain::{Next, Notice, Outcome, Purchase, notification_id};

/// The only feed that there is.
const FEED: &str = "purchases-ended";

/// Writes a row for every outcome that has none, and says how many there were. What ended longer than `stale_after` ago,
/// by PostgreSQL's clock, is written as skipped.
///
/// # Errors
/// The database's faults; [`Fault::Deterministic`] for a date that PostgreSQL does not know.
pub async fn record(
    connection: &mut PgConnection,
    notices: &[Notice],
    stale_after: Duration,
) -> Result<u64, Fault> {
    if notices.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = notices
        .iter()
        .map(|n| notification_id(n.purchase_id, n.outcome))
        .collect();
    let purchase_ids: Vec<Uuid> = notices.iter().map(|n| n.purchase_id.0).collect();
    let outcomes: Vec<String> = notices.iter().map(|n| n.outcome.to_string()).collect();
    let customers: Vec<String> = notices.iter().map(|n| n.customer_id.0.clone()).collect();
    let ends: Vec<DateTime<Utc>> = notices
        .iter()
        .map(|n| {
            DateTime::from_timestamp_micros(n.ended_at_micros)
                .ok_or_else(|| Fault::deterministic(anyhow::anyhow!("a purchase ended at no date")))
        })
        .collect::<Result<_, _>>()?;
    let purchases: Vec<serde_json::Value> = notices
        .iter()
        .map(|n| serde_json::to_value(&n.purchase))
        .collect::<Result<_, _>>()
        .map_err(Fault::deterministic)?;
    let traces: Vec<Option<String>> = notices.iter().map(|n| n.trace.clone()).collect();
    // In the order of the ids, so that two instances that are told the same do not wait for each other in a circle. Whichever
    // constraint they meet at: the key is made of the purchase and the outcome, so each of the two says the same.
    let inserted = sqlx::query!(
        "insert into notification (notification_id, purchase_id, outcome, customer_id, ended_at, trace, purchase, state,
                                   due_at, reason)
         select n.id, n.purchase_id, n.outcome, n.customer_id, n.ended_at, n.trace,
                case when n.ended_at >= limits.oldest then n.purchase end,
                case when n.ended_at >= limits.oldest then 'pending' else 'skipped' end,
                case when n.ended_at >= limits.oldest then now() end,
                case when n.ended_at < limits.oldest then 'it was too late to tell when it was heard of' end
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::jsonb[], $7::text[])
              as n (id, purchase_id, outcome, customer_id, ended_at, purchase, trace),
              (select now() - make_interval(secs => $8) as oldest) as limits
         order by n.id
         on conflict do nothing",
        &ids,
        &purchase_ids,
        &outcomes,
        &customers,
        &ends,
        &purchases,
        &traces as &[Option<String>],
        stale_after.as_secs_f64()
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected())
}

/// A notification that this process has claimed.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The notification.
    pub id: Uuid,
    /// Its purchase.
    pub purchase_id: PurchaseId,
    /// How the purchase ended.
    pub outcome: Outcome,
    /// Whom to tell.
    pub customer_id: CustomerId,
    /// When it ended, in microseconds since 1970.
    pub ended_at_micros: i64,
    /// What to tell.
    pub purchase: Purchase,
    /// The trace to continue.
    pub trace: Option<String>,
    /// The number of this try, from 1. It tells this claim from a later one of the same notification.
    pub attempt: i32,
}

/// Claims up to `limit` notifications that are due, for `lease`; commits before it returns. Those of an instance that did not
/// finish in its time are among them.
///
/// # Errors
/// The database's errors, and a row that cannot be read.
pub async fn claim(pool: &PgPool, limit: i64, lease: Duration) -> Result<Vec<Claimed>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with due as materialized (
               select notification_id from notification
               where due_at <= now()
               order by due_at
               limit $1
               for update skip locked
           )
           update notification n
           set state = 'sending', attempts = n.attempts + 1, due_at = now() + make_interval(secs => $2),
               updated_at = now()
           from due
           where n.notification_id = due.notification_id
           returning n.notification_id, n.purchase_id, n.outcome, n.customer_id, n.ended_at,
                     n.purchase as "purchase!: Json<Purchase>", n.trace, n.attempts"#,
        limit,
        lease.as_secs_f64()
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let outcome = Outcome::of(&row.outcome)
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?
                .ok_or(sqlx::Error::RowNotFound)?;
            Ok(Claimed {
                id: row.notification_id,
                purchase_id: PurchaseId(row.purchase_id),
                outcome,
                customer_id: CustomerId(row.customer_id),
                ended_at_micros: row.ended_at.timestamp_micros(),
                purchase: row.purchase.0,
                trace: row.trace,
                attempt: row.attempts,
            })
        })
        .collect()
}

/// Claims anew, for `lease` from now, what is still claimed by these tries.
///
/// # Errors
/// The database's errors.
pub async fn renew(pool: &PgPool, claims: &[(Uuid, i32)], lease: Duration) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = claims.iter().map(|claim| claim.0).collect();
    let attempts: Vec<i32> = claims.iter().map(|claim| claim.1).collect();
    sqlx::query!(
        "with mine as (
             select n.notification_id from unnest($1::uuid[], $2::integer[]) as c (id, attempt)
             join notification n on n.notification_id = c.id and n.attempts = c.attempt and n.state = 'sending'
             order by n.notification_id
             for update of n
         )
         update notification n set due_at = now() + make_interval(secs => $3)
         from mine where n.notification_id = mine.notification_id",
        &ids,
        &attempts,
        lease.as_secs_f64()
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Deletes up to `limit` outcomes that were told, or were not to be told, and that ended longer than `days` ago. What waits for an
/// operator stays.
///
/// # Errors
/// The database's errors.
pub async fn prune(connection: &mut PgConnection, days: u32, limit: i64) -> Result<u64, sqlx::Error> {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let gone = sqlx::query!(
        "delete from notification n using (
             select notification_id from notification
             where state in ('sent', 'skipped') and ended_at < now() - make_interval(days => $1)
             order by ended_at limit $2 for update skip locked) old
         where n.notification_id = old.notification_id",
        days,
        limit
    );
    Ok(gone.execute(connection).await?.rows_affected())
}

/// What became of a claim.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The notification.
    pub id: Uuid,
    /// The try.
    pub attempt: i32,
    /// What comes next.
    pub next: Next,
}

/// Commits what became of claims. One that has lapsed and was claimed anew is left to its new owner.
///
/// # Errors
/// The database's errors.
pub async fn settle(pool: &PgPool, settled: &[Settled]) -> Result<(), sqlx::Error> {
    if settled.is_empty() {
        return Ok(());
    }
    let mut columns = Columns::default();
    for one in settled {
        columns.push(one);
    }
    sqlx::query!(
        "with settled as (
             select n.notification_id, s.state, s.pause_s, s.reason, s.uncounted
             from unnest($1::uuid[], $2::integer[], $3::text[], $4::float8[], $5::text[], $6::integer[])
                  as s (id, attempt, state, pause_s, reason, uncounted)
             join notification n on n.notification_id = s.id and n.attempts = s.attempt and n.state = 'sending'
             order by n.notification_id
             for update of n
         )
         update notification n
         set state = s.state, reason = s.reason, attempts = n.attempts - s.uncounted,
             due_at = case when s.state = 'pending' then now() + make_interval(secs => s.pause_s * (1 + random() / 10)) end,
             purchase = case when s.state in ('sent', 'skipped') then null else n.purchase end,
             updated_at = now()
         from settled s
         where n.notification_id = s.notification_id",
        &columns.ids,
        &columns.attempts,
        &columns.states,
        &columns.pauses,
        &columns.reasons as &[Option<String>],
        &columns.uncounted
    )
    .execute(pool)
    .await?;
    Ok(())
}

#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    attempts: Vec<i32>,
    states: Vec<String>,
    pauses: Vec<f64>,
    reasons: Vec<Option<String>>,
    uncounted: Vec<i32>,
}

impl Columns {
    fn push(&mut self, settled: &Settled) {
        let (state, pause, reason, counts) = match &settled.next {
            Next::Sent => ("sent", Duration::ZERO, None, true),
            Next::Skipped(reason) => ("skipped", Duration::ZERO, Some(reason), true),
            Next::Failed(reason) => ("failed", Duration::ZERO, Some(reason), true),
            Next::Again {
                pause,
                counts,
                reason,
            } => ("pending", *pause, Some(reason), *counts),
        };
        self.ids.push(settled.id);
        self.attempts.push(settled.attempt);
        self.states.push(state.to_owned());
        self.pauses.push(pause.as_secs_f64());
        self.reasons.push(reason.cloned());
        self.uncounted.push(i32::from(!counts));
    }
}

/// How far the change feed has been read, in microseconds since 1970; 0 before the first time.
///
/// # Errors
/// The database's errors.
pub async fn feed_position(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let seen = sqlx::query_scalar!("select seen_to from feed_position where feed = $1", FEED)
        .fetch_optional(pool)
        .await?;
    Ok(seen.unwrap_or(0))
}

/// Keeps how far the change feed has been read. Never goes back.
///
/// # Errors
/// The database's faults.
pub async fn keep_feed_position(connection: &mut PgConnection, seen_to: i64) -> Result<(), Fault> {
    sqlx::query!(
        "insert into feed_position as p (feed, seen_to) values ($1, $2)
         on conflict (feed) do update set seen_to = greatest(p.seen_to, excluded.seen_to)",
        FEED,
        seen_to
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Mails still to be sent.
    pub waiting: i64,
    /// Mails that wait for an operator.
    pub failed: i64,
}

/// Counts what is not done.
///
/// # Errors
/// The database's errors.
pub async fn counts(pool: &PgPool) -> Result<Counts, sqlx::Error> {
    sqlx::query_as!(
        Counts,
        r#"select (select count(*) from notification where due_at is not null) as "waiting!",
                  (select count(*) from notification where state = 'failed') as "failed!""#
    )
    .fetch_one(pool)
    .await
}

/// A notification as operators may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// The part of the Message-ID before the `@`.
    pub notification_id: Uuid,
    /// The purchase.
    pub purchase_id: Uuid,
    /// `COMPLETED`, `REJECTED` or `CANCELLED`.
    pub outcome: String,
    /// `pending`, `sending`, `sent`, `skipped` or `failed`.
    pub state: String,
    /// Tries so far.
    pub attempts: i32,
    /// Why it is put off, skipped or parked.
    pub reason: Option<String>,
    /// Microseconds since 1970 in UTC.
    pub updated_at: i64,
}

/// The notifications of these purchases.
///
/// # Errors
/// The database's errors.
pub async fn of_purchases(pool: &PgPool, purchases: &[Uuid]) -> Result<Vec<Notification>, sqlx::Error> {
    sqlx::query_as!(
        Notification,
        r#"select notification_id, purchase_id, outcome, state, attempts, reason,
                  (extract(epoch from updated_at) * 1000000)::bigint as "updated_at!"
           from notification where purchase_id = any($1) order by purchase_id, outcome"#,
        purchases
    )
    .fetch_all(pool)
    .await
}

/// The mails that wait for an operator, the longest first.
///
/// # Errors
/// The database's errors.
pub async fn failed(pool: &PgPool, limit: i64) -> Result<Vec<Notification>, sqlx::Error> {
    sqlx::query_as!(
        Notification,
        r#"select notification_id, purchase_id, outcome, state, attempts, reason,
                  (extract(epoch from updated_at) * 1000000)::bigint as "updated_at!"
           from notification where state = 'failed' order by updated_at limit $1"#,
        limit
    )
    .fetch_all(pool)
    .await
}
