//! What a service tells of itself and its consumer groups, over all of its instances.
//!
//! Every instance writes a row of its own every few seconds ([`keep`]); any of them reads all ([`read`]). The numbers are those
//! of the metrics ([`crate::backlog`]): librdkafka's, which needs no further question to the broker. An embedded broker could
//! not answer one.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use contracts::report::{GroupReport, ServiceReport};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, types::Json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::limit::STATEMENT_LIMIT;

/// Between two writes of an instance. An instance counts as alive for [`ALIVE_SECONDS`], so that a late write or two are no
/// death.
const WRITE: Duration = Duration::from_secs(5);
const ALIVE_SECONDS: f64 = 30.0;
/// When a row of an instance that is gone is taken away, in seconds.
const FORGOTTEN_SECONDS: f64 = 3_600.0;
/// From so many seconds on, what waits is in trouble: far more than a busy minute takes.
const TROUBLE_SECONDS: i64 = 60;
/// How long the end of the service waits for its row to go.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);

/// What one instance reads of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub group: String,
    pub topic: String,
    pub partitions: i32,
    pub lag: i64,
    /// Milliseconds since 1970 of the oldest message at hand.
    pub oldest_ms: Option<i64>,
}

/// What the consumers of this process counted last, by service, group and topic: one for the process, like the metrics.
static COUNTED: Mutex<BTreeMap<(String, String, String), Reading>> = Mutex::new(BTreeMap::new());

/// Notes what a consumer counted.
pub(crate) fn note(service: &str, group: &str, topic: &str, change: impl FnOnce(&mut Reading)) {
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (service.to_owned(), group.to_owned(), topic.to_owned());
    let reading = counted.entry(key).or_insert_with(|| Reading {
        group: group.to_owned(),
        topic: topic.to_owned(),
        ..Reading::default()
    });
    change(reading);
}

/// Notes the same of every topic of a group.
pub(crate) fn note_all(service: &str, group: &str, change: impl Fn(&mut Reading)) {
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    for ((of, one, _), reading) in counted.iter_mut() {
        if of == service && one == group {
            change(reading);
        }
    }
}

fn counted(service: &str) -> Vec<Reading> {
    let counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    counted
        .iter()
        .filter(|((of, _, _), _)| of == service)
        .map(|(_, reading)| reading.clone())
        .collect()
}

/// Keeps this instance's row until `shutdown`, then takes it away. `groups` are what it reads, group and topic. A database that
/// does not answer is asked again.
///
/// # Errors
/// Never: it ends with `shutdown` alone.
pub async fn keep(
    pool: PgPool,
    service: &'static str,
    version: &'static str,
    groups: Vec<(String, &'static str)>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    for (group, topic) in &groups {
        note(service, group, topic, |_| {});
    }
    let id = contracts::ids::fresh();
    while !shutdown.is_cancelled() {
        let written = tokio::time::timeout(STATEMENT_LIMIT, write(&pool, id, version, counted(service)));
        if let Ok(Err(error)) = written.await {
            tracing::debug!(service, "the instance could not report: {error}");
        }
        // Cancel-safe: nothing is under way while it waits.
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(WRITE) => {}
        }
    }
    // What stays is not counted for long.
    let _ = tokio::time::timeout(LEAVE_LIMIT, leave(&pool, id)).await;
    Ok(())
}

async fn write(pool: &PgPool, id: Uuid, version: &str, reads: Vec<Reading>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into instance (id, version, reads) values ($1, $2, $3)
         on conflict (id) do update set reads = excluded.reads, seen_at = now()",
        id,
        version,
        Json(&reads) as _
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "delete from instance where seen_at < now() - make_interval(secs => $1)",
        FORGOTTEN_SECONDS
    )
    .execute(pool)
    .await?;
    Ok(())
}

async fn leave(pool: &PgPool, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from instance where id = $1", id)
        .execute(pool)
        .await?;
    Ok(())
}

/// The service as it is, over all of its instances.
///
/// # Errors
/// The database's errors.
pub async fn read(pool: &PgPool, service: &str, version: &str) -> Result<ServiceReport, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select reads as "reads: Json<Vec<Reading>>", (extract(epoch from now()) * 1000)::bigint as "now_ms!"
           from instance where seen_at > now() - make_interval(secs => $1)"#,
        ALIVE_SECONDS
    )
    .fetch_all(pool)
    .await?;
    let instances = i32::try_from(rows.len()).unwrap_or(i32::MAX);
    let mut groups: BTreeMap<(String, String), GroupReport> = BTreeMap::new();
    for row in rows {
        for reading in row.reads.0 {
            merge(&mut groups, reading, row.now_ms);
        }
    }
    let waiting = sqlx::query!(
        r#"select
               coalesce((select extract(epoch from now() - created_at)::bigint from outbox order by seq limit 1), 0) as "unsent!",
               (select count(*) from (select from parked where resolved_at is null limit 1000) as some_rows) as "parked!""#
    )
    .fetch_one(pool)
    .await?;
    let groups: Vec<GroupReport> = groups.into_values().collect();
    Ok(ServiceReport {
        service: service.to_owned(),
        version: version.to_owned(),
        // Who answers is alive, even before its first write.
        instances: instances.max(1),
        troubles: troubles(waiting.unsent, waiting.parked, &groups),
        groups,
    })
}

fn merge(groups: &mut BTreeMap<(String, String), GroupReport>, reading: Reading, now_ms: i64) {
    let Reading {
        group,
        topic,
        partitions,
        lag,
        oldest_ms,
    } = reading;
    let sum = groups
        .entry((group.clone(), topic.clone()))
        .or_insert(GroupReport {
            group,
            topic,
            members: 0,
            lag: 0,
            oldest_seconds: None,
        });
    sum.members += i32::from(partitions > 0);
    sum.lag = sum.lag.saturating_add(lag);
    // The broker's clock may be a little ahead.
    let seconds = oldest_ms.map(|oldest| i32::try_from((now_ms - oldest).max(0) / 1000).unwrap_or(i32::MAX));
    sum.oldest_seconds = sum.oldest_seconds.max(seconds);
}

fn troubles(unsent_seconds: i64, parked: i64, groups: &[GroupReport]) -> Vec<String> {
    let mut troubles = Vec::new();
    if unsent_seconds >= TROUBLE_SECONDS {
        troubles.push(format!("messages have waited to be sent for {unsent_seconds} s"));
    }
    match parked {
        0 => {}
        1 => troubles.push("1 message waits for an operator".to_owned()),
        1000.. => troubles.push("1000 messages or more wait for an operator".to_owned()),
        some => troubles.push(format!("{some} messages wait for an operator")),
    }
    for group in groups {
        if let Some(seconds) = group.oldest_seconds.filter(|s| i64::from(*s) >= TROUBLE_SECONDS) {
            troubles.push(format!(
                "{} has worked on {} for {seconds} s",
                group.group, group.topic
            ));
        }
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(partitions: i32, lag: i64, oldest_ms: Option<i64>) -> Reading {
        Reading {
            group: "belay.orders".to_owned(),
            topic: "orders.commands.v1".to_owned(),
            partitions,
            lag,
            oldest_ms,
        }
    }

    #[test]
    fn the_instances_of_a_group_are_added_up() {
        let mut groups = BTreeMap::new();
        for one in [
            reading(3, 5, Some(99_000)),
            reading(3, 2, Some(90_000)),
            reading(0, 0, None),
        ] {
            merge(&mut groups, one, 100_500);
        }
        let sum = groups.into_values().next().unwrap();
        assert_eq!((sum.members, sum.lag, sum.oldest_seconds), (2, 7, Some(10)));
    }

    #[test]
    fn what_waits_for_long_or_for_people_is_trouble() {
        assert_eq!(troubles(59, 0, &[]), [""; 0]);
        let behind = GroupReport {
            group: "belay.orders".to_owned(),
            topic: "orders.commands.v1".to_owned(),
            members: 1,
            lag: 9,
            oldest_seconds: Some(75),
        };
        assert_eq!(
            troubles(61, 1, &[behind]),
            [
                "messages have waited to be sent for 61 s",
                "1 message waits for an operator",
                "belay.orders has worked on orders.commands.v1 for 75 s",
            ]
        );
    }
}
