//! Change data capture in the relay's place: Debezium reads the outbox from PostgreSQL's write-ahead log.
//!
//! In this mode a row is deleted in the transaction that writes it: the log holds it, and the table stays empty. So nothing
//! is sent unless a replication slot keeps the log, and this module sees to it that there is one: before the service
//! begins its work, and while it is at it. Setting up and its price: `docs/cdc.md`.
//!
//! Order: Debezium publishes in the order of the commits, and `seq` is drawn while the key's row lock is held, so per key
//! both orders are the same (test `cdc::…` of e2e).

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limit::STATEMENT_LIMIT;

/// Between two looks at the slot.
const LOOK: Duration = Duration::from_secs(10);
/// Between two looks while the start waits for it.
const START_LOOK: Duration = Duration::from_millis(500);
/// Between two words about what is missing.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Why the outbox cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The server's log does not hold what is needed.
    #[error(
        "PostgreSQL runs with wal_level = {0}, and change data capture needs logical: set wal_level = logical and restart it, or start with --outbox relay"
    )]
    WalLevel(String),
    /// Shutdown came while the slot was not there.
    #[error("stopped while waiting for the replication slot")]
    Stopped,
    /// The database's answer.
    #[error("the replication slot of the outbox cannot be looked up")]
    Database(#[from] sqlx::Error),
}

/// What PostgreSQL says of the slot of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name: database and schema, as `cdc/prepare.sql` makes it.
    pub name: String,
    /// Whether it is there and still holds all of the log that it needs.
    pub holds: bool,
    /// Whether a connector reads it at the moment.
    pub is_read: bool,
    /// Bytes of the log that the connector has not confirmed: what PostgreSQL must keep for it.
    pub behind_bytes: i64,
}

/// Looks the slot of the pool's schema up.
///
/// # Errors
/// The database's errors.
pub async fn slot(pool: &PgPool) -> Result<Slot, sqlx::Error> {
    let row = sqlx::query!(
        r#"with mine as (
               select left(regexp_replace(lower(current_database() || '_' || current_schema()), '[^a-z0-9_]', '_', 'g'), 63)
                      as name
           )
           select m.name as "name!",
                  s.slot_name is not null and coalesce(s.wal_status, '') <> 'lost' as "holds!",
                  coalesce(s.active, false) as "is_read!",
                  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn), 0)::bigint as "behind_bytes!"
           from mine m
           left join pg_replication_slots s on s.slot_name = m.name and s.database = current_database()"#
    )
    .fetch_one(pool)
    .await?;
    Ok(Slot {
        name: row.name,
        holds: row.holds,
        is_read: row.is_read,
        behind_bytes: row.behind_bytes,
    })
}

/// Waits until the slot is there, and hands it the rows that a relay has left over.
///
/// # Errors
/// [`CaptureError`]; a slot that is missing is not an error but waited for, until `shutdown`.
pub async fn begin(pool: &PgPool, service: &str, shutdown: &CancellationToken) -> Result<(), CaptureError> {
    shutdown
        .run_until_cancelled(wait_and_hand_over(pool, service))
        .await
        .unwrap_or(Err(CaptureError::Stopped))
}

async fn wait_and_hand_over(pool: &PgPool, service: &str) -> Result<(), CaptureError> {
    let level = sqlx::query_scalar!(r#"select current_setting('wal_level') as "level!""#)
        .fetch_one(pool)
        .await?;
    if level != "logical" {
        return Err(CaptureError::WalLevel(level));
    }
    let mut said = None;
    loop {
        let slot = slot(pool).await?;
        if slot.holds {
            break;
        }
        if said.is_none_or(|at: Instant| at.elapsed() > COMPLAINT) {
            tracing::warn!(service, slot = %slot.name, "there is no replication slot for the outbox, without which messages would be lost; the start waits for it: make it with cdc/prepare.sql");
            said = Some(Instant::now());
        }
        tokio::time::sleep(START_LOOK).await;
    }
    let rows = hand_over(pool).await?;
    if rows > 0 {
        tracing::info!(
            service,
            rows,
            "messages that a relay had left in the outbox are handed to the capture"
        );
    }
    Ok(())
}

/// Writes the rows of the outbox anew, so that the log holds them behind the slot's beginning, and deletes them. A row that
/// a relay has sent by then is sent twice, with the same message id.
async fn hand_over(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let mut tx = pool.begin().await?;
    // In `seq` order, which is the order of the commits per key.
    let rows = sqlx::query_scalar!(
        r#"with gone as (delete from outbox returning *)
           insert into outbox (id, aggregatetype, aggregateid, type, payload, source, traceparent, tracestate,
                               command_id, causation_id, reply_to, created_at)
           select id, aggregatetype, aggregateid, type, payload, source, traceparent, tracestate,
                  command_id, causation_id, reply_to, created_at
           from gone order by seq
           returning seq"#
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!("delete from outbox where seq = any($1)", &rows)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows.len() as u64)
}

/// Writes a word to the log, and to no table. A service that sends nothing gives its connector nothing to confirm, and one
/// that was just restarted waits for something to be there before it does anything, its own heartbeats included: the slot
/// would hold the log for ever.
async fn tick(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_logical_emit_message(true, 'belay', '')::text as position")
        .fetch_one(pool)
        .await?;
    Ok(())
}

/// Watches the slot until `shutdown`, and gives its reader something to confirm with every look: gauges `belay_capture_behind_bytes` and `belay_capture_read` (1 while a connector reads
/// it), and a word to the operator when nobody reads it or it is gone.
///
/// Nothing stops when it is gone: whoever waits for an answer asks again, which is what carries on once a slot is there.
pub async fn watch(pool: PgPool, service: &'static str, shutdown: CancellationToken) {
    let mut said = None;
    loop {
        let looked = tokio::time::timeout(STATEMENT_LIMIT, async {
            let slot = slot(&pool).await?;
            if slot.holds {
                tick(&pool).await?;
            }
            Ok::<_, sqlx::Error>(slot)
        });
        // Cancel-safe: looking changes nothing.
        let looked = tokio::select! {
            () = shutdown.cancelled() => return,
            looked = looked => looked,
        };
        if let Ok(Ok(slot)) = looked {
            #[expect(clippy::cast_precision_loss, reason = "exact to 9 petabytes")]
            metrics::gauge!("belay_capture_behind_bytes", "service" => service).set(slot.behind_bytes as f64);
            metrics::gauge!("belay_capture_read", "service" => service)
                .set(f64::from(u8::from(slot.is_read)));
            if slot.holds && slot.is_read {
                said = None;
            } else if said.is_none_or(|at: Instant| at.elapsed() > COMPLAINT) {
                said = Some(Instant::now());
                complain(service, &slot);
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn complain(service: &str, slot: &Slot) {
    if slot.holds {
        tracing::warn!(service, slot = %slot.name, behind_bytes = slot.behind_bytes, "no connector reads the outbox: messages wait, and PostgreSQL keeps its log for them");
    } else {
        tracing::error!(service, slot = %slot.name, "the replication slot of the outbox is gone: messages are lost until it is made again with cdc/prepare.sql, and then sent again by whoever waits for their answers");
    }
}
