//! What operators look for: purchases by what they are, and the messages of one.

use chrono::{DateTime, Utc};
use mailbox::Fault;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::SagaRow;
use crate::record::Record;

/// How long a search may take, in milliseconds. The edge waits two seconds at most: what takes longer has nobody who waits for
/// it.
const LIMIT_MS: &str = "1900";

/// What purchases are looked for. What is none excludes nothing.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Words of what the customer sees.
    pub states: Option<Vec<String>>,
    /// The step whose command or rollback is not answered.
    pub step: Option<String>,
    /// Whose.
    pub customer: Option<String>,
    /// The code for people.
    pub reference: Option<String>,
    /// Of one of the lines.
    pub sku: Option<String>,
    /// Inclusive.
    pub created_after: Option<DateTime<Utc>>,
    /// Exclusive.
    pub created_before: Option<DateTime<Utc>>,
    /// Seconds since the last visible change, at least; of those that are open.
    pub stuck_for_seconds: Option<f64>,
}

impl Search {
    fn line(&self) -> Option<Value> {
        let sku = self.sku.as_ref()?;
        Some(serde_json::json!([{ "sku": sku }]))
    }
}

async fn limit_time(connection: &mut PgConnection) -> Result<(), Fault> {
    sqlx::query!(
        "select set_config('statement_timeout', $1, true) as limit",
        LIMIT_MS
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// The purchases looked for, newest first, older than `before`.
///
/// # Errors
/// The database's faults, also when it takes too long; [`Fault::Deterministic`] when a stored state cannot be read.
pub async fn purchases(
    pool: &PgPool,
    search: &Search,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Record>, Fault> {
    let mut tx = pool.begin().await?;
    limit_time(&mut tx).await?;
    let rows = sqlx::query_as!(
        SagaRow,
        "select id, customer_id, version, state, timings, early_cancel, log_length, created_at, updated_at
         from saga
         where state is not null
           and ($1::text[] is null or standing = any($1))
           and ($2::text is null or state #>> array['steps', $2, 'kind'] in ('pending', 'undoing'))
           and ($3::text is null or customer_id = $3)
           and ($4::text is null or state #>> '{data,reference}' = $4)
           and ($5::jsonb is null or state #> '{data,lines}' @> $5)
           and ($6::timestamptz is null or created_at >= $6)
           and ($7::timestamptz is null or created_at < $7)
           and ($8::float8 is null
                or (standing in ('PENDING', 'RUNNING', 'COMPENSATING', 'STUCK')
                    and updated_at <= now() - make_interval(secs => $8)))
           and ($9::uuid is null or id < $9)
         order by id desc limit $10",
        search.states.as_deref(),
        search.step,
        search.customer,
        search.reference,
        search.line(),
        search.created_after,
        search.created_before,
        search.stuck_for_seconds,
        before,
        limit
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// How many purchases are looked for, counted up to `limit`.
///
/// # Errors
/// The database's faults, also when it takes too long.
pub async fn count(pool: &PgPool, search: &Search, limit: i64) -> Result<i64, Fault> {
    let mut tx = pool.begin().await?;
    limit_time(&mut tx).await?;
    let counted = sqlx::query_scalar!(
        r#"select count(*) as "counted!" from (
               select from saga
               where state is not null
                 and ($1::text[] is null or standing = any($1))
                 and ($2::text is null or state #>> array['steps', $2, 'kind'] in ('pending', 'undoing'))
                 and ($3::text is null or customer_id = $3)
                 and ($4::text is null or state #>> '{data,reference}' = $4)
                 and ($5::jsonb is null or state #> '{data,lines}' @> $5)
                 and ($6::timestamptz is null or created_at >= $6)
                 and ($7::timestamptz is null or created_at < $7)
                 and ($8::float8 is null
                      or (standing in ('PENDING', 'RUNNING', 'COMPENSATING', 'STUCK')
                          and updated_at <= now() - make_interval(secs => $8)))
               limit $9) as found"#,
        search.states.as_deref(),
        search.step,
        search.customer,
        search.reference,
        search.line(),
        search.created_after,
        search.created_before,
        search.stuck_for_seconds,
        limit
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(counted)
}

/// An entry of a saga's log that speaks of a message.
#[derive(Debug)]
pub struct Entry {
    /// Its place in the log.
    pub seq: i32,
    /// When.
    pub at: DateTime<Utc>,
    /// The step that it is about.
    pub step: Option<String>,
    /// Where a received message was read.
    pub partition: Option<i32>,
    /// Its offset there.
    pub offset: Option<i64>,
    /// The registry's id of its schema.
    pub schema_id: Option<i32>,
    /// The version that the customer was told with it.
    pub told_version: Option<i32>,
    /// The entry.
    pub body: Value,
}

/// Entries of a saga's log that speak of messages, from `from` on.
///
/// # Errors
/// The database's faults.
pub async fn entries(pool: &PgPool, saga: Uuid, from: i32, limit: i64) -> Result<Vec<Entry>, Fault> {
    Ok(sqlx::query_as!(
        Entry,
        r#"select seq, at, step, partition, "offset", schema_id, told_version, body
           from saga_event
           where saga_id = $1 and seq >= $2
             and (told_version is not null
                  or kind in ('submitted', 'submitted_cancelled', 'command_sent', 'reply_accepted', 'reply_refused',
                              'rollback_acknowledged', 'reply_late', 'reply_unexpected'))
           order by seq limit $3"#,
        saga,
        from,
        limit
    )
    .fetch_all(pool)
    .await?)
}

/// The trace in which each of these sagas began, as a `traceparent`.
///
/// # Errors
/// The database's faults.
pub async fn traces(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<(Uuid, String)>, Fault> {
    let rows = sqlx::query!(
        r#"select distinct on (saga_id) saga_id, trace as "trace!" from saga_event
           where saga_id = any($1) and trace is not null
           order by saga_id, seq"#,
        ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.saga_id, row.trace)).collect())
}
