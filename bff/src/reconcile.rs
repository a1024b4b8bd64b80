//! Compares the catalogue with its owner's change feed: events are hints, the owner's table is the truth.
//!
//! The whole table once at start, as soon as product-admin answers; then every minute what changed since, with an overlap
//! for changes that were committed later than they are dated.

use std::time::Duration;

use anyhow::Context;
use contracts::product_admin::ProductChanged;
use mailbox::limit::{STATEMENT_LIMIT, on_connection};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    clients::Clients,
    domain::product::{Product, newest},
    store::catalogue,
};

/// Between two comparisons.
const EVERY: Duration = Duration::from_secs(60);
/// First pause while product-admin does not answer; doubled up to [`EVERY`].
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// How far each comparison reaches back behind the newest change seen, in microseconds: 10 minutes, more than any
/// transaction of product-admin's lasts.
const OVERLAP_MICROS: i64 = 600_000_000;
/// Products of one page.
const PAGE: i64 = contracts::http::MAX_PAGE;

/// Runs until `shutdown`.
pub(crate) async fn run(pool: PgPool, clients: Clients, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut since = 0;
    let mut retry = FIRST_RETRY;
    loop {
        // Cancel-safe: a page is one statement, and what was not compared is compared next time.
        let compared = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            compared = compare(&pool, &clients, since) => compared,
        };
        let pause = match compared {
            Ok(newest_change) => {
                since = since.max(newest_change - OVERLAP_MICROS);
                retry = FIRST_RETRY;
                EVERY
            }
            Err(error) => {
                let pause = retry;
                tracing::warn!(
                    retry_in_ms = pause.as_millis(),
                    "the catalogue is not compared: {error:#}"
                );
                retry = (retry * 2).min(EVERY);
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

/// Takes over everything that changed since `since`, in microseconds, and gives the time of the newest change.
async fn compare(pool: &PgPool, clients: &Clients, since: i64) -> anyhow::Result<i64> {
    let mut from = (since, None);
    loop {
        let page = clients.product_changes(from.0, from.1, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(from.0);
        };
        let next = (last.updated_at, Some(last.product_id));
        anyhow::ensure!(
            next != from,
            "product-admin's change feed answers the same page twice"
        );
        from = next;
        let full = i64::try_from(page.len()).is_ok_and(|length| length >= PAGE);
        let products = newest(page.into_iter().filter_map(understood));
        on_connection(pool, STATEMENT_LIMIT, async |connection| {
            Ok(catalogue::keep_newer(connection, &products).await?)
        })
        .await
        .context("the catalogue could not be written")?;
        if !full {
            return Ok(from.0);
        }
    }
}

/// The product, or nothing when it says something that this version does not know: the others are not held up by it.
/// Test: `catalogue::a_product_that_is_not_understood_holds_up_no_other`.
fn understood(told: ProductChanged) -> Option<Product> {
    let id = told.product_id;
    match Product::try_from(told) {
        Ok(product) => Some(product),
        Err(error) => {
            metrics::counter!("belay_catalogue_not_understood_total").increment(1);
            tracing::warn!(product.id = %id, "a product stays as it is in the catalogue: {error}");
            None
        }
    }
}
