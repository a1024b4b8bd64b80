//! The operation barrier as a model of `mailbox::barrier`: the same functions over a map instead of a table.
//!
//! | here | models |
//! |---|---|
//! | [`Operations`] | the table `operation`, its primary key (saga, step, direction) |
//! | [`Barrier::load`], [`Barrier::admit`], [`Barrier::record`], [`Barrier::save`] | the functions of the same names |
//! | [`answer`] | `mailbox::participant::answer`: admission, decision, tombstone, record |
//!
//! The test `the_model_of_the_barrier_answers_as_the_tables_do` gives both the same commands, transactions and
//! duplicates and compares every answer.

use std::collections::BTreeMap;

use saga::Direction;

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Carried out.
    Done,
    /// Refused by the business.
    Refused,
    /// Never carried out, because its rollback came first.
    Superseded,
}

/// What is to be done with a command that has just arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<R> {
    /// Carry it out.
    Run,
    /// Answer the same again.
    Repeat(R),
    /// Acknowledge a rollback of something that was never done.
    NothingToUndo,
}

/// Saga, step, direction.
pub type Key = (u32, u32, Direction);

/// The committed operations of one participant.
#[derive(Debug, Clone)]
pub struct Operations<R> {
    rows: BTreeMap<Key, (Outcome, R)>,
}

impl<R> Default for Operations<R> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
        }
    }
}

/// Two transactions carried out the same command: the later one is rolled back and tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collision;

/// The operations of the sagas of one batch, in one transaction.
#[derive(Debug, Clone)]
pub struct Barrier<R> {
    known: BTreeMap<Key, (Outcome, R)>,
    fresh: Vec<Key>,
}

impl<R> Operations<R> {
    /// Whether anything is known of a saga, so that there is a row to be locked.
    #[must_use]
    pub fn knows(&self, saga: u32) -> bool {
        self.rows
            .range((saga, 0, Direction::Forward)..)
            .next()
            .is_some_and(|(key, _)| key.0 == saga)
    }
}

impl<R: Clone> Barrier<R> {
    /// Reads what was done for `sagas`.
    #[must_use]
    pub fn load(operations: &Operations<R>, sagas: impl Fn(u32) -> bool) -> Self {
        let known = operations.rows.iter().filter(|(key, _)| sagas(key.0));
        Self {
            known: known.map(|(key, row)| (*key, row.clone())).collect(),
            fresh: Vec::new(),
        }
    }

    /// Says what to do with a command.
    #[must_use]
    pub fn admit(&self, key: Key) -> Admission<R> {
        if let Some((_, reply)) = self.known.get(&key) {
            return Admission::Repeat(reply.clone());
        }
        match key.2 {
            Direction::Forward => Admission::Run,
            Direction::Compensation => match self.known.get(&(key.0, key.1, Direction::Forward)) {
                Some((Outcome::Done, _)) => Admission::Run,
                Some((Outcome::Refused | Outcome::Superseded, _)) | None => Admission::NothingToUndo,
            },
        }
    }

    /// Whether the forward command of a step has been seen in any way.
    #[must_use]
    pub fn has_seen(&self, saga: u32, step: u32) -> bool {
        self.known.contains_key(&(saga, step, Direction::Forward))
    }

    /// Notes what became of a command.
    pub fn record(&mut self, key: Key, outcome: Outcome, reply: R) {
        self.known.insert(key, (outcome, reply));
        self.fresh.push(key);
    }

    /// Writes what was noted, all of it or nothing.
    ///
    /// # Errors
    /// [`Collision`] when another transaction wrote one of the rows since they were read.
    pub fn save(self, operations: &mut Operations<R>) -> Result<(), Collision> {
        if self.fresh.iter().any(|key| operations.rows.contains_key(key)) {
            return Err(Collision);
        }
        let Self { mut known, fresh } = self;
        for key in fresh {
            if let Some(row) = known.remove(&key) {
                operations.rows.insert(key, row);
            }
        }
        Ok(())
    }
}

/// How a command was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Carried out or refused.
    Fresh,
    /// Answered as before.
    Repeated,
    /// A rollback that found nothing to undo; true when it left a tombstone.
    Acknowledged {
        /// The command has not been seen before, and is superseded from now on.
        overtook: bool,
    },
}

/// Answers one command in memory: what is decided by `decide`, what is acknowledged by `nothing`, what a superseded
/// command is told by `superseded`.
///
/// # Errors
/// What `decide` refuses to decide.
pub fn answer<R: Clone, E>(
    barrier: &mut Barrier<R>,
    key: Key,
    decide: impl FnOnce() -> Result<(Outcome, R), E>,
    nothing: R,
    superseded: R,
) -> Result<(Met, R), E> {
    let overtook = key.2 == Direction::Compensation && !barrier.has_seen(key.0, key.1);
    let (met, (outcome, answer)) = match barrier.admit(key) {
        Admission::Repeat(answer) => return Ok((Met::Repeated, answer)),
        Admission::NothingToUndo => (Met::Acknowledged { overtook }, (Outcome::Done, nothing)),
        Admission::Run => (Met::Fresh, decide()?),
    };
    if overtook {
        barrier.record(
            (key.0, key.1, Direction::Forward),
            Outcome::Superseded,
            superseded,
        );
    }
    barrier.record(key, outcome, answer.clone());
    Ok((met, answer))
}
