//! Forgets the submissions whose 24 hours are over, and the contacts of customers who have not bought for 90 days.

use std::time::Duration;

use mailbox::limit::{STATEMENT_LIMIT, within};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::{contact, submission};

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
            match within(STATEMENT_LIMIT, delete_expired(&pool)).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!("what has expired could not be deleted, tried again in a minute: {error}");
                    break;
                }
            }
        }
    }
}

/// Deletes one batch of each, and says whether there may be more.
async fn delete_expired(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let submissions = submission::delete_expired(pool, BATCH).await?;
    let contacts = contact::delete_expired(pool, BATCH).await?;
    Ok(submissions.max(contacts) == BATCH.unsigned_abs())
}
