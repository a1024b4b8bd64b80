//! How long the database may leave a question open.
//!
//! A connection whose other end has vanished without a word answers nothing, ever: the client would wait until TCP gives up,
//! which takes a quarter of an hour or more. So whoever must not stand still puts a limit to each of its waits, gives up
//! the connection, and begins again on another one. Tests: `half_open::…` in `tests/it`.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};

use crate::Fault;

/// The longest that one statement of the relay, or one transaction of a consumer, may take. A batch of 500 messages takes
/// some 50 ms; this leaves room for a checkpoint, a failover and a wait for a lock, and is short against the ten minutes
/// within which a purchase ends.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(30);

/// The database has left a question open for too long.
#[derive(Debug, thiserror::Error)]
#[error("the database has not answered within {0:?}; the connection is given up")]
pub struct Unanswered(pub Duration);

/// Waits for `work`, at most for `limit`. After [`Unanswered`] the connection that `work` used is in an unknown state: drop
/// it, do not use it again.
pub(crate) async fn answered<T, E>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T>
where
    E: Into<anyhow::Error>,
{
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Unanswered(limit).into()),
    }
}

/// Waits for `work`, at most for `limit`, and drops it then. For work that takes its connections from a pool which gives up those
/// that fell silent (`host::database::open`). One that does so while it is given back may keep its place all the same: whoever must
/// not lose a place goes by [`on_connection`].
///
/// # Errors
/// Those of `work`, and [`Fault::Transient`] with [`Unanswered`] when the limit is reached. Whether what was committed last has
/// happened is unknown then, as after any lost connection.
pub async fn within<T, E>(limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, Fault>
where
    E: Into<Fault>,
{
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Fault::transient(Unanswered(limit))),
    }
}

/// Runs `work` on a connection of the pool, at most for `limit`. A connection that does not answer in time is closed without
/// a word rather than given back, so that nobody else waits for it.
///
/// Whether what `work` committed last has happened is unknown after such an end, as after any lost connection: the inbox
/// and the barrier make the repetition harmless.
///
/// # Errors
/// Those of `work`, and [`Fault::Transient`] with [`Unanswered`] when the limit is reached.
pub async fn on_connection<T>(
    pool: &PgPool,
    limit: Duration,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let unanswered = |_| Fault::transient(Unanswered(limit));
    // Giving up here is safe: a connection that was about to be handed out is dropped by the pool.
    let mut connection = tokio::time::timeout(limit, pool.acquire())
        .await
        .map_err(unanswered)??;
    match tokio::time::timeout(limit, work(&mut connection)).await {
        Ok(result) => {
            // The pool pings what it is given back. Left to itself it would wait for ever for a connection that falls silent
            // just then, and keep its place.
            tokio::spawn(tokio::time::timeout(limit, connection.return_to_pool()));
            result
        }
        Err(elapsed) => {
            drop(connection.detach());
            Err(unanswered(elapsed))
        }
    }
}
