//! What every service of the system has: an outbox with its relay, an inbox, and transactions under way.

use std::{collections::BTreeMap, rc::Rc};

use crate::{
    barrier::Barrier,
    broker::Message,
    inbox::{Claims, Inbox},
    orchestrator::Changes,
    participant::Effects,
    scenario::{Answer, Scenario},
};

/// The instances that consume, by number; each works on one transaction at a time.
pub(crate) const CONSUMERS: usize = 2;
/// The orchestrator's worker that watches the timers.
pub(crate) const TIMERS: usize = 2;
/// The orchestrator's worker that takes what comes by HTTP: cancels and operators' actions.
pub(crate) const DESK: usize = 3;

/// A service's tables and its relay.
pub(crate) struct Service<S: Scenario> {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox<S>,
    /// How often each message was handled in a committed transaction: the rule that the inbox keeps.
    pub(crate) handled: BTreeMap<u32, u32>,
    /// Parked messages, in order.
    pub(crate) parked: Vec<Rc<Message<S>>>,
    pub(crate) away: Away,
}

/// Whether a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    Here,
    /// It is back at this time.
    Until(u64),
    /// Until an operator repairs it.
    ForGood,
}

impl<S: Scenario> Service<S> {
    pub(crate) fn new() -> Self {
        Self {
            inbox: Inbox::default(),
            outbox: Outbox {
                next: 1,
                rows: Vec::new(),
                sent: Vec::new(),
                handed_over_to: 0,
            },
            handled: BTreeMap::new(),
            parked: Vec::new(),
            away: Away::Here,
        }
    }

    pub(crate) fn is_here(&self) -> bool {
        self.away == Away::Here
    }
}

/// The table `outbox`, as `mailbox::outbox` writes it and `mailbox::relay` empties it.
pub(crate) struct Outbox<S: Scenario> {
    /// The sequence `seq` is drawn from. A transaction that is rolled back leaves a gap.
    pub(crate) next: i64,
    /// Visible rows, in the order of their `seq`.
    pub(crate) rows: Vec<Row<S>>,
    /// What the broker acknowledged and the relay has not deleted yet.
    pub(crate) sent: Vec<i64>,
    /// The last row of the batch under way, acknowledged or not.
    pub(crate) handed_over_to: i64,
}

pub(crate) struct Row<S: Scenario> {
    pub(crate) message: Rc<Message<S>>,
    /// Its place in the order of all commits.
    pub(crate) commit: u32,
    pub(crate) published: bool,
}

impl<S: Scenario> Outbox<S> {
    /// Makes committed rows visible, wherever their `seq` puts them.
    pub(crate) fn insert(&mut self, message: Rc<Message<S>>, commit: u32) {
        let place = self
            .rows
            .partition_point(|row| row.message.sequence < message.sequence);
        self.rows.insert(
            place,
            Row {
                message,
                commit,
                published: false,
            },
        );
    }

    /// `delete from outbox where seq = any(acknowledged)`. Gives what is deleted.
    pub(crate) fn delete_sent(&mut self) -> Vec<Row<S>> {
        let sent = std::mem::take(&mut self.sent);
        self.take(|row| sent.contains(&row.message.sequence))
    }

    /// The broken rule: everything up to the last row that was handed over.
    pub(crate) fn delete_handed_over(&mut self) -> Vec<Row<S>> {
        self.sent.clear();
        let last = self.handed_over_to;
        self.take(|row| row.message.sequence <= last)
    }

    fn take(&mut self, which: impl Fn(&Row<S>) -> bool) -> Vec<Row<S>> {
        let (gone, kept) = std::mem::take(&mut self.rows).into_iter().partition(which);
        self.rows = kept;
        gone
    }
}

/// A transaction that is under way: everything is decided and nothing is visible.
pub(crate) struct Open<S: Scenario> {
    pub(crate) service: usize,
    pub(crate) worker: usize,
    /// The sagas it is about, a bit each.
    pub(crate) sagas: u8,
    /// Of those, the ones whose rows it has locked because they were there.
    pub(crate) locked: u8,
    /// The batch that it came from.
    pub(crate) batch: Option<Batch>,
    pub(crate) claims: Claims,
    /// The messages that it handles, for the record.
    pub(crate) messages: Vec<Rc<Message<S>>>,
    pub(crate) known: Vec<Rc<Message<S>>>,
    pub(crate) park: Vec<Rc<Message<S>>>,
    pub(crate) outgoing: Vec<Message<S>>,
    pub(crate) work: Work<S>,
    /// What is seen to have happened if it commits, as (step, what).
    pub(crate) seen: Vec<(usize, crate::fault::Seen)>,
}

/// Where a batch was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) place: usize,
    pub(crate) from: usize,
    pub(crate) next: usize,
    pub(crate) generation: u32,
}

/// What is written besides inbox and outbox.
pub(crate) enum Work<S: Scenario> {
    /// The edge: the versions that it has been told.
    Edge(Vec<(usize, u32)>),
    Orchestrator(Changes<S>),
    Participant {
        barrier: Barrier<Answer>,
        effects: Vec<(usize, usize, Effects)>,
    },
}

impl<S: Scenario> Open<S> {
    /// An empty transaction about `sagas`.
    pub(crate) fn of(service: usize, worker: usize, sagas: u8) -> Self {
        Self {
            service,
            worker,
            sagas,
            locked: 0,
            batch: None,
            claims: Claims::default(),
            messages: Vec::new(),
            known: Vec::new(),
            park: Vec::new(),
            outgoing: Vec::new(),
            work: Work::Edge(Vec::new()),
            seen: Vec::new(),
        }
    }
}
