//! How long it is kept what was told.

use std::time::Duration;

use mailbox::{
    limit::{STATEMENT_LIMIT, on_connection},
    retention,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{SERVICE, store};

/// The shortest time for which it is known that an outcome was told, in days. `belay audit` asks for the notifications of what ended
/// within it (I11).
pub const LEAST_DAYS: u32 = 90;

/// Days after which an outcome may be forgotten, when `days` are asked for: an outcome that is heard of again later must be too old to
/// be told again (test `an_outcome_that_is_forgotten_is_too_old_to_be_told_again`).
#[must_use]
pub fn kept_days(days: u32, stale_after: Duration) -> u32 {
    let stale_days = u32::try_from(stale_after.as_secs().div_ceil(24 * 60 * 60)).unwrap_or(u32::MAX);
    days.max(LEAST_DAYS).max(stale_days.saturating_add(1))
}

/// Deletes what was told longer than `days` ago, until `shutdown`.
///
/// # Errors
/// Never: faults are logged and tried again.
pub async fn run(pool: PgPool, days: u32, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut rounds = retention::Rounds::until(shutdown);
    while rounds.next().await {
        let pruned = on_connection(&pool, STATEMENT_LIMIT, async |connection| {
            Ok(store::prune(connection, days, retention::BATCH_ROWS).await?)
        })
        .await;
        rounds.came_to(pruned.map(|rows| {
            retention::count(SERVICE, "notification", rows);
            rows >= retention::BATCH_ROWS.unsigned_abs()
        }));
    }
    Ok(())
}
