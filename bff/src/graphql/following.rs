//! What a subscription does between its client and the hub: the current state first, then whatever is newer, and a look at
//! the owner's table now and then, so that a lost event delays an update and costs none.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use contracts::ids::{CustomerId, ProductId, PurchaseId};

use super::{failure::Failure, purchases::Wanted, reader::Reader};
use crate::{
    domain::{product::Product, purchase::Purchase, words::PurchaseState},
    live::{All, Listener},
};

/// How long a subscriber waits for an event before the current state is read again.
pub(super) const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Purchases that are read again at most; also those of the beginning.
const READ_AT_MOST: i64 = 100;
/// Purchases whose versions a subscription remembers. Should an older one be told again, clients drop it by its version.
const REMEMBERED: usize = 10_000;
/// What can still change.
const OPEN: [PurchaseState; 4] = [
    PurchaseState::Pending,
    PurchaseState::Running,
    PurchaseState::Compensating,
    PurchaseState::Stuck,
];

/// The next event, or none when the current state is to be read: some were missed, or none came.
async fn heard<Key: Clone + Eq + Hash, Update>(listener: &mut Listener<Key, Update>) -> Option<Arc<Update>> {
    tokio::time::timeout(READ_AGAIN_AFTER, listener.next())
        .await
        .ok()
        .flatten()
}

/// One purchase, from its current state to its end.
pub(super) struct OnePurchase {
    pub id: PurchaseId,
    pub reader: Arc<Reader>,
    pub listener: Listener<PurchaseId, Purchase>,
    /// The state at the beginning, until it is sent.
    pub first: Option<Arc<Purchase>>,
    /// The version that was sent last.
    pub sent: Option<i32>,
    pub over: bool,
}

impl OnePurchase {
    /// The next newer version; none after a terminal state.
    pub async fn next(&mut self) -> Option<Arc<Purchase>> {
        while !self.over {
            let update = match self.first.take() {
                Some(first) => Some(first),
                None => match heard(&mut self.listener).await {
                    Some(update) => Some(update),
                    // The owner knows. When it is away, the next turn asks again.
                    None => self.reader.purchase(self.id).await.ok().flatten(),
                },
            };
            let Some(update) = update else { continue };
            if self.sent.is_none_or(|sent| update.version > sent) {
                self.sent = Some(update.version);
                self.over = update.state.is_terminal();
                return Some(update);
            }
        }
        None
    }
}

/// Whose purchases are followed.
pub(super) enum Source {
    /// The viewer's own.
    Own(Listener<CustomerId, Purchase>),
    /// Everybody's, as far as they are wanted.
    Wanted(Listener<All, Purchase>, Box<Wanted>),
}

impl Source {
    async fn heard(&mut self) -> Option<Arc<Purchase>> {
        match self {
            Self::Own(listener) => heard(listener).await,
            Self::Wanted(listener, _) => heard(listener).await,
        }
    }

    fn wants(&self, purchase: &Purchase) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Wanted(_, wanted) => wanted.matches(purchase),
        }
    }

    /// The newest ones, whatever their state.
    async fn newest(&self, reader: &Reader) -> Result<Vec<Arc<Purchase>>, Failure> {
        match self {
            Self::Own(_) => reader.purchases_of_viewer(None, READ_AT_MOST, &[]).await,
            Self::Wanted(_, wanted) => wanted.find(reader, None, READ_AT_MOST).await,
        }
    }

    /// The newest ones that are open.
    async fn open(&self, reader: &Reader) -> Result<Vec<Arc<Purchase>>, Failure> {
        match self {
            Self::Own(_) => reader.purchases_of_viewer(None, READ_AT_MOST, &OPEN).await,
            Self::Wanted(_, wanted) => wanted.among(&OPEN).find(reader, None, READ_AT_MOST).await,
        }
    }
}

/// Many purchases: those that are open and the newest first, then whatever is newer.
pub(super) struct ManyPurchases {
    reader: Arc<Reader>,
    source: Source,
    /// What is to be sent, oldest first.
    queue: VecDeque<Arc<Purchase>>,
    /// The versions that were sent last.
    sent: BTreeMap<PurchaseId, i32>,
}

impl ManyPurchases {
    /// Reads the current state. The source listens already, so that nothing falls between the two.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when purchase-manager is away.
    pub async fn begin(reader: Arc<Reader>, source: Source) -> Result<Self, Failure> {
        // Those that are open, however old, and the newest in whatever state: who was away learns how theirs ended.
        let mut queue = source.open(&reader).await?;
        queue.extend(source.newest(&reader).await?);
        queue.sort_unstable_by_key(|purchase| (purchase.id, purchase.version));
        Ok(Self {
            reader,
            source,
            queue: queue.into(),
            sent: BTreeMap::new(),
        })
    }

    /// The next newer version of one of them. Never ends by itself.
    pub async fn next(&mut self) -> Arc<Purchase> {
        loop {
            if let Some(update) = self.queue.pop_front() {
                if self.takes(&update) {
                    return update;
                }
                continue;
            }
            match self.source.heard().await {
                Some(update) => self.queue.push_back(update),
                None => {
                    // When the owner is away, the next turn asks again.
                    let mut newest = self.source.newest(&self.reader).await.unwrap_or_default();
                    newest.sort_unstable_by_key(|purchase| purchase.id);
                    self.queue.extend(newest);
                }
            }
        }
    }

    /// Whether it is newer than what was sent, and wanted. What was sent and is no longer wanted is sent once more, so that who
    /// shows a list can take it away.
    fn takes(&mut self, update: &Purchase) -> bool {
        let sent = self.sent.get(&update.id).copied();
        if sent.is_some_and(|sent| update.version <= sent) {
            return false;
        }
        let wanted = self.source.wants(update);
        if !wanted && sent.is_none() {
            return false;
        }
        if wanted {
            self.sent.insert(update.id, update.version);
            if self.sent.len() > REMEMBERED {
                self.sent.pop_first();
            }
        } else {
            self.sent.remove(&update.id);
        }
        true
    }
}

/// Some products: as they are, then whatever is newer, until none of them can be seen any more.
pub(super) struct SomeProducts {
    reader: Arc<Reader>,
    listener: Listener<All, Product>,
    /// Those that are followed, with the version that was sent last.
    sent: BTreeMap<ProductId, Option<i32>>,
    queue: VecDeque<Arc<Product>>,
}

impl SomeProducts {
    /// Reads the current state. The listener listens already, so that nothing falls between the two.
    ///
    /// # Errors
    /// [`Failure::BadInput`] when the viewer can see none of them; [`Failure::Unavailable`] when the catalogue cannot be read.
    pub async fn begin(
        reader: Arc<Reader>,
        listener: Listener<All, Product>,
        ids: &[ProductId],
    ) -> Result<Self, Failure> {
        let mut this = Self {
            reader,
            listener,
            sent: ids.iter().map(|id| (*id, None)).collect(),
            queue: VecDeque::new(),
        };
        this.read().await?;
        if this.sent.is_empty() {
            return Err(Failure::BadInput("There are no such products.".to_owned()));
        }
        Ok(this)
    }

    /// Queues what can be seen, and forgets what cannot.
    async fn read(&mut self) -> Result<(), Failure> {
        let ids: Vec<ProductId> = self.sent.keys().copied().collect();
        let products = self.reader.products(ids).await?;
        self.sent.retain(|id, _| products.contains_key(id));
        let mut products: Vec<Product> = products.into_values().collect();
        products.sort_unstable_by_key(|product| product.id);
        self.queue.extend(products.into_iter().map(Arc::new));
        Ok(())
    }

    /// The next newer version of one of them; none when none of them can be seen any more.
    pub async fn next(&mut self) -> Option<Arc<Product>> {
        while !self.sent.is_empty() {
            if let Some(update) = self.queue.pop_front() {
                let Some(sent) = self.sent.get_mut(&update.id) else {
                    continue;
                };
                if sent.is_some_and(|sent| update.version <= sent) {
                    continue;
                }
                if !self.reader.may_see(&update) {
                    self.sent.remove(&update.id);
                    continue;
                }
                *sent = Some(update.version);
                return Some(update);
            }
            match heard(&mut self.listener).await {
                Some(update) => self.queue.push_back(update),
                None => {
                    if let Err(Failure::Internal(error)) = self.read().await {
                        tracing::error!("followed products cannot be read: {error:#}");
                    }
                }
            }
        }
        None
    }
}
