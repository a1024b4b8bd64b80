//! The live feed: from the events' topic to this process' own subscribers.
//!
//! A subscriber begins before it reads the current state, so nothing falls between the two. The feed is bounded: who
//! lags is told so, and reads the current state again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use contracts::{ids::PurchaseId, purchase_manager::PurchaseUpdated};
use mailbox::Received;
use tokio::sync::broadcast;

use crate::domain::purchase::Purchase;

/// Events of one purchase that wait for a subscriber at most. A purchase without trouble has about a dozen.
const WAITING: usize = 32;

/// Who listens to which purchase. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<HashMap<PurchaseId, broadcast::Sender<Arc<Purchase>>>>>);

impl Hub {
    /// Begins to listen. Ends when the listener is dropped.
    pub fn listen(&self, purchase: PurchaseId) -> Listener {
        let mut listened = self.0.lock().expect("nothing panics while it holds this lock");
        let sender = listened
            .entry(purchase)
            .or_insert_with(|| broadcast::channel(WAITING).0);
        Listener {
            receiver: sender.subscribe(),
            purchase,
            hub: self.clone(),
        }
    }

    /// Hands a message to those who listen to its purchase. Read only when somebody does.
    pub fn hand_on(&self, message: &Received) {
        let Ok(purchase) = message.key.parse::<PurchaseId>() else {
            return;
        };
        if !self
            .0
            .lock()
            .expect("nothing panics while it holds this lock")
            .contains_key(&purchase)
        {
            return;
        }
        let Ok(Some(told)) = message.decode_if::<PurchaseUpdated>() else {
            return;
        };
        match Purchase::try_from(told) {
            Ok(update) => self.publish(Arc::new(update)),
            Err(error) => tracing::warn!(purchase.id = %purchase, "a live event is skipped: {error}"),
        }
    }

    fn publish(&self, update: Arc<Purchase>) {
        let listened = self.0.lock().expect("nothing panics while it holds this lock");
        if let Some(sender) = listened.get(&update.id) {
            // Fails only when the last listener is just leaving.
            drop(sender.send(update));
        }
    }
}

/// One subscriber's end.
#[derive(Debug)]
pub(crate) struct Listener {
    receiver: broadcast::Receiver<Arc<Purchase>>,
    purchase: PurchaseId,
    hub: Hub,
}

impl Listener {
    /// The next event, or none when some were missed: then the current state has to be read. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Purchase>> {
        // The sender is in the hub as long as this listener lives, so the channel is never closed here.
        self.receiver.recv().await.ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listened = self
            .hub
            .0
            .lock()
            .expect("nothing panics while it holds this lock");
        // This listener's own receiver still counts.
        if listened
            .get(&self.purchase)
            .is_some_and(|sender| sender.receiver_count() <= 1)
        {
            listened.remove(&self.purchase);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use contracts::{
        ids::CustomerId,
        money::{Currency, Money},
    };

    use super::*;
    use crate::domain::words::PurchaseState;

    fn update(id: PurchaseId, version: i32) -> Arc<Purchase> {
        Arc::new(Purchase {
            id,
            customer: CustomerId("customer-1".to_owned()),
            reference: id.reference(),
            version,
            state: PurchaseState::Running,
            lines: Vec::new(),
            total: Money::new(0, Currency::EUR),
            home_delivery: false,
            steps: Vec::new(),
            failure: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        })
    }

    #[tokio::test]
    async fn a_listener_hears_of_its_purchase_alone_and_leaves_nothing_behind() {
        let hub = Hub::default();
        let (mine, other) = (PurchaseId::fresh(), PurchaseId::fresh());
        let mut listener = hub.listen(mine);
        let second = hub.listen(mine);
        hub.publish(update(other, 1));
        hub.publish(update(mine, 2));
        assert_eq!(listener.next().await.map(|u| u.version), Some(2));
        drop(second);
        assert_eq!(hub.0.lock().unwrap().len(), 1);
        drop(listener);
        assert!(hub.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_lags_is_told_so() {
        let hub = Hub::default();
        let id = PurchaseId::fresh();
        let mut listener = hub.listen(id);
        for version in 0..=i32::try_from(WAITING).unwrap() {
            hub.publish(update(id, version));
        }
        assert_eq!(listener.next().await, None);
        assert_eq!(listener.next().await.map(|u| u.version), Some(1));
    }
}
