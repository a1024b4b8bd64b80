//! Sends again what purchase-manager has not acknowledged.
//!
//! Kafka may lose a topic, and the embedded broker forgets everything when it ends: whoever waits for an answer asks
//! again. Never while the last send is still in the outbox, so that a broker that is away makes no pile.

use std::time::Duration;

use contracts::{topics::PURCHASE_COMMANDS, trace::TraceContext};
use mailbox::{
    Codec, Fault, Outbox,
    limit::{STATEMENT_LIMIT, on_connection},
};
use sqlx::{Connection, PgPool};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::submission;

/// How often it looks. Small beside the first pause of 10 s.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Submissions in one transaction at most.
const BATCH: i64 = 200;

/// Runs until `shutdown`. A batch that has begun is finished first.
pub(crate) async fn run(
    pool: PgPool,
    codec: Codec,
    outbox: Outbox,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: a tick that is not taken comes again.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        match send_due(&pool, &codec, &outbox).await {
            Ok(0) => {}
            Ok(sent) => {
                metrics::counter!("belay_submissions_resent_total").increment(sent as u64);
                tracing::info!(sent, "submissions without acknowledgement are sent again");
            }
            Err(fault) => {
                tracing::warn!("submissions could not be sent again, tried once more soon: {fault}")
            }
        }
    }
}

/// Sends one batch of what is due, and says how many there were. Each send has a message id of its own.
pub(crate) async fn send_due(pool: &PgPool, codec: &Codec, outbox: &Outbox) -> Result<usize, Fault> {
    // A connection that fell silent must not stop the re-sends for ever.
    let sent = on_connection(pool, STATEMENT_LIMIT, async |connection| {
        let mut tx = connection.begin().await?;
        let due = submission::take_due(&mut tx, PURCHASE_COMMANDS, BATCH).await?;
        let mut messages = Vec::with_capacity(due.len());
        for submission in &due {
            let trace = submission
                .trace
                .parse::<TraceContext>()
                .unwrap_or_else(|_| TraceContext::root());
            messages.push(submission.message(codec, trace)?);
        }
        outbox.append(&mut tx, &messages).await?;
        tx.commit().await?;
        Ok(messages.len())
    })
    .await?;
    if sent > 0 {
        outbox.wake_relay();
    }
    Ok(sent)
}
