//! Commands that were not answered in time. Due times are PostgreSQL's.

use std::{sync::Arc, time::Duration};

use contracts::ids::PurchaseId;
use mailbox::{
    Fault,
    failpoint::{self, Point},
    limit::{STATEMENT_LIMIT, on_connection},
};
use saga::{Direction, Input, StepName, Timer};
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    orchestrator::{Event, Orchestrator, What},
    store,
};

/// How often the timers are looked at. A step's timeout is at least 10 s, so this adds little to it.
const POLL: Duration = Duration::from_millis(250);
/// Sagas in one transaction at most.
const BATCH_SAGAS: i64 = 200;
/// Pause after a failure of the database.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Watches the timers.
#[derive(Debug)]
pub struct Timers {
    orchestrator: Arc<Orchestrator>,
    limit: Duration,
}

impl Timers {
    /// Watches the timers of `orchestrator`'s sagas.
    #[must_use]
    pub fn new(orchestrator: Arc<Orchestrator>) -> Self {
        Self {
            orchestrator,
            limit: STATEMENT_LIMIT,
        }
    }

    /// Gives a batch another limit than [`STATEMENT_LIMIT`]. For tests.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Runs until `shutdown`. A batch that the database leaves open for too long is given up, and the timers are looked at anew on
    /// another connection (tests `timers_whose_connection_fell_silent_…_go_on_on_another`).
    ///
    /// # Errors
    /// Never: faults are logged and tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        while !shutdown.is_cancelled() {
            let pause = match self.fire().await {
                // A full batch: there may be more.
                Ok(fired) if fired >= usize::try_from(BATCH_SAGAS).unwrap_or(usize::MAX) => Duration::ZERO,
                Ok(_) => POLL,
                Err(fault) => {
                    tracing::warn!("timers wait for the database: {fault}");
                    FAILURE_PAUSE
                }
            };
            // Cancel-safe: nothing is under way while it waits.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// Lets every timer that has run out happen, and says how many there were.
    ///
    /// A saga that cannot be worked on holds up no other: the batch is then tried saga by saga, and the one that fails is put
    /// off (test `a_saga_that_cannot_be_read_holds_up_no_others_timer`).
    ///
    /// # Errors
    /// The database's transient faults, and that it has left the batch open for too long.
    pub async fn fire(&self) -> Result<usize, Fault> {
        on_connection(self.orchestrator.pool(), self.limit, async |connection| {
            self.fire_on(connection).await
        })
        .await
    }

    async fn fire_on(&self, connection: &mut PgConnection) -> Result<usize, Fault> {
        match self.fire_up_to(BATCH_SAGAS, connection).await {
            Err(fault @ Fault::Deterministic(_)) => {
                tracing::error!("timers are tried one by one: {fault}");
                match self.fire_up_to(1, connection).await {
                    Err(fault @ Fault::Deterministic(_)) => {
                        let saga = store::timers::put_off_first_due(connection).await?;
                        tracing::error!(purchase.id = ?saga, "a purchase cannot be worked on and is put off: {fault}");
                        Ok(usize::MAX)
                    }
                    // There is more to do, at once.
                    settled => settled.map(|_| usize::MAX),
                }
            }
            settled => settled,
        }
    }

    async fn fire_up_to(&self, sagas: i64, connection: &mut PgConnection) -> Result<usize, Fault> {
        let mut tx = connection.begin().await?;
        let due = store::timers::take_due(&mut tx, sagas).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let fired = due.len();
        let span = spans::timers("purchase-manager", fired);
        let events = due
            .into_iter()
            .map(|timer| {
                let direction = match timer.direction.as_str() {
                    "forward" => Direction::Forward,
                    _ => Direction::Compensation,
                };
                let input = Input::Timer(Timer {
                    step: StepName::from(timer.step),
                    direction,
                    attempt: timer.attempt.unsigned_abs(),
                });
                Event {
                    purchase_id: PurchaseId(timer.saga_id),
                    what: What::Input(input),
                    cause: None,
                }
            })
            .collect();
        let happen = async {
            let worked = self.orchestrator.work(&mut tx, events).await?;
            self.orchestrator.outbox().append(&mut tx, &worked.outgoing).await
        };
        if let Err(fault) = happen.instrument(span).await {
            // Awaited, so that whoever tries next, perhaps on another connection, finds no lock of this one: it would take the
            // sagas for somebody else's.
            tx.rollback().await?;
            return Err(fault);
        }
        failpoint::reach(Point::TimersWritten).await;
        tx.commit().await?;
        failpoint::reach(Point::TimersCommitted).await;
        self.orchestrator.outbox().wake_relay();
        Ok(fired)
    }
}
