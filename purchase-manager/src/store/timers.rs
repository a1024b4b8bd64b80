//! The sagas' timers, by PostgreSQL's clock.

use mailbox::Fault;
use sqlx::PgConnection;
use uuid::Uuid;

/// The key of a timer: saga, step, direction.
pub type TimerId = (Uuid, String, &'static str);

/// A timer to be set.
#[derive(Debug, Clone, Copy)]
pub struct NewTimer {
    /// The attempt that it waits for.
    pub attempt: i32,
    /// Microseconds from now, by PostgreSQL's clock.
    pub after_micros: i64,
}

/// Clears and sets timers. A timer in both is set.
///
/// # Errors
/// The database's faults.
pub async fn write(
    connection: &mut PgConnection,
    cleared: &[TimerId],
    set: &[(TimerId, NewTimer)],
) -> Result<(), Fault> {
    if !cleared.is_empty() {
        let (sagas, steps, directions) = split(cleared.iter());
        sqlx::query!(
            "delete from saga_timer t using unnest($1::uuid[], $2::text[], $3::text[]) as c (saga_id, step, direction)
             where t.saga_id = c.saga_id and t.step = c.step and t.direction = c.direction",
            &sagas,
            &steps,
            &directions
        )
        .execute(&mut *connection)
        .await?;
    }
    if !set.is_empty() {
        let (sagas, steps, directions) = split(set.iter().map(|(id, _)| id));
        let attempts: Vec<i32> = set.iter().map(|(_, timer)| timer.attempt).collect();
        let afters: Vec<i64> = set.iter().map(|(_, timer)| timer.after_micros).collect();
        sqlx::query!(
            "insert into saga_timer (saga_id, step, direction, attempt, due_at)
             select t.saga_id, t.step, t.direction, t.attempt, now() + t.after_micros * interval '1 microsecond'
             from unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::bigint[])
                  as t (saga_id, step, direction, attempt, after_micros)
             on conflict (saga_id, step, direction)
             do update set attempt = excluded.attempt, due_at = excluded.due_at",
            &sagas,
            &steps,
            &directions,
            &attempts,
            &afters
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

fn split<'a>(ids: impl Iterator<Item = &'a TimerId>) -> (Vec<Uuid>, Vec<String>, Vec<String>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for (saga, step, direction) in ids {
        columns.0.push(*saga);
        columns.1.push(step.clone());
        columns.2.push((*direction).to_owned());
    }
    columns
}

/// A timer that has run out.
#[derive(Debug)]
pub struct DueTimer {
    /// The saga.
    pub saga_id: Uuid,
    /// The step that waits.
    pub step: String,
    /// `forward` or `compensation`.
    pub direction: String,
    /// The attempt that it waits for.
    pub attempt: i32,
}

/// Locks up to `limit` sagas with timers that have run out, and takes those timers away: what is to wait on is set anew
/// by the decision. Sagas that somebody else works on are left for later.
///
/// # Errors
/// The database's faults.
pub async fn take_due(connection: &mut PgConnection, limit: i64) -> Result<Vec<DueTimer>, Fault> {
    let sagas = sqlx::query_scalar!(
        "select id from saga
         where id in (select saga_id from saga_timer where due_at <= now() order by due_at limit $1)
         order by id for update skip locked",
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    if sagas.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as!(
        DueTimer,
        "delete from saga_timer where saga_id = any($1) and due_at <= now()
         returning saga_id, step, direction, attempt",
        &sagas
    )
    .fetch_all(connection)
    .await?)
}

/// Puts off the due timers of the saga that is due first, for a saga that cannot be worked on. Says which it was.
///
/// # Errors
/// The database's faults.
pub async fn put_off_first_due(connection: &mut PgConnection) -> Result<Option<Uuid>, Fault> {
    Ok(sqlx::query_scalar!(
        "update saga_timer set due_at = now() + interval '1 minute'
         where due_at <= now()
           and saga_id = (select saga_id from saga_timer where due_at <= now() order by due_at limit 1)
         returning saga_id"
    )
    .fetch_optional(connection)
    .await?)
}
