//! A journey: flight and hotel at once, then the payment as pivot, then ticket and insurance, one after the other. Its
//! first stage is parallel, its retriable steps can be refused, and one participant has a retriable step only.

use std::time::Duration;

use saga::{Definition, Direction, Refusal, RetryPolicy, SentCommand, ShapeError, StepName, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::scenario::{Answer, Scenario};

/// What is known of a journey: the steps that were heard of, in the order of their replies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard(pub Vec<String>);

/// Do a step, or undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The step, and what was heard before it.
    Do(&'static str, Option<usize>),
    /// Its rollback.
    Undo(&'static str),
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Yes,
    /// Refused.
    No,
    /// Undone.
    Undone,
    /// The rollback came first.
    TooLate,
}

/// A journey's step.
pub(crate) type Step = saga::Step<Heard, Command, Reply>;

/// Two sends of a command, so that budgets are spent within short schedules.
pub(crate) const RETRY: RetryPolicy = RetryPolicy::fast(Duration::from_secs(1), Duration::from_secs(2), 2);

macro_rules! step {
    ($kind:ident $name:literal by $participant:literal) => {
        crate::sagas::journey::Step::$kind($name, $participant)
            .command(|_| crate::sagas::journey::Command::Do($name, None))
            .reply(|heard, reply| {
                heard.0.push($name.to_owned());
                crate::sagas::journey::verdict($name, *reply)
            })
    };
    ($kind:ident $name:literal by $participant:literal with rollback) => {
        step!($kind $name by $participant).rollback(
            |_| crate::sagas::journey::Command::Undo($name),
            |reply| *reply == crate::sagas::journey::Reply::Undone,
        )
    };
}
pub(crate) use step;

pub(crate) fn verdict(step: &str, reply: Reply) -> Verdict {
    match reply {
        Reply::Yes => Verdict::Accepted,
        Reply::No => Verdict::Refused(Refusal {
            code: "REFUSED".to_owned(),
            message: format!("{step} said no"),
            detail: Value::Null,
        }),
        Reply::Undone | Reply::TooLate => Verdict::Unexpected,
    }
}

/// A journey, or another saga of the same messages.
#[derive(Debug)]
pub struct Journey {
    name: &'static str,
    definition: Definition<Heard, Command, Reply>,
}

impl Journey {
    /// The journey.
    ///
    /// # Errors
    /// Never for this definition.
    pub fn new() -> Result<Self, ShapeError> {
        Ok(Self {
            name: "journey",
            definition: Definition::builder("journey", 3)
                .parallel([
                    step!(compensatable "flight" by "airline" with rollback),
                    step!(compensatable "hotel" by "hotel" with rollback),
                ])
                .pivot(step!(pivot "pay" by "bank" with rollback))
                .step(step!(retriable "ticket" by "airline"))
                .step(step!(retriable "insure" by "insurer"))
                .retry(RETRY)
                .build()?,
        })
    }

    /// The smallest saga of all, for exhaustive exploration: one step before the pivot, one after it.
    ///
    /// # Errors
    /// Never for this definition.
    pub fn smallest() -> Result<Self, ShapeError> {
        Ok(Self {
            name: "smallest",
            definition: Definition::builder("smallest", 1)
                .step(step!(compensatable "hold" by "shop" with rollback))
                .pivot(step!(pivot "pay" by "bank" with rollback))
                .step(step!(retriable "deliver" by "shop"))
                .retry(RETRY)
                .build()?,
        })
    }

    pub(crate) const fn with(name: &'static str, definition: Definition<Heard, Command, Reply>) -> Self {
        Self { name, definition }
    }
}

impl Scenario for Journey {
    type Data = Heard;
    type Command = Command;
    type Reply = Reply;

    fn name(&self) -> &'static str {
        self.name
    }

    fn definition(&self) -> &Definition<Heard, Command, Reply> {
        &self.definition
    }

    fn data(&self, _saga_id: Uuid) -> Heard {
        Heard::default()
    }

    fn reply(&self, _saga_id: Uuid, _step: &StepName, answer: Answer) -> Option<Reply> {
        Some(match answer {
            Answer::Done => Reply::Yes,
            Answer::Refused => Reply::No,
            Answer::Undone => Reply::Undone,
            Answer::Superseded => Reply::TooLate,
        })
    }

    fn means(&self, sent: &SentCommand<Command>) -> (StepName, Direction) {
        match sent.command {
            Command::Do(step, _) => (StepName::literal(step), Direction::Forward),
            Command::Undo(step) => (StepName::literal(step), Direction::Compensation),
        }
    }
}
