//! What operators do with parked messages: have them handled again, or discard them.

use std::collections::HashMap;

use contracts::{
    envelope::header,
    http::MAX_IDS,
    parked::{SettleParked, Settled, SettledOutcome, SettledParked},
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    Fault, Outbox,
    outbox::Carrier,
    request::{self, Claim},
};

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Handle them again, with all that waits in their lines, first come first.
    Replay,
    /// Never handle them. What waited behind one that failed is handled.
    Discard,
}

impl Action {
    /// In one word: `replay` or `discard`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

/// How a request was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Carried out, now or under the same key before.
    Done(SettledParked),
    /// The key was used for another request.
    KeyReused,
    /// It names too many messages, or says neither who nor why.
    Malformed(&'static str),
}

/// Settles parked messages, once for each idempotency key. A replay is carried out soon after by the consumer or the relay
/// that parked them; messages that are settled already stay as they are.
///
/// # Errors
/// The database's faults.
pub async fn settle(
    pool: &PgPool,
    outbox: &Outbox,
    action: Action,
    request: &SettleParked,
) -> Result<Answer, Fault> {
    if request.ids.is_empty() || request.ids.len() > MAX_IDS {
        return Ok(Answer::Malformed("name between 1 and 200 messages"));
    }
    if request.actor.trim().is_empty() || request.reason.trim().is_empty() {
        return Ok(Answer::Malformed("say who asks for it, and why"));
    }
    let mut tx = pool.begin().await?;
    let scope = format!("parked-{}:{}", action.as_str(), request.actor);
    let hash = request::hash(request).map_err(Fault::deterministic)?;
    match request::claim(&mut tx, &scope, request.idempotency_key, &hash).await? {
        Claim::Fresh => {}
        Claim::Repeated(answer) => {
            return Ok(Answer::Done(
                serde_json::from_value(answer).map_err(Fault::deterministic)?,
            ));
        }
        Claim::Reused => return Ok(Answer::KeyReused),
    }
    let done = carry_out(&mut tx, outbox, action, request).await?;
    let answer = serde_json::to_value(&done).map_err(Fault::deterministic)?;
    request::answer(&mut tx, &scope, request.idempotency_key, &answer).await?;
    tx.commit().await?;
    outbox.wake_relay();
    Ok(Answer::Done(done))
}

async fn carry_out(
    connection: &mut PgConnection,
    outbox: &Outbox,
    action: Action,
    request: &SettleParked,
) -> Result<SettledParked, Fault> {
    let rows = sqlx::query!(
        "select id, resolution from parked where id = any($1) order by seq for update",
        &request.ids
    )
    .fetch_all(&mut *connection)
    .await?;
    let known: HashMap<Uuid, Option<String>> = rows.into_iter().map(|row| (row.id, row.resolution)).collect();
    let open: Vec<Uuid> = request
        .ids
        .iter()
        .copied()
        .filter(|id| known.get(id).is_some_and(Option::is_none))
        .collect();
    sqlx::query!(
        "insert into parked_action (parked_id, action, actor, reason)
         select distinct id, $2, $3, $4 from unnest($1::uuid[]) as open (id)",
        &open,
        action.as_str(),
        request.actor,
        request.reason
    )
    .execute(&mut *connection)
    .await?;
    match action {
        Action::Replay => {}
        Action::Discard => discard(connection, &open, &request.actor, &request.reason).await?,
    }
    // After a discard only what is left of the line is handled, and only when it merely waited.
    sqlx::query!(
        "insert into replay (consumer, topic, line, actor, reason)
         select p.consumer, p.topic, p.line, $2, $3
         from (select distinct consumer, topic, line from parked where id = any($1)) p
         where exists (select from parked f
                       where (f.consumer, f.topic, f.line) = (p.consumer, p.topic, p.line) and f.resolved_at is null
                         and ($4 or f.cause = 'behind')
                         and not exists (select from parked e
                                         where (e.consumer, e.topic, e.line) = (f.consumer, f.topic, f.line)
                                           and e.resolved_at is null and e.seq < f.seq))
         order by 1, 2, 3
         on conflict do nothing",
        &open,
        request.actor,
        request.reason,
        action == Action::Replay,
    )
    .execute(&mut *connection)
    .await?;
    if outbox.carrier() == Carrier::Capture {
        // No relay is there to put them back in its own time.
        put_back(connection, Carrier::Capture).await?;
    }
    let outcome = |id: &Uuid| match (known.get(id), action) {
        (None, _) => SettledOutcome::Unknown,
        (Some(None), Action::Replay) => SettledOutcome::Replaying,
        (Some(None), Action::Discard) => SettledOutcome::Discarded,
        (Some(Some(resolution)), _) if resolution == "discarded" => SettledOutcome::AlreadyDiscarded,
        (Some(Some(_)), _) => SettledOutcome::AlreadyReplayed,
    };
    let settled = request.ids.iter().map(|id| Settled {
        id: *id,
        outcome: outcome(id),
    });
    Ok(SettledParked {
        settled: settled.collect(),
    })
}

/// The inbox takes them as handled, so that they stay discarded when the broker delivers them again.
async fn discard(
    connection: &mut PgConnection,
    ids: &[Uuid],
    actor: &str,
    reason: &str,
) -> Result<(), Fault> {
    sqlx::query!(
        "update parked set resolved_at = now(), resolution = 'discarded', resolved_by = $2, reason = $3
         where id = any($1)",
        ids,
        actor,
        reason
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into inbox (consumer, message_id, stream, key)
         select consumer, message_id, coalesce(headers ->> $2, '') || ' ' || topic, coalesce(key, '')
         from parked where id = any($1) and consumer <> 'relay' and message_id is not null
         order by message_id
         on conflict do nothing",
        ids,
        header::SOURCE
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts the lines of the relay that are to be sent again back into the outbox, at their old places: whatever else of their keys
/// is there has a later one. Gives how many lines there were.
///
/// Only whoever carries the outbox may call it: a relay that sends at the same time could park a later message of the line
/// meanwhile.
///
/// # Errors
/// The database's faults.
pub(crate) async fn put_back(connection: &mut PgConnection, carrier: Carrier) -> Result<u64, Fault> {
    let lines = sqlx::query!(
        "with wanted as (
             delete from replay where consumer = 'relay' returning topic, line, actor, reason
         ), put as (
             update parked p set resolved_at = now(), resolution = 'replayed', resolved_by = w.actor, reason = w.reason
             from wanted w
             where p.consumer = 'relay' and p.topic = w.topic and p.line = w.line and p.resolved_at is null
             returning p.id, p.topic, p.key, p.message_type, p.payload, p.headers, p.command_id
         )
         insert into outbox (seq, id, aggregatetype, aggregateid, type, payload, source, traceparent, tracestate,
                             command_id, causation_id, reply_to, created_at)
         overriding system value
         select (headers ->> 'sequence')::bigint, id, topic, key, message_type, payload, headers ->> 'ce_source',
                headers ->> 'traceparent', headers ->> 'tracestate', command_id, (headers ->> 'causation-id')::uuid,
                headers ->> 'reply-to', (headers ->> 'ce_time')::timestamptz
         from put order by 1
         returning seq"
    )
    .fetch_all(&mut *connection)
    .await?;
    match carrier {
        Carrier::Relay => {}
        Carrier::Capture => {
            let sequences: Vec<i64> = lines.iter().map(|row| row.seq).collect();
            sqlx::query!("delete from outbox where seq = any($1)", &sequences)
                .execute(connection)
                .await?;
        }
    }
    Ok(lines.len() as u64)
}
