//! Forgets the submissions whose 24 hours are over.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::submission;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Rows of one delete at most, so that none takes long.
const BATCH: i64 = 1_000;

/// Runs until `shutdown`.
pub(crate) async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: a tick that is not taken comes again.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        while !shutdown.is_cancelled() {
            match submission::delete_expired(&pool, BATCH).await {
                Ok(deleted) if deleted == BATCH.unsigned_abs() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(
                        "expired submissions could not be deleted, tried again in a minute: {error}"
                    );
                    break;
                }
            }
        }
    }
}
