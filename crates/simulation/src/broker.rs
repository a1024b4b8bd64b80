//! The broker: topics of two partitions, committed offsets, and what can go wrong there.
//!
//! Models what Kafka promises and no more: records of one partition in order, a position for each consumer group. It
//! may lose records or everything, deliver a record again, and hold one back while others pass it, which Kafka does
//! not do but a sender that was thought dead does.

use std::rc::Rc;

use saga::Direction;
use uuid::Uuid;

use crate::{barrier, scenario::Scenario};

/// Partitions of a topic: enough for two keys to overtake each other, few enough for two keys to share one.
pub(crate) const PARTITIONS: usize = 2;

/// The topic on which the edge submits and on which holds expire.
pub(crate) const SUBMISSIONS: usize = 0;
/// The topic of all replies.
pub(crate) const REPLIES: usize = 1;
/// The topic of all changes.
pub(crate) const EVENTS: usize = 2;

/// The commands topic of a participant, by its service.
pub(crate) const fn commands_of(service: usize) -> usize {
    service + 1
}

/// The service that reads a topic.
pub(crate) const fn reader_of(topic: usize) -> usize {
    match topic {
        SUBMISSIONS | REPLIES => crate::scenario::ORCHESTRATOR,
        EVENTS => crate::scenario::EDGE,
        commands => commands - 1,
    }
}

/// A message on its way.
pub(crate) struct Message<S: Scenario> {
    /// `ce_id`: of this send alone.
    pub(crate) id: u32,
    pub(crate) source: usize,
    pub(crate) topic: usize,
    pub(crate) saga: usize,
    /// Its `seq` in the outbox of its source.
    pub(crate) sequence: i64,
    pub(crate) body: Body<S>,
}

/// What a message says.
pub(crate) enum Body<S: Scenario> {
    Submit,
    Command {
        /// The step that the orchestrator sends it for.
        step: usize,
        direction: Direction,
        /// What its receiver takes it for.
        means: barrier::Key,
        command_id: Uuid,
        attempt: u32,
    },
    Reply {
        step: usize,
        direction: Direction,
        command_id: Uuid,
        reply: Rc<S::Reply>,
    },
    Updated {
        version: u32,
    },
}

impl<S: Scenario> Message<S> {
    /// The step that it is about.
    pub(crate) const fn step(&self) -> Option<usize> {
        match self.body {
            Body::Command { step, .. } | Body::Reply { step, .. } => Some(step),
            Body::Submit | Body::Updated { .. } => None,
        }
    }

    pub(crate) const fn partition(&self) -> usize {
        self.saga % PARTITIONS
    }
}

/// One partition, and how far its group has come.
pub(crate) struct Partition<S: Scenario> {
    pub(crate) records: Vec<Rc<Message<S>>>,
    /// The next record to be read by the owner.
    pub(crate) position: usize,
    /// The offset that is stored.
    pub(crate) committed: usize,
    /// Which of the reader's two instances has it.
    pub(crate) owner: usize,
    /// Changes when the owner loses its place, so that offsets of a former owner are not stored.
    pub(crate) generation: u32,
}

impl<S: Scenario> Partition<S> {
    const fn empty(owner: usize) -> Self {
        Self {
            records: Vec::new(),
            position: 0,
            committed: 0,
            owner,
            generation: 0,
        }
    }

    pub(crate) fn unread(&self) -> &[Rc<Message<S>>] {
        &self.records[self.position..]
    }

    /// The owner begins again where its offsets are stored.
    pub(crate) const fn rewind(&mut self) {
        self.position = self.committed;
        self.generation += 1;
    }
}

pub(crate) struct Broker<S: Scenario> {
    /// By topic and partition: see [`Broker::place`].
    pub(crate) partitions: Vec<Partition<S>>,
}

impl<S: Scenario> Broker<S> {
    pub(crate) fn new(services: usize) -> Self {
        let topics = services + 1;
        Self {
            partitions: (0..topics * PARTITIONS)
                .map(|place| Partition::empty(place % 2))
                .collect(),
        }
    }

    pub(crate) const fn place(topic: usize, partition: usize) -> usize {
        topic * PARTITIONS + partition
    }

    pub(crate) const fn topic(place: usize) -> usize {
        place / PARTITIONS
    }

    pub(crate) fn append(&mut self, message: Rc<Message<S>>) {
        let place = Self::place(message.topic, message.partition());
        self.partitions[place].records.push(message);
    }

    /// The broker comes back without its records and without the groups' offsets.
    pub(crate) fn forget(&mut self) {
        for partition in &mut self.partitions {
            partition.records.clear();
            partition.committed = 0;
            partition.rewind();
        }
    }
}
