//! Scripts: a saga told as what it commands and what it is answered. A command that the script does not
//! expect fails it, at the latest with the next input.

use std::collections::VecDeque;

use saga::{
    Cancellation, Cause, Direction, Input, LogEntry, OperatorAction, OperatorNote, Outcome, Parked,
    SentCommand, Standing, State, Status, StepName, StepView, Timer, TimerKey, Tries, command_id, decide,
    rebuild, replay, start, start_cancelled, view,
};
use uuid::Uuid;

use crate::{
    rules::{self, TestDecision, Timers},
    sagas::{Command, Heard, Reply, Saga},
};

pub const SAGA_ID: Uuid = Uuid::from_u128(0x5a6a);

pub fn given(saga: Saga) -> Given {
    Given { saga }
}

pub struct Given {
    saga: Saga,
}

impl Given {
    pub fn submit(self) -> Script {
        let decision = start(&self.saga.definition, SAGA_ID, Heard::default());
        Script::begin(self.saga, decision)
    }

    pub fn submit_cancelled(self) -> Script {
        let decision = start_cancelled(&self.saga.definition, SAGA_ID, Heard::default(), cancellation());
        Script::begin(self.saga, decision)
    }
}

/// A saga under way. Its inputs and log are kept, so that each script ends with a replay.
pub struct Script {
    pub saga: Saga,
    pub state: State<Heard>,
    pub log: Vec<LogEntry<Heard, Command, Reply>>,
    timers: Timers,
    inputs: Vec<Input<Reply>>,
    sent: VecDeque<SentCommand<Command>>,
    last_expected: Option<SentCommand<Command>>,
    outcome: Outcome,
}

impl Script {
    fn begin(saga: Saga, decision: TestDecision) -> Self {
        let timers = rules::check(&saga, None, None, &decision);
        let log = decision.log().cloned().collect();
        let sent = decision.commands().cloned().collect();
        let TestDecision { state, outcome, .. } = decision;
        Self {
            saga,
            state,
            log,
            timers,
            inputs: vec![],
            sent,
            last_expected: None,
            outcome,
        }
    }

    // What happens.

    pub fn input(mut self, input: Input<Reply>) -> Self {
        assert!(self.sent.is_empty(), "the script did not expect {:?}", self.sent);
        let decision = decide(&self.saga.definition, SAGA_ID, self.state.clone(), input.clone());
        self.timers = rules::check(
            &self.saga,
            Some((&self.state, &self.timers)),
            Some(&input),
            &decision,
        );
        self.inputs.push(input);
        self.log.extend(decision.log().cloned());
        self.sent.extend(decision.commands().cloned());
        self.state = decision.state;
        self.outcome = decision.outcome;
        self
    }

    /// Answers the command expected last.
    pub fn reply(self, reply: Reply) -> Self {
        let command_id = self
            .last_expected
            .as_ref()
            .expect("a command was expected")
            .command_id;
        self.input(Input::Reply { command_id, reply })
    }

    pub fn reply_to(self, step: &str, reply: Reply) -> Self {
        self.input(Input::Reply {
            command_id: command_id(SAGA_ID, step, Direction::Forward),
            reply,
        })
    }

    pub fn reply_to_rollback(self, step: &str, reply: Reply) -> Self {
        self.input(Input::Reply {
            command_id: command_id(SAGA_ID, step, Direction::Compensation),
            reply,
        })
    }

    /// The running timer of the step's command runs out.
    pub fn time_out(self, step: &'static str) -> Self {
        self.time_out_in(step, Direction::Forward)
    }

    pub fn time_out_rollback(self, step: &'static str) -> Self {
        self.time_out_in(step, Direction::Compensation)
    }

    fn time_out_in(self, step: &'static str, direction: Direction) -> Self {
        let step = StepName::literal(step);
        let key = TimerKey {
            step: step.clone(),
            direction,
        };
        let attempt = *self.timers.get(&key).expect("its timer runs");
        self.input(Input::Timer(Timer {
            step,
            direction,
            attempt,
        }))
    }

    /// Lets the command go unanswered until its budget is spent.
    pub fn never_answer(mut self, step: &'static str) -> Self {
        for attempt in self.attempts_left(step, Direction::Forward) {
            self = self.time_out(step).expect_command_again(step, attempt);
        }
        self.time_out(step)
    }

    pub fn never_acknowledge(mut self, step: &'static str) -> Self {
        for attempt in self.attempts_left(step, Direction::Compensation) {
            self = self.time_out_rollback(step).expect_rollback_again(step, attempt);
        }
        self.time_out_rollback(step)
    }

    fn attempts_left(&self, step: &'static str, direction: Direction) -> std::ops::RangeInclusive<u32> {
        let (_, _, tries) = rules::pending(&self.state)
            .find(|(name, its, _)| name.as_str() == step && *its == direction)
            .expect("it is pending");
        match tries {
            Tries::Live { attempt, last } => attempt + 1..=last,
            Tries::Spent { .. } => panic!("the budget of {step} is spent"),
        }
    }

    pub fn cancel(self) -> Self {
        self.input(Input::Cancel(cancellation()))
    }

    pub fn operator(self, action: OperatorAction) -> Self {
        self.input(Input::Operator { action, note: note() })
    }

    pub fn hold_expires(self, step: &'static str) -> Self {
        self.input(Input::HoldExpired { step: step.into() })
    }

    /// Everything up to and including `step`, in a saga without parallel stages so far, goes well.
    pub fn all_well_through(mut self, step: &str) -> Self {
        let names: Vec<_> = self
            .saga
            .definition
            .step_names()
            .map(|name| name.as_str().to_owned())
            .collect();
        for name in names {
            self = self.expect_command(&name).reply(Reply::Yes);
            if name == step {
                break;
            }
        }
        self
    }

    // What is to come of it.

    pub fn expect_command(self, step: &str) -> Self {
        self.expect_sent(step, Direction::Forward, 1, &Command::Do(step.to_owned()))
    }

    pub fn expect_command_again(self, step: &str, attempt: u32) -> Self {
        self.expect_sent(step, Direction::Forward, attempt, &Command::Do(step.to_owned()))
    }

    pub fn expect_rollback(self, step: &str) -> Self {
        self.expect_sent(step, Direction::Compensation, 1, &Command::Undo(step.to_owned()))
    }

    pub fn expect_rollback_again(self, step: &str, attempt: u32) -> Self {
        self.expect_sent(
            step,
            Direction::Compensation,
            attempt,
            &Command::Undo(step.to_owned()),
        )
    }

    fn expect_sent(mut self, step: &str, direction: Direction, attempt: u32, command: &Command) -> Self {
        let sent = self
            .sent
            .pop_front()
            .unwrap_or_else(|| panic!("{step} ({direction}) was not sent"));
        assert_eq!(
            (sent.step.as_str(), sent.direction, sent.attempt),
            (step, direction, attempt)
        );
        assert_eq!(sent.command, *command);
        assert_eq!(sent.participant.as_str(), format!("the {step} desk"));
        assert_eq!(sent.command_id, command_id(SAGA_ID, step, direction));
        self.last_expected = Some(sent);
        self
    }

    pub fn expect_nothing_sent(self) -> Self {
        assert!(self.sent.is_empty(), "sent: {:?}", self.sent);
        self
    }

    pub fn expect_outcome(self, outcome: &Outcome) -> Self {
        assert_eq!(self.outcome, *outcome);
        self
    }

    pub fn expect_running(self) -> Self {
        assert_eq!(*self.state.status(), Status::Running);
        self
    }

    pub fn expect_compensating(self) -> Self {
        assert_eq!(self.state.status().kind(), "compensating");
        self
    }

    pub fn expect_parked(self, direction: Direction) -> Self {
        match self.state.status() {
            Status::Parked {
                parked: parked @ (Parked::Forward | Parked::Compensation { .. }),
            } => {
                assert_eq!(parked.direction(), direction);
            }
            other => panic!("not parked: {other:?}"),
        }
        self.expect_standing(Standing::Stuck)
    }

    pub fn expect_standing(self, standing: Standing) -> Self {
        assert_eq!(self.state.standing(), standing);
        self
    }

    pub fn expect_last_log(self, kind: &str) -> Self {
        assert_eq!(self.log.last().map(LogEntry::kind), Some(kind));
        self
    }

    pub fn expect_completed(self) -> Self {
        self.expect_standing(Standing::Completed).done()
    }

    pub fn expect_rejected(self, code: &str, step: &str) -> Self {
        let failure = self.state.failure().expect("a rejection says why");
        assert_eq!((failure.code.as_str(), failure.step.as_str()), (code, step));
        self.expect_standing(Standing::Rejected).done()
    }

    pub fn expect_cancelled(self) -> Self {
        assert!(matches!(
            self.state.status().cause(),
            Some(Cause::Cancelled { .. } | Cause::Operator { .. })
        ));
        self.expect_standing(Standing::Cancelled).done()
    }

    pub fn view(&self) -> Vec<StepView> {
        view(&self.saga.definition, &self.state)
    }

    /// Nothing unexpected was sent, and inputs and log rebuild the very same state.
    pub fn done(self) -> Self {
        let definition = &self.saga.definition;
        let rebuilt = rebuild(definition, SAGA_ID, self.log.clone()).expect("the log is whole");
        assert_eq!(rebuilt, self.state);
        if matches!(self.log.first(), Some(LogEntry::Submitted { .. })) {
            let replayed = replay(definition, SAGA_ID, Heard::default(), self.inputs.clone());
            assert_eq!(replayed, self.state);
        }
        self.expect_nothing_sent()
    }
}

pub fn cancellation() -> Cancellation {
    Cancellation {
        by: "customer-7".to_owned(),
        reason: Some("changed my mind".to_owned()),
    }
}

pub fn note() -> OperatorNote {
    OperatorNote {
        actor: "operator-3".to_owned(),
        reason: "ticket 41".to_owned(),
    }
}
