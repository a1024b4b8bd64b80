//! Reservations that are held for longer than they should be. Every time is PostgreSQL's: this process reads no clock.

use contracts::{ids::PurchaseId, product_admin::ReservationExpired};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Pause after a saga was asked for the first time; it doubles up to [`LONGEST_PAUSE_SECONDS`]. A saga that lets go does so
/// within seconds, so what is still held after a minute is worth asking about again.
const FIRST_PAUSE_SECONDS: f64 = 60.0;
/// Longest pause. A saga that keeps what is held, such as one that waits for a person, writes a line into its log each time:
/// 24 a day at most.
const LONGEST_PAUSE_SECONDS: f64 = 3_600.0;

/// Takes up to `limit` purchases whose held units are to be asked about now, and puts them off to their next time. Those
/// whose last question is still in the outbox are put off without being counted; the others are returned, to be sent in
/// this transaction.
///
/// The first row of a purchase stands for all of them, because they are decided together: who has locked it asks, others
/// pass by, and a confirmation or release, which writes the rows in the same order, waits for it. Nothing that a
/// confirmation or release reads is changed.
///
/// # Errors
/// The database's errors.
pub async fn take_due(
    connection: &mut PgConnection,
    topic: &str,
    limit: i64,
) -> Result<Vec<ReservationExpired>, sqlx::Error> {
    let due = sqlx::query_scalar!(
        "select purchase_id from reservation r
         where state = 'held' and ask_at <= now()
           and not exists (select from reservation o where o.purchase_id = r.purchase_id and o.product_id < r.product_id)
         order by ask_at
         limit $1
         for update of r skip locked",
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = due.iter().map(Uuid::to_string).collect();
    let waiting = sqlx::query_scalar!(
        r#"select distinct aggregateid::uuid as "id!" from outbox where aggregatetype = $1 and aggregateid = any($2)"#,
        topic,
        &keys
    )
    .fetch_all(&mut *connection)
    .await?;
    let rows = sqlx::query!(
        r#"with put_off as (
               update reservation
               set asked = asked + case when purchase_id = any($2) then 0 else 1 end,
                   ask_at = now() + make_interval(secs => least($3 * power(2, least(asked, 10)), $4) * (1 + random() / 10))
               where purchase_id = any($1) and state = 'held'
               returning purchase_id, expires_at, asked
           )
           select purchase_id as "purchase_id!", min(expires_at) as "expires_at!", max(asked) as "asked!"
           from put_off where purchase_id <> all($2) group by purchase_id order by purchase_id"#,
        &due,
        &waiting,
        FIRST_PAUSE_SECONDS,
        LONGEST_PAUSE_SECONDS
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ReservationExpired {
            purchase_id: PurchaseId(row.purchase_id),
            expired_at: row.expires_at.timestamp_micros(),
            asked: row.asked,
        })
        .collect())
}

/// Purchases whose held units have passed their time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expired {
    /// How many.
    pub purchases: i64,
    /// Unix time in seconds at which the first of them passed it; 0 for none.
    pub oldest: f64,
}

/// Counts them.
///
/// # Errors
/// The database's errors.
pub async fn count(pool: &PgPool) -> Result<Expired, sqlx::Error> {
    sqlx::query_as!(
        Expired,
        r#"select count(distinct purchase_id) as "purchases!",
                  coalesce(extract(epoch from min(expires_at))::float8, 0) as "oldest!"
           from reservation where state = 'held' and expires_at <= now()"#
    )
    .fetch_one(pool)
    .await
}
