//! How long the mailbox remembers, and the deleting of what it need not remember any more.
//!
//! | table | kept | why that is safe |
//! |---|---|---|
//! | `inbox` | [`Retention::inbox_days`] | longer than any topic keeps a message, so none that is forgotten can be delivered again; product events, which a compacted topic keeps for ever, change nothing when they are handled again |
//! | `operation` | [`Retention::operation_days`] | longer than any purchase is worked on: purchase-manager sends no command for an older one |
//! | `request` | [`Retention::request_days`] | longer than anybody repeats a request |
//! | `parked` | [`Retention::parked_days`] after it was settled; for ever until then | a record of who did what |
//!
//! The age is by PostgreSQL's clock. Each batch is one small statement of its own, and skips what somebody holds. Tests:
//! `retention::…` in `tests/it`.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    Fault,
    limit::{STATEMENT_LIMIT, on_connection},
};

/// The shortest memory of an inbox, in days: a day more than the longest retention of any topic
/// (`contracts::topics::TOPICS`; test `an_inbox_remembers_longer_than_any_topic_keeps`).
pub const LEAST_INBOX_DAYS: u32 = 8;
/// The shortest memory of the operation barrier, in days. A purchase is worked on for [`WORKED_ON_DAYS`] at most.
pub const LEAST_OPERATION_DAYS: u32 = 90;
/// Days after which nothing is commanded any more for a purchase. Far below [`LEAST_OPERATION_DAYS`], so that the barrier knows what
/// was done for whatever is still commanded.
pub const WORKED_ON_DAYS: u32 = 60;
/// The shortest memory of idempotency keys, in days: the 24 hours that callers are promised, and a day more.
pub const LEAST_REQUEST_DAYS: u32 = 2;
/// The shortest memory of what operators did with parked messages, in days.
pub const LEAST_PARKED_DAYS: u32 = 30;

/// Rows of one delete at most: some 10 ms of work, so that nobody waits for a lock or for room in the log.
pub const BATCH_ROWS: i64 = 1_000;
/// Between two rounds. What is deleted an hour late was kept an hour longer.
const EVERY: Duration = Duration::from_secs(300);
/// Between two batches, so that deleting a backlog takes a fraction of the database's time.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the mailbox remembers. Never less than what the order of things needs, whatever is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    inbox_days: u32,
    operation_days: u32,
    request_days: u32,
    parked_days: u32,
}

impl Default for Retention {
    /// Two weeks, half a year, a week, a year.
    fn default() -> Self {
        Self::new(14, 180, 7, 365)
    }
}

impl Retention {
    /// So many days each, and at least the least that is safe: [`LEAST_INBOX_DAYS`], [`LEAST_OPERATION_DAYS`],
    /// [`LEAST_REQUEST_DAYS`], [`LEAST_PARKED_DAYS`].
    #[must_use]
    pub fn new(inbox_days: u32, operation_days: u32, request_days: u32, parked_days: u32) -> Self {
        Self {
            inbox_days: inbox_days.max(LEAST_INBOX_DAYS),
            operation_days: operation_days.max(LEAST_OPERATION_DAYS),
            request_days: request_days.max(LEAST_REQUEST_DAYS),
            parked_days: parked_days.max(LEAST_PARKED_DAYS),
        }
    }

    /// Days for which a handled message is known.
    #[must_use]
    pub fn inbox_days(&self) -> u32 {
        self.inbox_days
    }

    /// Days for which it is known what was done for a command.
    #[must_use]
    pub fn operation_days(&self) -> u32 {
        self.operation_days
    }

    /// Days for which an idempotency key of an HTTP write is known.
    #[must_use]
    pub fn request_days(&self) -> u32 {
        self.request_days
    }

    /// Days for which a parked message is kept after it was settled.
    #[must_use]
    pub fn parked_days(&self) -> u32 {
        self.parked_days
    }
}

/// Rows that one batch deleted of each table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Of `inbox`.
    pub inbox: u64,
    /// Of `operation`.
    pub operation: u64,
    /// Of `request`.
    pub request: u64,
    /// Of `parked`.
    pub parked: u64,
}

impl Pruned {
    /// Whether there may be more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let most = self.inbox.max(self.operation).max(self.request).max(self.parked);
        most >= BATCH_ROWS.unsigned_abs()
    }
}

/// Deletes what the mailbox of `service` need not remember any more, every five minutes until `shutdown`.
///
/// # Errors
/// Never: faults are logged, and tried again with the next round.
pub async fn run(
    pool: PgPool,
    service: &'static str,
    retention: Retention,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut rounds = Rounds::until(shutdown);
    while rounds.next().await {
        let pruned = on_connection(&pool, STATEMENT_LIMIT, async |connection| {
            prune(connection, &retention).await
        })
        .await;
        rounds.came_to(pruned.map(|pruned| {
            for (table, rows) in [
                ("inbox", pruned.inbox),
                ("operation", pruned.operation),
                ("request", pruned.request),
                ("parked", pruned.parked),
            ] {
                count(service, table, rows);
            }
            pruned.is_full()
        }));
    }
    Ok(())
}

/// Counts rows that were deleted because their time was over.
pub fn count(service: &'static str, table: &'static str, rows: u64) {
    metrics::counter!("belay_pruned_rows_total", "service" => service, "table" => table).increment(rows);
}

/// When to delete: every five minutes until shutdown, and again at once for as long as there may be more.
#[derive(Debug)]
pub struct Rounds {
    tick: Interval,
    shutdown: CancellationToken,
    /// The last batch was full.
    goes_on: bool,
}

impl Rounds {
    /// Rounds until `shutdown`, the first one in five minutes: a service that has just started has better things to do.
    #[must_use]
    pub fn until(shutdown: CancellationToken) -> Self {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        Self {
            tick,
            shutdown,
            goes_on: false,
        }
    }

    /// Waits until a batch is to be deleted; false when the service stops. Cancel-safe: a tick that is not taken comes again.
    pub async fn next(&mut self) -> bool {
        let wait = async {
            if self.goes_on {
                tokio::time::sleep(PAUSE).await;
            } else {
                self.tick.tick().await;
            }
        };
        self.shutdown.run_until_cancelled(wait).await.is_some()
    }

    /// Takes what a batch came to: whether there may be more. Faults are logged, and tried again with the next round.
    pub fn came_to(&mut self, batch: Result<bool, Fault>) {
        self.goes_on = batch.unwrap_or_else(|fault| {
            tracing::warn!(
                "what is past its time could not be deleted, tried again in some minutes: {fault}"
            );
            false
        });
    }
}

/// Deletes one batch of each table, each in a transaction of its own, unless the connection is in one already.
///
/// # Errors
/// The database's faults.
pub async fn prune(connection: &mut PgConnection, retention: &Retention) -> Result<Pruned, Fault> {
    Ok(Pruned {
        inbox: prune_inbox(connection, days(retention.inbox_days)).await?,
        operation: prune_operations(connection, days(retention.operation_days)).await?,
        request: prune_requests(connection, days(retention.request_days)).await?,
        parked: prune_parked(connection, days(retention.parked_days)).await?,
    })
}

/// As PostgreSQL takes it. More than a life's days are as many as are kept at all.
fn days(days: u32) -> i32 {
    i32::try_from(days.min(36_500)).expect("a hundred years are few days")
}

async fn prune_inbox(connection: &mut PgConnection, days: i32) -> Result<u64, sqlx::Error> {
    let gone = sqlx::query!(
        "delete from inbox i using (
             select consumer, message_id from inbox where at < now() - make_interval(days => $1)
             order by at limit $2 for update skip locked) old
         where i.consumer = old.consumer and i.message_id = old.message_id",
        days,
        BATCH_ROWS
    );
    Ok(gone.execute(connection).await?.rows_affected())
}

async fn prune_operations(connection: &mut PgConnection, days: i32) -> Result<u64, sqlx::Error> {
    let gone = sqlx::query!(
        "delete from operation o using (
             select saga_id, step, direction from operation where at < now() - make_interval(days => $1)
             order by at limit $2 for update skip locked) old
         where o.saga_id = old.saga_id and o.step = old.step and o.direction = old.direction",
        days,
        BATCH_ROWS
    );
    Ok(gone.execute(connection).await?.rows_affected())
}

async fn prune_requests(connection: &mut PgConnection, days: i32) -> Result<u64, sqlx::Error> {
    let gone = sqlx::query!(
        "delete from request r using (
             select scope, key from request where at < now() - make_interval(days => $1)
             order by at limit $2 for update skip locked) old
         where r.scope = old.scope and r.key = old.key",
        days,
        BATCH_ROWS
    );
    Ok(gone.execute(connection).await?.rows_affected())
}

/// What operators wanted goes with the message that they wanted it for.
async fn prune_parked(connection: &mut PgConnection, days: i32) -> Result<u64, sqlx::Error> {
    let gone = sqlx::query!(
        "with old as materialized (
             select id from parked where resolved_at < now() - make_interval(days => $1)
             order by resolved_at limit $2 for update skip locked
         ), actions as (
             delete from parked_action a using old where a.parked_id = old.id
         )
         delete from parked p using old where p.id = old.id",
        days,
        BATCH_ROWS
    );
    Ok(gone.execute(connection).await?.rows_affected())
}
