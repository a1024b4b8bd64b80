//! The live feed: from the events' topics to this process' own subscribers.
//!
//! A subscriber begins before it reads the current state, so nothing falls between the two. The feed is bounded: who
//! lags is told so, and reads the current state again.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
};

use contracts::{
    ids::{CustomerId, PurchaseId},
    product_admin::ProductChanged,
    purchase_manager::PurchaseUpdated,
};
use mailbox::Received;
use tokio::sync::broadcast;

use crate::domain::{product::Product, purchase::Purchase};

/// Events of one purchase that wait for a subscriber at most. A purchase without trouble has about a dozen.
const WAITING: usize = 32;
/// Events that wait for a subscriber who follows more than one purchase or product at most.
const WAITING_OF_MANY: usize = 256;

/// Whoever follows all of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct All;

/// Who listens to what. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hub {
    purchases: Channels<PurchaseId, Purchase>,
    customers: Channels<CustomerId, Purchase>,
    all_purchases: Channels<All, Purchase>,
    products: Channels<All, Product>,
}

impl Hub {
    /// Begins to listen to one purchase. Ends when the listener is dropped.
    pub fn listen(&self, purchase: PurchaseId) -> Listener<PurchaseId, Purchase> {
        self.purchases.listen(purchase, WAITING)
    }

    /// Begins to listen to a customer's purchases.
    pub fn listen_to_customer(&self, customer: CustomerId) -> Listener<CustomerId, Purchase> {
        self.customers.listen(customer, WAITING_OF_MANY)
    }

    /// Begins to listen to every purchase.
    pub fn listen_to_purchases(&self) -> Listener<All, Purchase> {
        self.all_purchases.listen(All, WAITING_OF_MANY)
    }

    /// Begins to listen to every product.
    pub fn listen_to_products(&self) -> Listener<All, Product> {
        self.products.listen(All, WAITING_OF_MANY)
    }

    /// Hands a purchase's event to those who listen. Read only when somebody may.
    pub fn hand_on(&self, message: &Received) {
        let Ok(purchase) = message.key.parse::<PurchaseId>() else {
            return;
        };
        let somebody =
            self.purchases.has(&purchase) || !self.customers.is_empty() || !self.all_purchases.is_empty();
        if !somebody {
            return;
        }
        let Ok(Some(told)) = message.decode_if::<PurchaseUpdated>() else {
            return;
        };
        match Purchase::try_from(told) {
            Ok(update) => self.publish(&Arc::new(update)),
            Err(error) => tracing::warn!(purchase.id = %purchase, "a live event is skipped: {error}"),
        }
    }

    /// Hands a product's event to those who listen. Read only when somebody does.
    pub fn hand_on_product(&self, message: &Received) {
        if self.products.is_empty() {
            return;
        }
        let Ok(Some(told)) = message.decode_if::<ProductChanged>() else {
            return;
        };
        match Product::try_from(told) {
            Ok(update) => self.products.publish(&All, &Arc::new(update)),
            Err(error) => tracing::warn!(product.id = %message.key, "a live event is skipped: {error}"),
        }
    }

    fn publish(&self, update: &Arc<Purchase>) {
        self.purchases.publish(&update.id, update);
        self.customers.publish(&update.customer, update);
        self.all_purchases.publish(&All, update);
    }
}

/// Who listens, by what they listen to.
#[derive(Debug)]
struct Channels<Key, Update>(Arc<Mutex<HashMap<Key, broadcast::Sender<Arc<Update>>>>>);

impl<Key, Update> Clone for Channels<Key, Update> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Key, Update> Default for Channels<Key, Update> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<Key: Clone + Eq + Hash, Update> Channels<Key, Update> {
    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<Key, broadcast::Sender<Arc<Update>>>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }

    fn listen(&self, key: Key, waiting: usize) -> Listener<Key, Update> {
        let receiver = self
            .open()
            .entry(key.clone())
            .or_insert_with(|| broadcast::channel(waiting).0)
            .subscribe();
        Listener {
            receiver,
            key,
            channels: self.clone(),
        }
    }

    fn has(&self, key: &Key) -> bool {
        self.open().contains_key(key)
    }

    fn is_empty(&self) -> bool {
        self.open().is_empty()
    }

    fn publish(&self, key: &Key, update: &Arc<Update>) {
        if let Some(sender) = self.open().get(key) {
            // Fails only when the last listener is just leaving.
            drop(sender.send(update.clone()));
        }
    }
}

/// One subscriber's end.
#[derive(Debug)]
pub(crate) struct Listener<Key: Clone + Eq + Hash, Update> {
    receiver: broadcast::Receiver<Arc<Update>>,
    key: Key,
    channels: Channels<Key, Update>,
}

impl<Key: Clone + Eq + Hash, Update> Listener<Key, Update> {
    /// The next event, or none when some were missed: then the current state has to be read. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Update>> {
        // The sender is in the hub as long as this listener lives, so the channel is never closed here.
        self.receiver.recv().await.ok()
    }
}

impl<Key: Clone + Eq + Hash, Update> Drop for Listener<Key, Update> {
    fn drop(&mut self) {
        let mut listened = self.channels.open();
        // This listener's own receiver still counts.
        if listened
            .get(&self.key)
            .is_some_and(|sender| sender.receiver_count() <= 1)
        {
            listened.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use contracts::money::{Currency, Money};

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
        hub.publish(&update(other, 1));
        hub.publish(&update(mine, 2));
        assert_eq!(listener.next().await.map(|u| u.version), Some(2));
        drop(second);
        assert!(hub.purchases.has(&mine));
        drop(listener);
        assert!(hub.purchases.is_empty());
    }

    #[tokio::test]
    async fn who_listens_to_many_hears_of_all_that_is_theirs() {
        let hub = Hub::default();
        let mut own = hub.listen_to_customer(CustomerId("customer-1".to_owned()));
        let mut all = hub.listen_to_purchases();
        let mut foreign = hub.listen_to_customer(CustomerId("customer-2".to_owned()));
        hub.publish(&update(PurchaseId::fresh(), 1));
        hub.publish(&update(PurchaseId::fresh(), 2));
        for version in [1, 2] {
            assert_eq!(own.next().await.map(|u| u.version), Some(version));
            assert_eq!(all.next().await.map(|u| u.version), Some(version));
        }
        assert!(foreign.receiver.try_recv().is_err());
        drop((own, all, foreign));
        assert!(hub.customers.is_empty() && hub.all_purchases.is_empty());
    }

    #[tokio::test]
    async fn who_lags_is_told_so() {
        let hub = Hub::default();
        let id = PurchaseId::fresh();
        let mut listener = hub.listen(id);
        for version in 0..=i32::try_from(WAITING).unwrap() {
            hub.publish(&update(id, version));
        }
        assert_eq!(listener.next().await, None);
        assert_eq!(listener.next().await.map(|u| u.version), Some(1));
    }
}
