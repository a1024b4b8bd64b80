//! The inbox as a model of `mailbox::inbox::claim` and of the part of `mailbox::parked` that it asks.
//!
//! | here | models |
//! |---|---|
//! | [`Inbox::claim`] | the statement of `inbox::claim`: what is fresh, what is blocked, what came behind a later message |
//! | [`Inbox::commit`] | the commit of the transaction that claimed |
//! | [`Inbox::park`], [`Inbox::settle`] | a row of `parked` without and with `resolved_at` |
//!
//! The test `the_model_of_the_inbox_claims_as_the_tables_do` holds both together.

use std::collections::{BTreeMap, BTreeSet};

/// A message as the inbox sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mail {
    /// `ce_id`.
    pub id: u32,
    /// The topic.
    pub topic: u32,
    /// The key.
    pub key: u32,
    /// The sender, and the topic it sends on.
    pub stream: u32,
    /// The number in the sender's outbox, when it says one.
    pub sequence: Option<i64>,
}

/// What to do with each message of a batch. Those in neither set were handled before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// To be handled in this transaction.
    pub fresh: BTreeSet<u32>,
    /// To be parked behind an earlier message of the key.
    pub blocked: BTreeSet<u32>,
    /// Fresh, but behind a later message of its sender, topic and key.
    pub behind: BTreeSet<u32>,
    rows: Vec<Mail>,
}

/// What one consumer has handled.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    handled: BTreeSet<u32>,
    /// The highest sequence of each (stream, key).
    highest: BTreeMap<(u32, u32), i64>,
    /// (topic, key) of what is parked, and how many messages.
    parked: BTreeMap<(u32, u32), u32>,
}

impl Claims {
    /// Takes a claim back: the message is parked instead.
    pub fn release(&mut self, id: u32) {
        self.fresh.remove(&id);
        self.behind.remove(&id);
        self.rows.retain(|mail| mail.id != id);
    }
}

impl Inbox {
    /// Claims the messages of a batch, without effect before [`Inbox::commit`].
    #[must_use]
    pub fn claim(&self, batch: &[Mail]) -> Claims {
        let mut claims = Claims::default();
        for mail in batch {
            if self.handled.contains(&mail.id) {
                continue;
            }
            if self.parked.contains_key(&(mail.topic, mail.key)) {
                claims.blocked.insert(mail.id);
                continue;
            }
            let stands_behind = mail.sequence.is_some_and(|sequence| {
                let committed = self
                    .highest
                    .get(&(mail.stream, mail.key))
                    .is_some_and(|top| *top > sequence);
                committed
                    || claims.rows.iter().any(|earlier| {
                        (earlier.stream, earlier.key) == (mail.stream, mail.key)
                            && earlier.sequence.is_some_and(|its| its > sequence)
                    })
            });
            if claims.fresh.insert(mail.id) {
                claims.rows.push(*mail);
                if stands_behind {
                    claims.behind.insert(mail.id);
                }
            }
        }
        claims
    }

    /// Whether another transaction has claimed one of the messages since: then this one would have waited for it, and
    /// not have got them.
    #[must_use]
    pub fn collides(&self, claims: &Claims) -> bool {
        claims.fresh.iter().any(|id| self.handled.contains(id))
    }

    /// Keeps the claims of a transaction that commits.
    pub fn commit(&mut self, claims: &Claims) {
        for mail in &claims.rows {
            self.handled.insert(mail.id);
            if let Some(sequence) = mail.sequence {
                let top = self.highest.entry((mail.stream, mail.key)).or_insert(sequence);
                *top = sequence.max(*top);
            }
        }
    }

    /// Parks a message: what follows on its topic and key is blocked.
    pub fn park(&mut self, topic: u32, key: u32) {
        *self.parked.entry((topic, key)).or_default() += 1;
    }

    /// An operator has settled everything that is parked under a topic and key.
    pub fn settle(&mut self, topic: u32, key: u32) {
        self.parked.remove(&(topic, key));
    }
}
