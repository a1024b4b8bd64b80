//! The operation barrier: each command is carried out once, and a rollback that overtakes its command wins.
//!
//! The inbox removes the second copy of a message; the barrier removes the second message for the same command. A
//! duplicate is answered again with the stored reply: whoever asks again has not seen the answer.

use std::collections::HashMap;

use serde::{Serialize, de::DeserializeOwned};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Fault,
    failpoint::{self, Guard},
};

/// Doing a step or undoing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The step itself.
    Forward,
    /// Its rollback.
    Rollback,
}

impl Direction {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Rollback => "rollback",
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Carried out.
    Done,
    /// Refused by the business: there is nothing to undo.
    Refused,
    /// Never carried out, because its rollback came first.
    Superseded,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
        }
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "done" => Ok(Self::Done),
            "refused" => Ok(Self::Refused),
            "superseded" => Ok(Self::Superseded),
            other => Err(Fault::deterministic(anyhow::anyhow!(
                "`{other}` is not an outcome of an operation"
            ))),
        }
    }
}

/// What is to be done with a command that has just arrived.
#[derive(Debug, PartialEq)]
pub enum Admission<'a, R> {
    /// Carry it out.
    Run,
    /// It was carried out, refused or superseded before: answer the same again.
    Repeat(&'a R),
    /// A rollback of something that was never done, or refused: acknowledge it.
    NothingToUndo,
}

type Key = (Uuid, &'static str, Direction);

/// The operations of the sagas in one batch. Load it, ask it for each command in order, save it.
#[derive(Debug)]
pub struct Barrier<R> {
    known: HashMap<Key, (Outcome, R)>,
    fresh: Vec<Key>,
}

impl<R: Serialize + DeserializeOwned> Barrier<R> {
    /// Reads and locks what was done for `sagas`. `steps` are the steps that this participant carries out.
    ///
    /// # Errors
    /// The database's faults; [`Fault::Deterministic`] when a stored reply cannot be read.
    pub async fn load(
        connection: &mut PgConnection,
        sagas: &[Uuid],
        steps: &[&'static str],
    ) -> Result<Self, Fault> {
        let rows = sqlx::query!(
            "select saga_id, step, direction, outcome, reply from operation
             where saga_id = any($1) order by saga_id, step, direction for update",
            sagas
        )
        .fetch_all(connection)
        .await?;
        let mut known = HashMap::with_capacity(rows.len());
        let rows = rows.into_iter().filter(|_| !failpoint::is_off(Guard::Barrier));
        for row in rows {
            let Some(step) = steps.iter().find(|step| **step == row.step) else {
                continue;
            };
            let direction = if row.direction == "forward" {
                Direction::Forward
            } else {
                Direction::Rollback
            };
            let reply = serde_json::from_value(row.reply).map_err(Fault::deterministic)?;
            known.insert(
                (row.saga_id, *step, direction),
                (Outcome::parse(&row.outcome)?, reply),
            );
        }
        Ok(Self {
            known,
            fresh: Vec::new(),
        })
    }

    /// Says what to do with a command.
    #[must_use]
    pub fn admit(&self, saga: Uuid, step: &'static str, direction: Direction) -> Admission<'_, R> {
        if let Some((_, reply)) = self.known.get(&(saga, step, direction)) {
            return Admission::Repeat(reply);
        }
        match direction {
            Direction::Forward => Admission::Run,
            Direction::Rollback => match self.known.get(&(saga, step, Direction::Forward)) {
                Some((Outcome::Done, _)) => Admission::Run,
                Some((Outcome::Refused | Outcome::Superseded, _)) | None => Admission::NothingToUndo,
            },
        }
    }

    /// Whether the forward command of a step has been seen in any way.
    #[must_use]
    pub fn has_seen(&self, saga: Uuid, step: &'static str) -> bool {
        self.known.contains_key(&(saga, step, Direction::Forward))
    }

    /// Notes what became of a command. Its reply is what a duplicate will be answered.
    pub fn record(
        &mut self,
        saga: Uuid,
        step: &'static str,
        direction: Direction,
        outcome: Outcome,
        reply: R,
    ) {
        let key = (saga, step, direction);
        self.known.insert(key, (outcome, reply));
        self.fresh.push(key);
    }

    /// Writes what was noted. Two instances that carry out the same command at once meet at the primary key: the later one
    /// is rolled back, tries again, and finds the earlier one's reply.
    ///
    /// # Errors
    /// The database's faults.
    pub async fn save(mut self, connection: &mut PgConnection) -> Result<(), Fault> {
        if self.fresh.is_empty() || failpoint::is_off(Guard::Barrier) {
            return Ok(());
        }
        self.fresh.sort_unstable();
        let mut sagas = Vec::with_capacity(self.fresh.len());
        let mut steps = Vec::with_capacity(self.fresh.len());
        let mut directions = Vec::with_capacity(self.fresh.len());
        let mut outcomes = Vec::with_capacity(self.fresh.len());
        let mut replies = Vec::with_capacity(self.fresh.len());
        for key in &self.fresh {
            let (outcome, reply) = &self.known[key];
            sagas.push(key.0);
            steps.push(key.1.to_owned());
            directions.push(key.2.as_str().to_owned());
            outcomes.push(outcome.as_str().to_owned());
            replies.push(serde_json::to_value(reply).map_err(Fault::deterministic)?);
        }
        sqlx::query!(
            "insert into operation (saga_id, step, direction, outcome, reply)
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[])",
            &sagas,
            &steps,
            &directions,
            &outcomes,
            &replies
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}
