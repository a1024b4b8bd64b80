//! Claim, send, commit the outcome: a mail server does not fit in a transaction.
//!
//! A claim is committed before the server is called, and lapses when nobody comes back from the call. Several instances share
//! the work: each takes what no other one holds. Whether a mail whose server fell silent was taken cannot be known, so it is
//! sent again, with the same Message-ID, by which the customer's mail program may know it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use contracts::{http::Contact, ids::CustomerId, trace::TraceContext};
use futures::StreamExt;
use mailbox::failpoint::{self, Point};
use sqlx::PgPool;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

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
/// How long a claim holds: longer than a whole batch can take (20 mails, 4 at a time, a minute and a half each).
const LEASE: Duration = Duration::from_secs(600);

/// Sends what is due.
#[derive(Debug)]
pub struct Sender {
    pool: PgPool,
    clients: Clients,
    mailer: Mailer,
    max_attempts: u32,
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
            wake,
        }
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
    pub async fn send_due(&self, shutdown: &CancellationToken) -> Result<bool, sqlx::Error> {
        let (limit, at_once) = self.mailer.batch();
        let claimed = store::claim(&self.pool, limit, LEASE).await?;
        if claimed.is_empty() {
            return Ok(false);
        }
        failpoint::reach(Point::MailsClaimed).await;
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
        let contacts = &contacts;
        let settled: Vec<Settled> = futures::stream::iter(claimed)
            .map(|one| self.settle(one, contacts, shutdown))
            .buffer_unordered(at_once)
            .collect()
            .await;
        failpoint::reach(Point::MailsSent).await;
        store::settle(&self.pool, &settled).await?;
        // Where no addresses can be had, the next batch would have none either.
        Ok(full && contacts.is_ok())
    }

    async fn settle(
        &self,
        claimed: Claimed,
        contacts: &Result<HashMap<CustomerId, Contact>, String>,
        shutdown: &CancellationToken,
    ) -> Settled {
        let tried = match contacts {
            _ if shutdown.is_cancelled() => Tried::NotTried("the service stopped".to_owned()),
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
