//! The sagas' logs: what happened to each, entry by entry.

use chrono::{DateTime, Utc};
use mailbox::{
    Fault,
    failpoint::{self, Guard},
};
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use super::unguarded;

/// A row of the log.
#[derive(Debug)]
pub struct LogRow {
    /// The saga.
    pub saga_id: Uuid,
    /// Its place in the saga's log, from 1.
    pub seq: i32,
    /// The entry's kind.
    pub kind: &'static str,
    /// The step that it is about.
    pub step: Option<String>,
    /// The message that brought it about.
    pub message_id: Option<Uuid>,
    /// Where that message was read.
    pub partition: Option<i32>,
    /// Its offset there.
    pub offset: Option<i64>,
    /// The registry's id of its schema.
    pub schema_id: Option<i32>,
    /// The trace of that message.
    pub trace: Option<String>,
    /// The version that the customer was told with the entry.
    pub told_version: Option<i32>,
    /// The entry.
    pub body: Value,
}

/// Appends to the logs. Their key, saga and `seq`, stands behind row lock and compare-and-set: whatever came past those would
/// fail here.
///
/// # Errors
/// The database's faults; [`Fault::Deterministic`] when an entry is there already: the log is broken then, and what would go on
/// writing it is parked.
pub async fn append(connection: &mut PgConnection, rows: &[LogRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let sagas: Vec<Uuid> = rows.iter().map(|r| r.saga_id).collect();
    let mut seqs: Vec<i32> = rows.iter().map(|r| r.seq).collect();
    if failpoint::is_off(Guard::RowLock) {
        unguarded::number_anew(&mut *connection, &sagas, &mut seqs).await?;
    }
    let kinds: Vec<String> = rows.iter().map(|r| r.kind.to_owned()).collect();
    let steps: Vec<Option<String>> = rows.iter().map(|r| r.step.clone()).collect();
    let messages: Vec<Option<Uuid>> = rows.iter().map(|r| r.message_id).collect();
    let traces: Vec<Option<String>> = rows.iter().map(|r| r.trace.clone()).collect();
    let bodies: Vec<&Value> = rows.iter().map(|r| &r.body).collect();
    let partitions: Vec<Option<i32>> = rows.iter().map(|r| r.partition).collect();
    let offsets: Vec<Option<i64>> = rows.iter().map(|r| r.offset).collect();
    let schemas: Vec<Option<i32>> = rows.iter().map(|r| r.schema_id).collect();
    let told: Vec<Option<i32>> = rows.iter().map(|r| r.told_version).collect();
    sqlx::query!(
        r#"insert into saga_event (saga_id, seq, kind, step, message_id, trace, body, partition, "offset", schema_id,
                                   told_version)
           select * from unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::jsonb[],
                                $8::integer[], $9::bigint[], $10::integer[], $11::integer[])"#,
        &sagas,
        &seqs,
        &kinds,
        &steps as &[Option<String>],
        &messages as &[Option<Uuid>],
        &traces as &[Option<String>],
        &bodies as &[&Value],
        &partitions as &[Option<i32>],
        &offsets as &[Option<i64>],
        &schemas as &[Option<i32>],
        &told as &[Option<i32>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Something that a person did, as the log has it.
#[derive(Debug)]
pub struct Deed {
    /// The saga.
    pub saga_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// The entry.
    pub body: Value,
}

/// What people did with these sagas, oldest first.
///
/// # Errors
/// The database's faults.
pub async fn deeds(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<Deed>, Fault> {
    Ok(sqlx::query_as!(
        Deed,
        "select saga_id, at, body from saga_event
         where saga_id = any($1)
           and kind in ('operator_acted', 'operator_refused', 'cancel_accepted', 'cancel_refused')
         order by saga_id, seq",
        ids
    )
    .fetch_all(pool)
    .await?)
}

/// What one batch of [`prune`] deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrunedLogs {
    /// Sagas whose logs went.
    pub sagas: i64,
    /// Rows of their logs.
    pub rows: u64,
}

/// Deletes the logs of up to `limit` sagas that ended longer than `days` ago, in the order in which they ended, in a transaction
/// of its own. Nothing while another instance does it.
///
/// # Errors
/// The database's faults.
pub async fn prune(connection: &mut PgConnection, days: u32, limit: i64) -> Result<PrunedLogs, Fault> {
    let mut tx = connection.begin().await?;
    let Some(mark) = sqlx::query!("select ended_at, saga_id from log_mark for update skip locked")
        .fetch_optional(&mut *tx)
        .await?
    else {
        return Ok(PrunedLogs::default());
    };
    let days = i32::try_from(days).map_err(Fault::deterministic)?;
    let ended = sqlx::query!(
        "select id, updated_at from saga
         where standing in ('COMPLETED', 'REJECTED', 'CANCELLED') and state is not null
           and (updated_at, id) > ($1, $2) and updated_at < now() - make_interval(days => $3)
         order by updated_at, id limit $4",
        mark.ended_at,
        mark.saga_id,
        days,
        limit
    )
    .fetch_all(&mut *tx)
    .await?;
    let Some(last) = ended.last() else {
        return Ok(PrunedLogs::default());
    };
    let ids: Vec<Uuid> = ended.iter().map(|saga| saga.id).collect();
    let deleted = sqlx::query!("delete from saga_event where saga_id = any($1)", &ids)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "update log_mark set ended_at = $1, saga_id = $2",
        last.updated_at,
        last.id
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(PrunedLogs {
        sagas: i64::try_from(ids.len()).unwrap_or(limit),
        rows: deleted.rows_affected(),
    })
}
