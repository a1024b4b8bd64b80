//! How many purchases are open, as metrics: `belay_purchases_open` by what the customer sees, and
//! `belay_purchases_oldest_timestamp_seconds`, the Unix time since which the oldest of them has not moved (0 for none). And `belay_sagas_stuck`: those that have not ended,
//! do not wait for an operator, and have nothing due. It is 0, or there is a fault in the program.

use std::time::Duration;

use mailbox::limit::{STATEMENT_LIMIT, on_connection};
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::store;

/// Between two counts.
const COUNT: Duration = Duration::from_secs(15);

/// What is open may be.
const STANDINGS: [&str; 4] = ["PENDING", "RUNNING", "COMPENSATING", "STUCK"];

/// Counts until `shutdown`. A database that does not answer leaves the figures as they were.
///
/// # Errors
/// Never: it ends with `shutdown` alone.
pub async fn run(pool: PgPool, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        // Cancel-safe: counting changes nothing.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            counted = on_connection(&pool, STATEMENT_LIMIT, async |connection| count(connection).await) => {
                if let Err(fault) = counted {
                    tracing::debug!("open purchases could not be counted: {fault}");
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(COUNT) => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact to 2^53 purchases")]
async fn count(connection: &mut PgConnection) -> Result<(), mailbox::Fault> {
    let open = store::open(connection).await?;
    for standing in STANDINGS {
        let found = open.iter().find(|row| row.standing == standing);
        let (purchases, oldest) = found.map_or((0, 0.0), |row| (row.purchases, row.oldest));
        metrics::gauge!("belay_purchases_open", "standing" => standing).set(purchases as f64);
        metrics::gauge!("belay_purchases_oldest_timestamp_seconds", "standing" => standing).set(oldest);
    }
    let forgotten = store::forgotten(connection).await?;
    if !forgotten.is_empty() {
        tracing::error!(sagas = ?forgotten, "these sagas have not ended and nothing is due for them");
    }
    metrics::gauge!("belay_sagas_stuck").set(forgotten.len() as f64);
    Ok(())
}
