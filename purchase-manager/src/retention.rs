//! How long the logs of ended purchases are kept. The purchases themselves are kept for ever: they are business.
//!
//! A log is read to rebuild a saga, to look into what went wrong, and to see what operators did. Once the purchase has ended
//! nothing of the saga depends on it (test `an_ended_purchase_without_its_log_still_answers`).

use mailbox::{
    limit::{STATEMENT_LIMIT, on_connection},
    retention,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::store;

/// The shortest time for which logs are kept, in days: long enough to look into a complaint.
pub const LEAST_LOG_DAYS: u32 = 30;
/// Sagas of one batch at most: some 1,500 rows of their logs.
pub const BATCH_SAGAS: i64 = 100;

/// Deletes the logs of purchases that ended longer than `days` ago, until `shutdown`.
///
/// # Errors
/// Never: faults are logged and tried again.
pub async fn run(pool: PgPool, days: u32, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut rounds = retention::Rounds::until(shutdown);
    while rounds.next().await {
        let pruned = on_connection(&pool, STATEMENT_LIMIT, async |connection| {
            store::log::prune(connection, days.max(LEAST_LOG_DAYS), BATCH_SAGAS).await
        })
        .await;
        rounds.came_to(pruned.map(|pruned| {
            retention::count("purchase-manager", "saga_event", pruned.rows);
            pruned.sagas >= BATCH_SAGAS
        }));
    }
    Ok(())
}
