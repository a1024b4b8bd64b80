//! How one step of a saga is written down: what is asked, how the answer is read, how it is undone.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{Participant, StepName};

/// A participant's business "no": an ordinary reply, never an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs, in capitals: `PAYMENT_DECLINED`.
    pub code: String,
    /// For the customer, in their words.
    pub message: String,
    /// Whatever else helps to explain it, such as the missing quantities.
    pub detail: Value,
}

/// What a step makes of the reply to its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The step is done.
    Accepted,
    /// The participant said no.
    Refused(Refusal),
    /// The reply is not one that this command can have: it is logged and changes nothing.
    Unexpected,
}

pub(crate) type MakeCommand<D, C> = fn(&D) -> C;
pub(crate) type ReadReply<D, R> = fn(&mut D, &R) -> Verdict;
pub(crate) type IsAcknowledged<R> = fn(&R) -> bool;

/// One step as it is written in a definition.
///
/// Its functions are plain `fn` pointers, which closures without captures coerce to: a step cannot hold
/// configuration, so a saga decides the same on every instance and in every replay.
pub struct Step<D, C, R> {
    pub(crate) name: StepName,
    pub(crate) participant: Participant,
    pub(crate) kind: Kind,
    pub(crate) command: Option<MakeCommand<D, C>>,
    pub(crate) reply: Option<ReadReply<D, R>>,
    pub(crate) rollback: Option<Rollback<D, C, R>>,
}

/// What may happen to a step once it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It can be undone: it comes before the pivot.
    Compensatable,
    /// After it there is no way back.
    Pivot,
    /// It comes after the pivot and is repeated until it succeeds.
    Retriable,
}

/// How a step is undone.
pub(crate) struct Rollback<D, C, R> {
    pub(crate) command: MakeCommand<D, C>,
    pub(crate) acknowledged: IsAcknowledged<R>,
}

impl<D, C, R> Step<D, C, R> {
    /// A step before the pivot. It needs a rollback.
    #[must_use]
    pub const fn compensatable(name: &'static str, participant: &'static str) -> Self {
        Self::of(name, participant, Kind::Compensatable)
    }

    /// The step after which there is no way back. Its rollback is used only when an operator compensates.
    #[must_use]
    pub const fn pivot(name: &'static str, participant: &'static str) -> Self {
        Self::of(name, participant, Kind::Pivot)
    }

    /// A step after the pivot: it is repeated until it succeeds and has no rollback of its own; where an
    /// operator compensates, the rollbacks of earlier steps undo its effect too.
    #[must_use]
    pub const fn retriable(name: &'static str, participant: &'static str) -> Self {
        Self::of(name, participant, Kind::Retriable)
    }

    const fn of(name: &'static str, participant: &'static str, kind: Kind) -> Self {
        Self {
            name: StepName::literal(name),
            participant: Participant::literal(participant),
            kind,
            command: None,
            reply: None,
            rollback: None,
        }
    }

    /// Makes the command. It is called again for a re-send, under the same command id, so it must draw only
    /// on data that no step of the same stage changes.
    #[must_use]
    pub fn command(mut self, command: fn(&D) -> C) -> Self {
        self.command = Some(command);
        self
    }

    /// Reads the reply and takes from it what later steps need. Changes to the data are kept only when the
    /// verdict is `Accepted` or `Refused` (test `an_unexpected_reply_changes_nothing`).
    #[must_use]
    pub fn reply(mut self, reply: fn(&mut D, &R) -> Verdict) -> Self {
        self.reply = Some(reply);
        self
    }

    /// Makes the rollback command, and says whether a reply acknowledges it. The command may have to undo
    /// something that was never carried out: the step in doubt is rolled back too.
    #[must_use]
    pub fn rollback(mut self, command: fn(&D) -> C, acknowledged: fn(&R) -> bool) -> Self {
        self.rollback = Some(Rollback {
            command,
            acknowledged,
        });
        self
    }
}

// Written by hand: a derive would ask D, C and R to be Debug or Clone, of which only pointers are held.

impl<D, C, R> Clone for Rollback<D, C, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D, C, R> Copy for Rollback<D, C, R> {}

impl<D, C, R> fmt::Debug for Step<D, C, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Step")
            .field("name", &self.name)
            .field("participant", &self.participant)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
