//! All SQL of purchase-manager. Rows are locked in the order of their ids; everything is written set by set.

pub mod log;
pub mod search;
pub mod timers;
mod unguarded;
pub mod versions;

use chrono::{DateTime, Utc};
use contracts::ids::{CustomerId, PurchaseId};
use mailbox::{
    Fault,
    failpoint::{self, Guard},
    retention::WORKED_ON_DAYS,
};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use crate::record::Record;

/// A row as it is read.
struct SagaRow {
    id: Uuid,
    customer_id: String,
    version: i32,
    state: Option<Value>,
    timings: Value,
    early_cancel: Option<Value>,
    log_length: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<SagaRow> for Record {
    type Error = Fault;

    fn try_from(row: SagaRow) -> Result<Self, Fault> {
        Ok(Self {
            id: PurchaseId(row.id),
            customer_id: CustomerId(row.customer_id),
            version: row.version,
            state: row
                .state
                .map(serde_json::from_value)
                .transpose()
                .map_err(Fault::deterministic)?,
            early_cancel: row
                .early_cancel
                .map(serde_json::from_value)
                .transpose()
                .map_err(Fault::deterministic)?,
            timings: serde_json::from_value(row.timings).map_err(Fault::deterministic)?,
            log_length: row.log_length,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// The transaction's time.
///
/// # Errors
/// The database's faults.
pub async fn now(connection: &mut PgConnection) -> Result<DateTime<Utc>, Fault> {
    Ok(sqlx::query_scalar!(r#"select now() as "now!""#)
        .fetch_one(connection)
        .await?)
}

/// Reads and locks the sagas that exist among `ids`.
///
/// # Errors
/// The database's faults; [`Fault::Deterministic`] when a stored state cannot be read.
pub async fn lock(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Record>, Fault> {
    if failpoint::is_off(Guard::RowLock) {
        return read(connection, ids).await;
    }
    lock_rows(connection, ids).await
}

async fn lock_rows(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Record>, Fault> {
    let rows = sqlx::query_as!(
        SagaRow,
        "select id, customer_id, version, state, timings, early_cancel, log_length, created_at, updated_at
         from saga where id = any($1) order by id for update",
        ids
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// Reads the sagas that exist among `ids`, without a lock.
///
/// # Errors
/// The database's faults; [`Fault::Deterministic`] when a stored state cannot be read.
pub async fn read(connection: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<Record>, Fault> {
    let rows = sqlx::query_as!(
        SagaRow,
        "select id, customer_id, version, state, timings, early_cancel, log_length, created_at, updated_at
         from saga where id = any($1)",
        ids
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// A customer's purchases, newest first, older than `before`.
///
/// # Errors
/// The database's faults; [`Fault::Deterministic`] when a stored state cannot be read.
pub async fn of_customer(
    pool: &PgPool,
    customer: &str,
    before: Option<Uuid>,
    states: Option<&[String]>,
    limit: i64,
) -> Result<Vec<Record>, Fault> {
    let rows = sqlx::query_as!(
        SagaRow,
        "select id, customer_id, version, state, timings, early_cancel, log_length, created_at, updated_at
         from saga
         where customer_id = $1 and state is not null
           and ($2::uuid is null or id < $2) and ($3::text[] is null or standing = any($3))
         order by id desc limit $4",
        customer,
        before,
        states,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// Purchases that have ended, in the order in which they did, from `since` on; with `after`, of those that ended at `since`
/// only the ones after it.
///
/// # Errors
/// The database's faults; [`Fault::Deterministic`] when a stored state cannot be read.
pub async fn ended(
    pool: &PgPool,
    since: DateTime<Utc>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Record>, Fault> {
    let rows = sqlx::query_as!(
        SagaRow,
        "select id, customer_id, version, state, timings, early_cancel, log_length, created_at, updated_at
         from saga
         where standing in ('COMPLETED', 'REJECTED', 'CANCELLED') and state is not null
           and updated_at >= $1 and ($2::uuid is null or (updated_at, id) > ($1, $2))
         order by updated_at, id limit $3",
        since,
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// A saga to be written, with the version that it had when it was read; none for a new one.
#[derive(Debug)]
pub struct Written<'a> {
    /// The saga as it is now.
    pub record: &'a Record,
    /// The version when it was read.
    pub read_version: Option<i32>,
}

/// Writes new and changed sagas. `updated_at` is the time of the last visible change: what is only logged does not move it
/// (test `a_question_about_a_hold_is_no_change_of_the_purchase`).
///
/// # Errors
/// The database's faults. [`Fault::Transient`] when a row changed under the lock, which the lock excludes: the
/// compare-and-set on the version is the belt to it.
pub async fn save(connection: &mut PgConnection, sagas: &[Written<'_>]) -> Result<(), Fault> {
    let (new, changed): (Vec<&Written<'_>>, Vec<&Written<'_>>) =
        sagas.iter().partition(|saga| saga.read_version.is_none());
    if !new.is_empty() {
        insert(connection, &new).await?;
    }
    if !changed.is_empty() {
        update(connection, &changed).await?;
    }
    Ok(())
}

/// A saga's columns, one vector each.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    customers: Vec<String>,
    definitions: Vec<Option<String>>,
    definition_versions: Vec<Option<i32>>,
    versions: Vec<i32>,
    read_versions: Vec<i32>,
    standings: Vec<String>,
    states: Vec<Option<Value>>,
    timings: Vec<Value>,
    early_cancels: Vec<Option<Value>>,
    log_lengths: Vec<i32>,
}

fn columns(sagas: &[&Written<'_>]) -> Result<Columns, Fault> {
    let mut columns = Columns::default();
    for Written { record, read_version } in sagas {
        let state = record.state.as_ref();
        columns.ids.push(record.id.0);
        columns.customers.push(record.customer_id.0.clone());
        columns.definitions.push(state.map(|s| s.definition().to_owned()));
        columns
            .definition_versions
            .push(state.map(|s| i32::from(s.version())));
        columns.versions.push(record.version);
        columns.read_versions.push(read_version.unwrap_or_default());
        columns.standings.push(record.standing().to_owned());
        columns.states.push(state.map(json).transpose()?);
        columns.timings.push(json(&record.timings)?);
        columns
            .early_cancels
            .push(record.early_cancel.as_ref().map(json).transpose()?);
        columns.log_lengths.push(record.log_length);
    }
    Ok(columns)
}

fn json(value: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(Fault::deterministic)
}

async fn insert(connection: &mut PgConnection, sagas: &[&Written<'_>]) -> Result<(), Fault> {
    let c = columns(sagas)?;
    sqlx::query!(
        "insert into saga (id, customer_id, definition, definition_version, version, standing, state, timings,
                           early_cancel, log_length)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::text[],
                              $7::jsonb[], $8::jsonb[], $9::jsonb[], $10::integer[])",
        &c.ids,
        &c.customers,
        &c.definitions as &[Option<String>],
        &c.definition_versions as &[Option<i32>],
        &c.versions,
        &c.standings,
        &c.states as &[Option<Value>],
        &c.timings,
        &c.early_cancels as &[Option<Value>],
        &c.log_lengths,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn update(connection: &mut PgConnection, sagas: &[&Written<'_>]) -> Result<(), Fault> {
    let mut c = columns(sagas)?;
    if failpoint::is_off(Guard::RowLock) {
        unguarded::forget_what_was_read(&mut *connection, &c.ids, &mut c.read_versions).await?;
    }
    let updated = sqlx::query!(
        "update saga set definition = u.definition, definition_version = u.definition_version, version = u.version,
                         standing = u.standing, state = u.state, timings = u.timings,
                         early_cancel = u.early_cancel, log_length = u.log_length,
                         updated_at = case when saga.version = u.version then saga.updated_at else now() end
         from unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::integer[], $6::text[],
                     $7::jsonb[], $8::jsonb[], $9::jsonb[], $10::integer[])
              as u (id, definition, definition_version, version, read_version, standing, state, timings,
                    early_cancel, log_length)
         where saga.id = u.id and saga.version = u.read_version",
        &c.ids,
        &c.definitions as &[Option<String>],
        &c.definition_versions as &[Option<i32>],
        &c.versions,
        &c.read_versions,
        &c.standings,
        &c.states as &[Option<Value>],
        &c.timings,
        &c.early_cancels as &[Option<Value>],
        &c.log_lengths,
    )
    .execute(connection)
    .await?;
    if updated.rows_affected() == sagas.len() as u64 {
        Ok(())
    } else {
        Err(Fault::transient(anyhow::anyhow!(
            "a saga changed while it was locked"
        )))
    }
}

/// How many purchases are open, by what the customer sees, and since when the oldest of them has not moved.
#[derive(Debug)]
pub struct Open {
    /// `PENDING`, `RUNNING`, `COMPENSATING` or `STUCK`.
    pub standing: String,
    /// How many.
    pub purchases: i64,
    /// Unix time in seconds of the oldest one's last visible change.
    pub oldest: f64,
}

/// Counts the open purchases. Whatever has ended costs nothing here: the index leaves it out.
///
/// # Errors
/// The database's faults.
pub async fn open(connection: &mut PgConnection) -> Result<Vec<Open>, Fault> {
    Ok(sqlx::query_as!(
        Open,
        r#"select standing, count(*) as "purchases!", extract(epoch from min(updated_at))::float8 as "oldest!"
           from saga where standing in ('PENDING', 'RUNNING', 'COMPENSATING', 'STUCK') group by standing"#
    )
    .fetch_all(connection)
    .await?)
}

/// Purchases that wait for an operator, newest first, older than `before`.
///
/// # Errors
/// The database's faults; [`Fault::Deterministic`] when a stored state cannot be read.
pub async fn stuck(pool: &PgPool, before: Option<Uuid>, limit: i64) -> Result<Vec<Record>, Fault> {
    let rows = sqlx::query_as!(
        SagaRow,
        "select id, customer_id, version, state, timings, early_cancel, log_length, created_at, updated_at
         from saga where standing = 'STUCK' and ($1::uuid is null or id < $1)
         order by id desc limit $2",
        before,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// Sagas that should go on and have nothing due: no timer, no message on its way out, none parked. One statement, so one
/// snapshot: whatever is due is written with the state that waits for it.
///
/// # Errors
/// The database's faults.
pub async fn forgotten(connection: &mut PgConnection) -> Result<Vec<Uuid>, Fault> {
    Ok(sqlx::query_scalar!(
        "select id from saga s
         where standing in ('PENDING', 'RUNNING', 'COMPENSATING')
           and not exists (select from saga_timer t where t.saga_id = s.id)
           and not exists (select from outbox o where o.aggregateid = s.id::text)
           and not exists (select from parked p where p.key = s.id::text and p.resolved_at is null)
         limit 100"
    )
    .fetch_all(connection)
    .await?)
}

/// Whether a purchase is so old that nothing is commanded for it any more: the participants need not remember what they did for it.
///
/// # Errors
/// The database's faults.
pub async fn is_past_work(connection: &mut PgConnection, id: Uuid) -> Result<bool, Fault> {
    let days = i32::try_from(WORKED_ON_DAYS).map_err(Fault::deterministic)?;
    let past = sqlx::query_scalar!(
        r#"select created_at < now() - make_interval(days => $2) as "past!" from saga where id = $1"#,
        id,
        days
    )
    .fetch_optional(connection)
    .await?;
    Ok(past.unwrap_or(false))
}
