//! Waiting until nothing moves any more.
#![expect(
    clippy::disallowed_methods,
    reason = "reads several services' tables, of which only one schema could be checked"
)]

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

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
    untold_outcomes: i64,
}

impl Moving {
    const NOTHING: Self = Self {
        open_purchases: 0,
        waiting_messages: 0,
        untold_outcomes: 0,
    };
}

/// Waits until every accepted purchase has ended or is parked, every outbox is empty and every outcome has its notification, twice in a row, because a message
/// on its way is in no table; at most for `limit`.
pub(super) async fn settle(connections: &mut Connections, limit: Duration) -> anyhow::Result<Settled> {
    let started = Instant::now();
    // Where each captured log ended at the first quiet look.
    let mut quiet_since: Option<BTreeMap<&'static str, i64>> = None;
    loop {
        let moving = moving(connections)
            .await
            .context("the services' tables cannot be read")?;
        let logs = logs(connections)
            .await
            .context("the replication slots cannot be read")?;
        let is_confirmed = quiet_since.as_ref().is_some_and(|ends| {
            logs.iter()
                .all(|(service, log)| ends.get(service).is_some_and(|end| log.confirmed >= *end))
        });
        let in_time = moving == Moving::NOTHING && is_confirmed;
        if in_time || started.elapsed() >= limit {
            let waited_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let Moving {
                open_purchases,
                waiting_messages,
                untold_outcomes,
            } = moving;
            return Ok(Settled {
                in_time,
                waited_ms,
                open_purchases,
                waiting_messages,
                untold_outcomes,
            });
        }
        if moving == Moving::NOTHING {
            quiet_since
                .get_or_insert_with(|| logs.iter().map(|(service, log)| (*service, log.end)).collect());
        } else {
            quiet_since = None;
        }
        sleep(PAUSE).await;
    }
}

/// Positions in the log of a captured outbox's database, in bytes from its beginning.
struct Log {
    end: i64,
    confirmed: i64,
}

/// The logs of the services whose outboxes are captured.
async fn logs(connections: &mut Connections) -> Result<BTreeMap<&'static str, Log>, sqlx::Error> {
    let mut logs = BTreeMap::new();
    for (service, connection) in &mut connections.sources {
        let found: Option<(i64, i64)> = sqlx::query_as(
            "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint
             from pg_replication_slots
             where database = current_database()
               and slot_name = left(regexp_replace(lower(current_database() || '_' || current_schema()),
                                                   '[^a-z0-9_]', '_', 'g'), 63)",
        )
        .fetch_optional(connection)
        .await?;
        if let Some((end, confirmed)) = found {
            logs.insert(*service, Log { end, confirmed });
        }
    }
    Ok(logs)
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
    let open_purchases = i64::try_from(open.len()).unwrap_or(i64::MAX);
    // Counting is work on large tables: only once the rest is quiet.
    let untold_outcomes = if open_purchases == 0 && waiting_messages == 0 {
        untold_outcomes(connections, &parked).await?
    } else {
        0
    };
    Ok(Moving {
        open_purchases,
        waiting_messages,
        untold_outcomes,
    })
}

/// Purchases that have ended lately and have no notification yet: older notifications may be forgotten. By numbers, not by ids: I11 looks closer. What is parked in
/// front of the notifications is not waited for.
async fn untold_outcomes(
    connections: &mut Connections,
    parked: &HashSet<String>,
) -> Result<i64, sqlx::Error> {
    let ended: i64 = sqlx::query_scalar(
        "select count(*) from saga where standing in ('COMPLETED', 'REJECTED', 'CANCELLED') and state is not null
           and updated_at > now() - interval '89 days'",
    )
    .fetch_one(connections.of("purchase-manager"))
    .await?;
    let told: i64 =
        sqlx::query_scalar("select count(*) from notification where ended_at > now() - interval '89 days'")
            .fetch_one(connections.of("notifications"))
            .await?;
    let excused = i64::try_from(parked.len()).unwrap_or(i64::MAX);
    Ok((ended - told - excused).max(0))
}
