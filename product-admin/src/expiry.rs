//! Asks the sagas of reservations that are held for longer than they should be whether the units are still wanted.
//!
//! The clock alone never decides: a question goes to purchase-manager, and what gives the units back is its `ReleaseProducts`
//! alone. Without an answer it is asked again, with a growing pause, and never while the last question is still in the
//! outbox, so that a broker that is away makes no pile.
//!
//! | metric | what it says |
//! |---|---|
//! | `belay_reservations_expired` | purchases whose units are held for longer than they should be |
//! | `belay_reservations_expired_oldest_timestamp_seconds` | when the first of them passed its time, as Unix time; 0 for none |
//! | `belay_reservations_asked_total` | questions |

use std::time::Duration;

use contracts::{
    ids::{CommandId, PurchaseId},
    topics::PURCHASE_COMMANDS,
};
use mailbox::{
    Codec, Fault, Outbox,
    limit::{STATEMENT_LIMIT, on_connection},
};
use sqlx::{Connection, PgPool};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::expiry;

/// How often it looks. Small beside a time to live of minutes or more, and one look by an index costs next to nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Purchases in one transaction at most.
const BATCH: i64 = 200;
/// The namespace of the questions' ids. A random UUID, fixed once and for all.
const NAMESPACE: Uuid = Uuid::from_u128(0x2b1f_7c55_90d4_4be2_a6a1_3f0e_5d18_c7e3);

/// What asks.
#[derive(Debug, Clone)]
pub struct Inquiry {
    pool: PgPool,
    codec: Codec,
    outbox: Outbox,
}

impl Inquiry {
    /// Looks at the reservations of `pool`.
    #[must_use]
    pub fn new(pool: PgPool, codec: Codec, outbox: Outbox) -> Self {
        Self { pool, codec, outbox }
    }

    /// Runs until `shutdown`. A batch that has begun is finished first.
    ///
    /// # Errors
    /// Never: faults are logged and tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel-safe: a tick that is not taken comes again.
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            while !shutdown.is_cancelled() {
                match self.ask().await {
                    Ok(asked) if asked >= BATCH.unsigned_abs() => {}
                    Ok(_) => break,
                    Err(fault) => {
                        tracing::warn!(
                            "expired reservations could not be asked about, tried once more soon: {fault}"
                        );
                        break;
                    }
                }
            }
            if let Err(error) = self.count().await {
                tracing::debug!("expired reservations could not be counted: {error}");
            }
        }
    }

    /// Asks about one batch, and says how many there were. Each question has a message id of its own and the same command
    /// id, so that a question which is parked is parked once, however often it is asked.
    ///
    /// # Errors
    /// The database's faults.
    pub async fn ask(&self) -> Result<u64, Fault> {
        let asked = on_connection(&self.pool, STATEMENT_LIMIT, async |connection| {
            let mut tx = connection.begin().await?;
            let due = expiry::take_due(&mut tx, PURCHASE_COMMANDS, BATCH).await?;
            let mut messages = Vec::with_capacity(due.len());
            for question in &due {
                let message = self
                    .codec
                    .outgoing(PURCHASE_COMMANDS, question.purchase_id, question)?;
                messages.push(message.command(question_id(question.purchase_id)));
            }
            self.outbox.append(&mut tx, &messages).await?;
            tx.commit().await?;
            Ok(due)
        })
        .await?;
        if !asked.is_empty() {
            self.outbox.wake_relay();
            metrics::counter!("belay_reservations_asked_total").increment(asked.len() as u64);
        }
        for question in &asked {
            tracing::info!(
                purchase.id = %question.purchase_id,
                asked = question.asked,
                "units are held for longer than they should be: its saga is asked"
            );
        }
        Ok(asked.len() as u64)
    }

    #[expect(clippy::cast_precision_loss, reason = "exact to 2^53 purchases")]
    async fn count(&self) -> Result<(), sqlx::Error> {
        let expired = expiry::count(&self.pool).await?;
        metrics::gauge!("belay_reservations_expired").set(expired.purchases as f64);
        metrics::gauge!("belay_reservations_expired_oldest_timestamp_seconds").set(expired.oldest);
        Ok(())
    }
}

/// The same for every question about a purchase.
fn question_id(purchase: PurchaseId) -> CommandId {
    CommandId(Uuid::new_v5(&NAMESPACE, purchase.0.as_bytes()))
}
