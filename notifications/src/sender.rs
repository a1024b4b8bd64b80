//! Claim, send, commit the outcome: a mail server does not fit in a transaction.
//!
//! A claim is committed before the server is called. It is renewed while the sender works and lapses a minute after its sender was
//! killed (test `sending::the_mails_of_a_killed_instance_wait_for_the_lease_and_no_longer`); a sender that stood still that long begins no
//! mail any more (test `sending::a_sender_that_stood_still_begins_no_mail`). Several instances share
//! the work: each takes what no other one holds. Whether a mail whose server fell silent was taken cannot be known, so it is
//! sent again, with the same Message-ID, by which the customer's mail program may know it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use contracts::{http::Contact, ids::CustomerId, trace::TraceContext};
use futures::StreamExt;
use mailbox::{
    Fault,
    failpoint::{self, Point},
    limit::{STATEMENT_LIMIT, within},
};
use sqlx::PgPool;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    SERVICE,
    clients::Clients,
    domain::{Next, Tried, after},
    letter,
    mailer::{Mail, Mailer},
    store::{self, Claimed, Settled},
};

/// How often it looks without being woken: mails whose pause is over, and claims that lapsed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a claim holds. While its sender works the claim is renewed, four times within its time; so this is how long the mails of
/// a process that was killed wait for another one.
const LEASE: Duration = Duration::from_secs(60);

/// Sends what is due.
#[derive(Debug)]
pub struct Sender {
    pool: PgPool,
    clients: Clients,
    mailer: Mailer,
    max_attempts: u32,
    lease: Duration,
    wake: Arc<Notify>,
}

impl Sender {
    /// A sender that `wake` wakes.
    #[must_use]
    pub fn new(pool: PgPool, clients: Clients, mailer: Mailer, max_attempts: u32, wake: Arc<Notify>) -> Self {
        Self {
            pool,
            clients,
            mailer,
            max_attempts,
            lease: LEASE,
            wake,
        }
    }

    /// Gives claims another time than a minute. For tests.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Runs until `shutdown`. What is under way then is finished; what was claimed and not begun is given back.
    ///
    /// # Errors
    /// None: what fails is tried again.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Cancel-safe: a tick that is not taken comes again, and so does a call that is not heard.
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = tick.tick() => {}
                () = self.wake.notified() => {}
            }
            while !shutdown.is_cancelled() {
                match self.send_due(&shutdown).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!("mails could not be sent, tried again soon: {error}");
                        break;
                    }
                }
            }
        }
    }

    /// Sends one batch of what is due. Says whether there may be more.
    ///
    /// # Errors
    /// The database's. Claims that could not be settled lapse.
    pub async fn send_due(&self, shutdown: &CancellationToken) -> Result<bool, Fault> {
        let (limit, at_once) = self.mailer.batch();
        // From before the claim, so that ours ends before PostgreSQL's.
        let lease = Lease::begin(self.lease);
        let claimed = within(STATEMENT_LIMIT, store::claim(&self.pool, limit, self.lease)).await?;
        if claimed.is_empty() {
            return Ok(false);
        }
        failpoint::reach(Point::MailsClaimed).await;
        let claims: Vec<(Uuid, i32)> = claimed.iter().map(|one| (one.id, one.attempt)).collect();
        let full = i64::try_from(claimed.len()).is_ok_and(|taken| taken >= limit);
        let mut customers: Vec<CustomerId> = claimed.iter().map(|one| one.customer_id.clone()).collect();
        customers.sort_unstable();
        customers.dedup();
        let contacts = match self.clients.contacts(customers).await {
            Ok(contacts) => Ok(contacts),
            Err(error) => {
                tracing::warn!(mails = claimed.len(), "no addresses can be had: {error:#}");
                Err(format!("no address can be had: {error:#}"))
            }
        };
        let (contacts, lease) = (&contacts, &lease);
        let sending = futures::stream::iter(claimed)
            .map(|one| self.settle(one, contacts, lease, shutdown))
            .buffer_unordered(at_once)
            .collect();
        // Dropping the renewal loses nothing: what was sent is settled at once.
        let settled: Vec<Settled> = tokio::select! {
            settled = sending => settled,
            never = self.renew(&claims, lease) => match never {},
        };
        failpoint::reach(Point::MailsSent).await;
        within(STATEMENT_LIMIT, store::settle(&self.pool, &settled)).await?;
        // Where no addresses can be had, the next batch would have none either.
        Ok(full && contacts.is_ok())
    }

    /// Keeps the claims for as long as it is polled. A database that does not answer in time lets them lapse.
    async fn renew(&self, claims: &[(Uuid, i32)], lease: &Lease) -> std::convert::Infallible {
        let pause = lease.length / 4;
        loop {
            tokio::time::sleep(pause).await;
            let asked_at = Instant::now();
            match within(pause, store::renew(&self.pool, claims, lease.length)).await {
                Ok(()) => lease.renewed(asked_at),
                Err(fault) => tracing::warn!(mails = claims.len(), "claims could not be renewed: {fault}"),
            }
        }
    }

    async fn settle(
        &self,
        claimed: Claimed,
        contacts: &Result<HashMap<CustomerId, Contact>, String>,
        lease: &Lease,
        shutdown: &CancellationToken,
    ) -> Settled {
        let tried = match contacts {
            _ if shutdown.is_cancelled() => Tried::NotTried("the service stopped".to_owned()),
            // This process stood still, or the database was away: another one may have taken the mail over.
            _ if lease.has_lapsed() => Tried::NotTried("its claim lapsed".to_owned()),
            Err(why) => Tried::NotTried(why.clone()),
            Ok(contacts) => match contacts.get(&claimed.customer_id) {
                Some(contact) => self.send(&claimed, contact).await,
                None => Tried::Nobody,
            },
        };
        let attempt = u32::try_from(claimed.attempt).unwrap_or(u32::MAX);
        let next = after(tried, attempt, self.max_attempts);
        tell(&claimed, &next);
        Settled {
            id: claimed.id,
            attempt: claimed.attempt,
            next,
        }
    }

    async fn send(&self, claimed: &Claimed, contact: &Contact) -> Tried {
        let mail = Mail {
            id: claimed.id,
            ended_at_micros: claimed.ended_at_micros,
            letter: letter::write(claimed.outcome, &claimed.purchase, contact.name.as_deref()),
        };
        let trace: Option<TraceContext> = claimed.trace.as_deref().and_then(|trace| trace.parse().ok());
        let span = match self.mailer.destination() {
            Some(destination) => spans::smtp_send(SERVICE, &destination.host, destination.port, trace),
            None => spans::mail_written(SERVICE, trace),
        };
        let tried = self.mailer.send(contact, &mail).instrument(span.clone()).await;
        match &tried {
            Tried::Sent | Tried::Nobody | Tried::NotTried(_) => {}
            Tried::Later(_) => spans::failed(&span, "later"),
            Tried::Never(_) => spans::failed(&span, "never"),
        }
        tried
    }
}

/// How long the claims of a batch hold, by this process's clock, which goes on while the process is stopped.
#[derive(Debug)]
struct Lease {
    length: Duration,
    since: Mutex<Instant>,
}

impl Lease {
    fn begin(length: Duration) -> Self {
        Self {
            length,
            since: Mutex::new(Instant::now()),
        }
    }

    fn renewed(&self, at: Instant) {
        *self.since.lock().expect("nobody panics with it") = at;
    }

    fn has_lapsed(&self) -> bool {
        self.since.lock().expect("nobody panics with it").elapsed() >= self.length
    }
}

fn tell(claimed: &Claimed, next: &Next) {
    let (purchase, attempt) = (claimed.purchase_id, claimed.attempt);
    let result = match next {
        Next::Sent => {
            tracing::info!(purchase.id = %purchase, attempt, "a mail is sent");
            "sent"
        }
        Next::Skipped(reason) => {
            tracing::info!(purchase.id = %purchase, "no mail is sent: {reason}");
            "skipped"
        }
        Next::Again { reason, counts, .. } => {
            if *counts {
                tracing::warn!(purchase.id = %purchase, attempt, "a mail is put off: {reason}");
            }
            "put_off"
        }
        Next::Failed(reason) => {
            tracing::error!(purchase.id = %purchase, attempt, "a mail is parked: {reason}");
            "failed"
        }
    };
    metrics::counter!("belay_notifications_total", "result" => result).increment(1);
}
