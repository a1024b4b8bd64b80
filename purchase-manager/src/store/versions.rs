//! Versions of the definition: which one new sagas follow, which ones open sagas follow, and which ones the programs at work have.
//!
//! A program that begins writes its row and then reads the active version under a share lock; an activation locks that row
//! first and then reads the programs. So either the activation sees the program, or the program sees the activation (test
//! `a_program_that_starts_while_a_version_is_activated_sees_it_or_is_seen`).

use chrono::{DateTime, Utc};
use mailbox::Fault;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// A program counts as at work for so long after it was last seen: six of its beats.
pub const LIVE_SECONDS: f64 = 60.0;

/// The version that new sagas follow. Activates `version` when none is, as on an empty database.
///
/// # Errors
/// The database's errors.
pub async fn activate_if_none(pool: &PgPool, name: &str, version: i32) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with first as (
             insert into active_definition (name, version) values ($1, $2) on conflict do nothing returning *
         )
         insert into activation (name, version, actor, reason)
         select name, version, 'purchase-manager', 'the first version of an empty database' from first",
        name,
        version
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The version that new sagas follow.
///
/// # Errors
/// The database's faults.
pub async fn active(connection: &mut PgConnection, name: &str) -> Result<i32, Fault> {
    sqlx::query_scalar!("select version from active_definition where name = $1", name)
        .fetch_one(connection)
        .await
        .map_err(Fault::transient)
}

/// The versions with open sagas, and how many.
///
/// # Errors
/// The database's errors.
pub async fn open(connection: &mut PgConnection) -> Result<Vec<(i32, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select definition_version as "version!", count(*) as "open!" from saga
           where standing in ('PENDING', 'RUNNING', 'COMPENSATING', 'STUCK') and definition_version is not null
           group by definition_version order by definition_version"#
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.version, row.open)).collect())
}

/// Says that a program is at work, and returns the active version, which no activation changes before the end of the
/// transaction.
///
/// # Errors
/// The database's errors.
pub async fn seen(
    connection: &mut PgConnection,
    instance: Uuid,
    name: &str,
    versions: &[i32],
) -> Result<i32, sqlx::Error> {
    sqlx::query!(
        "insert into saga_program (id, definition, versions) values ($1, $2, $3)
         on conflict (id) do update set seen_at = now()",
        instance,
        name,
        versions
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query_scalar!(
        "select version from active_definition where name = $1 for share",
        name
    )
    .fetch_one(connection)
    .await
}

/// Says that a program is no longer at work. Those that ended without a word go after a day.
///
/// # Errors
/// The database's errors.
pub async fn gone(connection: &mut PgConnection, instance: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from saga_program where id = $1 or seen_at < now() - interval '1 day'",
        instance
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A program at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// It.
    pub id: Uuid,
    /// The versions that it has.
    pub versions: Vec<i32>,
    /// By PostgreSQL's clock.
    pub started_at: DateTime<Utc>,
    /// By PostgreSQL's clock.
    pub seen_at: DateTime<Utc>,
}

/// The programs at work.
///
/// # Errors
/// The database's errors.
pub async fn instances(connection: &mut PgConnection, name: &str) -> Result<Vec<Instance>, sqlx::Error> {
    sqlx::query_as!(
        Instance,
        "select id, versions, started_at, seen_at from saga_program
         where definition = $1 and seen_at > now() - make_interval(secs => $2)
         order by started_at, id",
        name,
        LIVE_SECONDS
    )
    .fetch_all(connection)
    .await
}

/// The version that new sagas follow, locked against other activations and against programs that begin.
///
/// # Errors
/// The database's errors.
pub async fn lock_active(connection: &mut PgConnection, name: &str) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        "select version from active_definition where name = $1 for update",
        name
    )
    .fetch_one(connection)
    .await
}

/// Has new sagas follow `version`, and writes down who wanted that and why.
///
/// # Errors
/// The database's errors.
pub async fn activate(
    connection: &mut PgConnection,
    name: &str,
    replaced: i32,
    version: i32,
    actor: &str,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update active_definition set version = $2 where name = $1",
        name,
        version
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into activation (name, replaced, version, actor, reason) values ($1, $2, $3, $4, $5)",
        name,
        replaced,
        version,
        actor,
        reason
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An activation as it was written down.
#[derive(Debug)]
pub struct Activation {
    /// The version before; none for the first one.
    pub replaced: Option<i32>,
    /// The version.
    pub version: i32,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// By PostgreSQL's clock.
    pub at: DateTime<Utc>,
}

/// The last activations, newest first.
///
/// # Errors
/// The database's errors.
pub async fn activations(
    connection: &mut PgConnection,
    name: &str,
    limit: i64,
) -> Result<Vec<Activation>, sqlx::Error> {
    sqlx::query_as!(
        Activation,
        "select replaced, version, actor, reason, at from activation where name = $1 order by id desc limit $2",
        name,
        limit
    )
    .fetch_all(connection)
    .await
}
