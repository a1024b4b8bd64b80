//! Compares with purchase-manager's feed of ended purchases: events are hints, the owner's table is the truth.
//!
//! At start, as soon as purchase-manager answers, and then every minute. How far it came is kept, so that a start does not
//! read what is years old; each comparison reaches back behind that, for purchases that were committed later than they are
//! dated.

use std::{sync::Arc, time::Duration};

use contracts::purchase_manager::PurchaseUpdated;
use mailbox::{
    Fault,
    limit::{STATEMENT_LIMIT, within},
};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{clients::Clients, domain::Notice, store};

/// First pause while purchase-manager does not answer; doubled up to the pause between two comparisons.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// How far each comparison reaches back behind the newest end seen, in microseconds: 10 minutes, more than any transaction of
/// purchase-manager's lasts.
const OVERLAP_MICROS: i64 = 600_000_000;

/// The comparison.
#[derive(Debug)]
pub struct Feed {
    pool: PgPool,
    clients: Clients,
    stale_after: Duration,
    every: Duration,
    wake: Arc<Notify>,
}

impl Feed {
    /// A comparison every `every`, which wakes the sender by `wake` when it has found something.
    #[must_use]
    pub fn new(
        pool: PgPool,
        clients: Clients,
        stale_after: Duration,
        every: Duration,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            pool,
            clients,
            stale_after,
            every,
            wake,
        }
    }

    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// None: what fails is tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut retry = FIRST_RETRY.min(self.every);
        loop {
            // Cancel-safe: a page is one transaction, and what was not compared is compared next time.
            let compared = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                compared = self.compare() => compared,
            };
            let pause = match compared {
                Ok(_) => {
                    retry = FIRST_RETRY.min(self.every);
                    self.every
                }
                Err(error) => {
                    let pause = retry;
                    tracing::warn!(
                        retry_in_ms = pause.as_millis(),
                        "the notifications are not compared: {error:#}"
                    );
                    retry = (retry * 2).min(self.every);
                    pause
                }
            };
            // Cancel-safe: nothing is under way while it waits.
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes over everything that ended since the last comparison, and says how many outcomes were not known.
    ///
    /// # Errors
    /// When purchase-manager does not answer as agreed or the database fails. What was taken over by then stays.
    pub async fn compare(&self) -> anyhow::Result<u64> {
        let start = within(STATEMENT_LIMIT, store::feed_position(&self.pool)).await?;
        let mut from = (start.saturating_sub(OVERLAP_MICROS).max(0), None);
        let mut missed = 0;
        loop {
            let page = self.clients.ended(from.0, from.1).await?;
            // To the empty page: a shorter one may lack purchases of a definition that purchase-manager no longer has.
            let Some(last) = page.last() else { break };
            let next = (last.updated_at, Some(last.purchase_id));
            anyhow::ensure!(
                next != from,
                "purchase-manager's feed of ended purchases answers the same page twice"
            );
            from = next;
            missed += within(STATEMENT_LIMIT, self.take_over(page, from.0)).await?;
        }
        if missed > 0 {
            metrics::counter!("belay_notifications_reconciled_total").increment(missed);
            tracing::info!(missed, "outcomes that no event told of were found in the feed");
            self.wake.notify_one();
        }
        self.count().await?;
        Ok(missed)
    }

    async fn take_over(&self, page: Vec<PurchaseUpdated>, seen_to: i64) -> Result<u64, Fault> {
        let mut notices = Vec::with_capacity(page.len());
        for told in page {
            notices.extend(Notice::of(told, None).map_err(Fault::deterministic)?);
        }
        let mut tx = self.pool.begin().await?;
        let missed = store::record(&mut tx, &notices, self.stale_after).await?;
        store::keep_feed_position(&mut tx, seen_to).await?;
        tx.commit().await?;
        Ok(missed)
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
    async fn count(&self) -> anyhow::Result<()> {
        let counts = within(STATEMENT_LIMIT, store::counts(&self.pool)).await?;
        metrics::gauge!("belay_notifications_waiting").set(counts.waiting as f64);
        metrics::gauge!("belay_notifications_failed").set(counts.failed as f64);
        Ok(())
    }
}
