//! Waiting until nothing moves any more.
#![expect(
    clippy::disallowed_methods,
    reason = "reads several services' tables, of which only one schema could be checked"
)]

use std::{collections::HashSet, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, sleep};

use super::{Settled, connections::Connections};

/// Pause between two looks: short against a purchase's retries, cheap for the databases.
const PAUSE: Duration = Duration::from_millis(250);

/// What still moved at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moving {
    open_purchases: i64,
    waiting_messages: i64,
}

impl Moving {
    const NOTHING: Self = Self {
        open_purchases: 0,
        waiting_messages: 0,
    };
}

/// Waits until every accepted purchase has ended or is parked and every outbox is empty, twice in a row, because a message
/// on its way is in no table; at most for `limit`.
pub(super) async fn settle(connections: &mut Connections, limit: Duration) -> anyhow::Result<Settled> {
    let started = Instant::now();
    let mut quiet_before = false;
    loop {
        let moving = moving(connections)
            .await
            .context("the services' tables cannot be read")?;
        let in_time = moving == Moving::NOTHING && quiet_before;
        if in_time || started.elapsed() >= limit {
            let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let Moving {
                open_purchases,
                waiting_messages,
            } = moving;
            return Ok(Settled {
                in_time,
                waited_ms,
                open_purchases,
                waiting_messages,
            });
        }
        quiet_before = moving == Moving::NOTHING;
        sleep(PAUSE).await;
    }
}

async fn moving(connections: &mut Connections) -> Result<Moving, sqlx::Error> {
    // The edge first: a purchase that is acknowledged there is in purchase-manager's table by now.
    let unheard: Vec<String> =
        sqlx::query_scalar("select purchase_id::text from submission where acknowledged_at is null")
            .fetch_all(connections.of("bff"))
            .await?;
    let running: Vec<String> = sqlx::query_scalar(
        "select id::text from saga where standing in ('PENDING', 'RUNNING', 'COMPENSATING')",
    )
    .fetch_all(connections.of("purchase-manager"))
    .await?;
    let mut parked: HashSet<String> = HashSet::new();
    let mut waiting_messages = 0;
    for (_, connection) in &mut connections.sources {
        let keys: Vec<String> = sqlx::query_scalar(
            "select distinct key from parked where resolved_at is null and key is not null",
        )
        .fetch_all(&mut *connection)
        .await?;
        parked.extend(keys);
        let waiting: i64 = sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(&mut *connection)
            .await?;
        waiting_messages += waiting;
    }
    // A submission that is parked on its way has no saga that could end.
    let lost = unheard.into_iter().filter(|id| !parked.contains(id));
    let open: HashSet<String> = running.into_iter().chain(lost).collect();
    Ok(Moving {
        open_purchases: i64::try_from(open.len()).unwrap_or(i64::MAX),
        waiting_messages,
    })
}
