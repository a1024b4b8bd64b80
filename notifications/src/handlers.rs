//! Events from Kafka.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contracts::purchase_manager::PurchaseUpdated;
use mailbox::{Fault, Handler, Outgoing, Received};
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::{domain::Notice, store};

/// Writes a row for every outcome that it is told of.
#[derive(Debug)]
pub struct Events {
    stale_after: Duration,
    wake: Arc<Notify>,
}

impl Events {
    /// A handler that wakes the sender by `wake`. What ended longer than `stale_after` ago gets a row and no mail.
    #[must_use]
    pub fn new(stale_after: Duration, wake: Arc<Notify>) -> Self {
        Self { stale_after, wake }
    }
}

#[async_trait]
impl Handler for Events {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        batch: &[Received],
    ) -> Result<Vec<Outgoing>, Fault> {
        let mut notices = Vec::new();
        for message in batch {
            let told = message
                .decode_if::<PurchaseUpdated>()?
                .ok_or_else(|| message.unexpected())?;
            let trace = message.envelope.trace.map(|trace| trace.to_string());
            notices.extend(Notice::of(told, trace).map_err(Fault::deterministic)?);
        }
        store::record(connection, &notices, self.stale_after).await?;
        Ok(Vec::new())
    }

    fn committed(&self, _batch: &[Received]) {
        self.wake.notify_one();
    }
}
