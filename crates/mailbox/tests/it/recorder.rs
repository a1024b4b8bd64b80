//! A handler that writes down what it is given, and fails where its messages say so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use contracts::orders::OrderRejected;
use mailbox::{Fault, Handler, Outgoing, Received};
use sqlx::PgConnection;

/// Words of a message that no repetition mends.
pub const POISON: &str = "poison";
/// Words of a message that breaks a constraint of the table.
pub const AGAINST_THE_CONSTRAINT: &str = "against the constraint";

#[derive(Debug, Clone, Default)]
pub struct Recorder {
    /// Calls so far.
    pub calls: Arc<AtomicUsize>,
    /// Calls to come that end in the loss of the connection, after everything was written.
    pub connections_to_lose: Arc<AtomicUsize>,
    /// A message to be sent for every one that is handled.
    pub answer: Option<Outgoing>,
    /// Whether the poison is harmless by now.
    pub mended: Arc<AtomicBool>,
    /// What is said of the poison.
    pub complaint: Arc<std::sync::Mutex<Option<String>>>,
    /// Batches committed, by size.
    pub committed: Arc<std::sync::Mutex<Vec<usize>>>,
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        batch: &[Received],
    ) -> Result<Vec<Outgoing>, Fault> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        for message in batch {
            let Some(content) = message.decode_if::<OrderRejected>()? else {
                return Err(message.unexpected());
            };
            if content.reason == POISON && !self.mended.load(Ordering::SeqCst) {
                let complaint = self.complaint.lock().unwrap().clone();
                let complaint = complaint.unwrap_or_else(|| "this message cannot be handled".to_owned());
                return Err(Fault::deterministic(anyhow::anyhow!(complaint)));
            }
            sqlx::query("insert into handled (key, words) values ($1, $2)")
                .bind(&message.key)
                .bind(&content.reason)
                .execute(&mut *connection)
                .await?;
        }
        let lose = |left: usize| left.checked_sub(1);
        if self
            .connections_to_lose
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose)
            .is_ok()
        {
            sqlx::query("select pg_terminate_backend(pg_backend_pid())")
                .execute(&mut *connection)
                .await?;
        }
        let answers = self
            .answer
            .iter()
            .flat_map(|answer| batch.iter().map(|_| answer.clone()));
        Ok(answers
            .map(|answer| Outgoing {
                id: contracts::ids::MessageId::fresh(),
                ..answer
            })
            .collect())
    }

    fn committed(&self, batch: &[Received]) {
        self.committed.lock().unwrap().push(batch.len());
    }
}
