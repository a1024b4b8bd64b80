//! Messages already handled. One statement claims a whole batch.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Fault, Received,
    failpoint::{self, Guard},
    retention,
};

/// What to do with each message of a batch.
#[derive(Debug, Default)]
pub struct Claims {
    /// Claimed now: to be handled in this transaction.
    pub fresh: HashSet<Uuid>,
    /// An earlier message of the key is parked: to be parked behind it.
    pub blocked: HashSet<Uuid>,
}

/// Claims the messages of a batch for `consumer`. Those in neither set of the answer were handled before.
///
/// A parked message that holds up another one is held until the transaction ends: nobody settles it in the meantime.
///
/// Also records every message that arrives behind a later one of its sender, topic and key (invariant I8, held by the test
/// `a_message_that_arrives_behind_a_later_one_is_recorded`). A message that was sent before the inbox is sure to remember proves
/// nothing: it may have been handled in its time, be forgotten since, and be read once more (test
/// `what_is_read_again_after_it_was_forgotten_is_no_regression`).
///
/// # Errors
/// The database's faults.
pub async fn claim(
    connection: &mut PgConnection,
    consumer: &str,
    batch: &[Received],
) -> Result<Claims, Fault> {
    claim_as(connection, consumer, batch, false).await
}

/// Claims a message that was parked and is the first of its line. False when it was handled before.
///
/// # Errors
/// The database's faults.
pub(crate) async fn claim_first(
    connection: &mut PgConnection,
    consumer: &str,
    message: &Received,
) -> Result<bool, Fault> {
    let claims = claim_as(connection, consumer, std::slice::from_ref(message), true).await?;
    Ok(!claims.fresh.is_empty())
}

async fn claim_as(
    connection: &mut PgConnection,
    consumer: &str,
    batch: &[Received],
    first_of_its_line: bool,
) -> Result<Claims, Fault> {
    let ids: Vec<Uuid> = batch.iter().map(|m| m.envelope.id.0).collect();
    let topics: Vec<String> = batch.iter().map(|m| m.topic.clone()).collect();
    let keys: Vec<String> = batch.iter().map(|m| m.key.clone()).collect();
    let streams: Vec<String> = batch
        .iter()
        .map(|m| format!("{} {}", m.envelope.source, m.topic))
        .collect();
    let sequences: Vec<Option<i64>> = batch.iter().map(|m| m.envelope.sequence).collect();
    let sent: Vec<Option<i64>> = batch.iter().map(|m| m.sent_at_millis).collect();
    let remembered_days =
        i32::try_from(retention::LEAST_INBOX_DAYS).expect("a handful of days is a small number");
    // A message that is in the batch twice counts where it came first. Inserted in the order of the ids, so that two instances that meet during a rebalance cannot deadlock.
    let rows = sqlx::query!(
        r#"with message as (
               select distinct on (m.id) *
               from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $8::bigint[])
                   with ordinality as m (id, topic, key, stream, sequence, sent_ms, position)
               order by m.id, m.position
           ), held as (
               select p.topic, p.key from parked p
               where p.consumer = $1 and p.resolved_at is null and not $7
                 and (p.topic, p.key) in (select m.topic, m.key from message m)
               order by p.seq for share
           ), blocked as (
               select distinct m.id from message m
               join held p on p.topic = m.topic and p.key = m.key
               where not exists (select from inbox i where i.consumer = $1 and i.message_id = m.id)
           ), claimed as (
               insert into inbox (consumer, message_id, stream, key, sequence)
               select $1, m.id, m.stream, m.key, m.sequence from message m
               where m.id not in (select id from blocked)
               order by m.id
               on conflict do nothing
               returning message_id
           ), behind as (
               insert into regression (consumer, message_id, stream, key, sequence)
               select $1, m.id, m.stream, m.key, m.sequence from message m
               where m.sequence is not null
                 and (m.sent_ms is null or to_timestamp(m.sent_ms / 1000.0) > now() - make_interval(days => $9))
                 and m.id in (select message_id from claimed)
                 and (exists (select from inbox i
                              where i.key = m.key and i.consumer = $1 and i.stream = m.stream
                                and i.sequence > m.sequence)
                   or exists (select from message e
                              where e.key = m.key and e.stream = m.stream
                                and e.position < m.position and e.sequence > m.sequence
                                and e.id in (select message_id from claimed)))
               on conflict do nothing
           )
           select id as "id!", true as "fresh!" from (select message_id as id from claimed) c
           union all
           select id as "id!", false as "fresh!" from blocked"#,
        consumer,
        &ids,
        &topics,
        &keys,
        &streams,
        &sequences as &[Option<i64>],
        first_of_its_line,
        &sent as &[Option<i64>],
        remembered_days,
    )
    .fetch_all(connection)
    .await?;
    let mut claims = Claims::default();
    for row in rows {
        if row.fresh {
            claims.fresh.insert(row.id)
        } else {
            claims.blocked.insert(row.id)
        };
    }
    if failpoint::is_off(Guard::Inbox) {
        claims.fresh.extend(ids);
        claims.blocked.clear();
    }
    Ok(claims)
}
