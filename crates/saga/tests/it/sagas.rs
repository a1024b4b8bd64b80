//! Two sagas to test with: a purchase, and a journey whose first stage is parallel.

use std::time::Duration;

use saga::{Definition, Direction, Refusal, RetryPolicy, Step, StepName, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The data: which steps were heard of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard(pub Vec<String>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    Do(String),
    Undo(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Yes,
    No,
    Undone,
    /// Answers nothing that is ever asked.
    Nonsense,
}

pub type TestDefinition = Definition<Heard, Command, Reply>;
pub type TestStep = Step<Heard, Command, Reply>;

/// A definition and what the rules have to know of it.
pub struct Saga {
    pub definition: TestDefinition,
    pub pivot: StepName,
    /// The steps with a rollback, oldest first.
    pub undoable: Vec<StepName>,
}

macro_rules! step {
    ($kind:ident $name:literal) => {
        TestStep::$kind($name, concat!("the ", $name, " desk"))
            .command(|_| Command::Do($name.to_owned()))
            .reply(|heard, reply| {
                heard.0.push($name.to_owned());
                verdict($name, *reply)
            })
    };
    ($kind:ident $name:literal with rollback) => {
        step!($kind $name).rollback(|_| Command::Undo($name.to_owned()), |reply| *reply == Reply::Undone)
    };
}

fn verdict(step: &str, reply: Reply) -> Verdict {
    match reply {
        Reply::Yes => Verdict::Accepted,
        Reply::No => Verdict::Refused(refusal(step)),
        Reply::Undone | Reply::Nonsense => Verdict::Unexpected,
    }
}

/// What the step `step` says when it refuses.
pub fn refusal(step: &str) -> Refusal {
    Refusal {
        code: format!("{}_REFUSED", step.to_uppercase()),
        message: format!("{step} said no"),
        detail: json!({ "asked": step }),
    }
}

/// validate → reserve → authorize → **order** → confirm ∥ capture, with the default policy: 8 sends.
pub fn purchase() -> Saga {
    purchase_with(RetryPolicy::default())
}

pub fn purchase_with(retry: RetryPolicy) -> Saga {
    let definition = Definition::builder("purchase", 1)
        .step(step!(compensatable "validate" with rollback))
        .step(step!(compensatable "reserve" with rollback))
        .step(step!(compensatable "authorize" with rollback))
        .pivot(step!(pivot "order" with rollback))
        .parallel([step!(retriable "confirm"), step!(retriable "capture")])
        .retry(retry)
        .build()
        .expect("the purchase has the right shape");
    Saga {
        definition,
        pivot: "order".into(),
        undoable: names(["validate", "reserve", "authorize", "order"]),
    }
}

/// flight ∥ hotel → **pay** → ticket → insure.
pub fn journey_with(retry: RetryPolicy) -> Saga {
    let definition = Definition::builder("journey", 3)
        .parallel([
            step!(compensatable "flight" with rollback),
            step!(compensatable "hotel" with rollback),
        ])
        .pivot(step!(pivot "pay" with rollback))
        .step(step!(retriable "ticket"))
        .step(step!(retriable "insure"))
        .retry(retry)
        .build()
        .expect("the journey has the right shape");
    Saga {
        definition,
        pivot: "pay".into(),
        undoable: names(["flight", "hotel", "pay"]),
    }
}

pub fn journey() -> Saga {
    journey_with(RetryPolicy::default())
}

/// A budget that is spent after two sends.
pub fn two_sends() -> RetryPolicy {
    RetryPolicy::fast(Duration::from_millis(100), Duration::from_millis(200), 2)
}

pub const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Compensation];

fn names<const N: usize>(names: [&'static str; N]) -> Vec<StepName> {
    names.into_iter().map(StepName::literal).collect()
}
