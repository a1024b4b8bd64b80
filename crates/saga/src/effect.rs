//! What the caller has to do, in the transaction that saves the new state.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    input::{Outcome, Timer},
    log::LogEntry,
    names::{Direction, Participant, StepName},
    state::State,
};

/// What comes of an input: the next state, what to do, and how the input was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<D, C, R> {
    pub state: State<D>,
    /// In the order in which they are to be carried out.
    pub effects: Vec<Effect<D, C, R>>,
    pub outcome: Outcome,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<D, C, R> {
    /// Send a command: through the outbox, under a new message id and this command id.
    Send(SentCommand<C>),
    /// Give `timer` back as [`crate::Input::Timer`] once `after` has passed. It replaces the timer of the
    /// same step and direction.
    SetTimer { timer: Timer, after: Duration },
    /// Forget the timer of a step and direction.
    ClearTimer(TimerKey),
    /// Append to the saga's log.
    Log(LogEntry<D, C, R>),
    /// Something visible from outside changed: count the version up and tell. At most one a decision, the
    /// last effect, and there exactly when the outcome is `Applied`.
    Changed,
}

/// A command as it goes out, first or again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentCommand<C> {
    pub step: StepName,
    pub participant: Participant,
    pub direction: Direction,
    /// 1 for the first send.
    pub attempt: u32,
    /// The same for every attempt: see [`crate::command_id`].
    pub command_id: Uuid,
    pub command: C,
}

/// What a timer is kept under. There is at most one timer for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimerKey {
    pub step: StepName,
    pub direction: Direction,
}

impl<D, C, R> Decision<D, C, R> {
    /// The commands that go out.
    pub fn commands(&self) -> impl Iterator<Item = &SentCommand<C>> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(sent) => Some(sent),
            Effect::SetTimer { .. } | Effect::ClearTimer(_) | Effect::Log(_) | Effect::Changed => None,
        })
    }

    /// What is to be written to the log.
    pub fn log(&self) -> impl Iterator<Item = &LogEntry<D, C, R>> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Log(entry) => Some(entry),
            Effect::Send(_) | Effect::SetTimer { .. } | Effect::ClearTimer(_) | Effect::Changed => None,
        })
    }
}

/// In words, for a dry run and for transcripts.
impl<D, C, R> fmt::Display for Effect<D, C, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(SentCommand {
                step,
                participant,
                direction,
                attempt,
                ..
            }) => {
                let what = match direction {
                    Direction::Forward => "command",
                    Direction::Compensation => "rollback",
                };
                write!(
                    formatter,
                    "send the {what} of {step} to {participant} (attempt {attempt})"
                )
            }
            Self::SetTimer { timer, after } => {
                write!(
                    formatter,
                    "wait up to {:.1} s for {} ({})",
                    after.as_secs_f64(),
                    timer.step,
                    timer.direction
                )
            }
            Self::ClearTimer(key) => write!(formatter, "stop waiting for {} ({})", key.step, key.direction),
            Self::Log(entry) => write!(formatter, "log {}", entry.kind()),
            Self::Changed => formatter.write_str("tell of the change"),
        }
    }
}
