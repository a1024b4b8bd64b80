//! The scenarios of a transcript, played through any version: every step is answered, refused, not answered, cancelled, asked
//! about by whoever holds something for it, and rolled back, acknowledged or not.

use contracts::{
    ids::{CustomerId, ProductId, PurchaseId},
    money::Currency,
    purchase_manager::PurchaseLine,
};
use purchase_manager::{definitions::PurchaseSaga, exchange::Reply, purchase::Purchase};
use saga::{
    Cancellation, Direction, Input, Kind, OperatorAction, OperatorNote, Resolution, StepName, StepState,
    Timer, Tries,
};

use super::{Given, Played, SAGA, sample};

/// A purchase as it is submitted in every scenario.
fn purchase() -> Purchase {
    Purchase {
        id: PurchaseId(SAGA),
        customer_id: CustomerId("alice".to_owned()),
        reference: "P-0000001".to_owned(),
        lines: vec![PurchaseLine {
            product_id: ProductId(sample::ID),
            sku: "TENT-2".to_owned(),
            name: "Tent".to_owned(),
            quantity: 2,
            unit_price_minor: 29_950,
        }],
        currency: Currency::EUR,
        total_minor: 59_900,
        payment_method_token: "tok_ok".to_owned(),
        home_delivery: true,
        note: None,
        submitted_at: 1_700_000_000_000_000,
    }
}

fn cancellation() -> Cancellation {
    Cancellation {
        by: "alice".to_owned(),
        reason: Some("changed her mind".to_owned()),
    }
}

fn operator(action: OperatorAction) -> Given {
    let note = OperatorNote {
        actor: "ada".to_owned(),
        reason: "looked at it".to_owned(),
    };
    Given::Then(Input::Operator { action, note })
}

/// A command whose reply counts.
struct Awaited {
    step: StepName,
    direction: Direction,
    tries: Tries,
}

impl Played<'_> {
    fn awaited(&self) -> Vec<Awaited> {
        let state = self.state.as_ref().unwrap();
        if state.has_ended() {
            return Vec::new();
        }
        let waits = |step: &StepName| {
            let (direction, tries) = match *state.step(step) {
                StepState::Pending { tries } => (Direction::Forward, tries),
                StepState::Undoing { tries, .. } => (Direction::Compensation, tries),
                StepState::Idle
                | StepState::Done { .. }
                | StepState::Refused { .. }
                | StepState::InDoubt { .. }
                | StepState::Undone { .. } => return None,
            };
            let step = step.clone();
            Some(Awaited {
                step,
                direction,
                tries,
            })
        };
        self.definition.step_names().filter_map(waits).collect()
    }

    fn awaits(&self, step: &StepName, direction: Direction) -> Option<Tries> {
        let all = self.awaited();
        all.iter()
            .find(|awaited| awaited.step == *step && awaited.direction == direction)
            .map(|awaited| awaited.tries)
    }

    /// The answers to a command that the saga takes as `kind` says, a word of its log.
    fn answers(&self, step: &StepName, direction: Direction, kind: &str) -> Vec<Reply> {
        let state = self.state.as_ref().unwrap();
        let command_id = saga::command_id(SAGA, step.as_str(), direction);
        sample::replies()
            .into_iter()
            .filter(|reply| {
                let reply = reply.clone();
                let input = Input::Reply { command_id, reply };
                let decision = saga::decide(self.definition, SAGA, state.clone(), input);
                decision.log().next().is_some_and(|entry| entry.kind() == kind)
            })
            .collect()
    }

    fn reply(&mut self, step: &StepName, direction: Direction, reply: Reply) {
        let command_id = saga::command_id(SAGA, step.as_str(), direction);
        self.give(Given::Then(Input::Reply { command_id, reply }));
    }

    /// The participant does what it is asked.
    fn agree(&mut self, step: &StepName, direction: Direction) {
        let kind = match direction {
            Direction::Forward => "reply_accepted",
            Direction::Compensation => "rollback_acknowledged",
        };
        let mut answers = self.answers(step, direction, kind);
        assert!(
            !answers.is_empty(),
            "no reply of the contract is the answer to {step} ({direction})"
        );
        self.reply(step, direction, answers.remove(0));
    }

    /// Everybody does what they are asked, until nothing is asked any more.
    fn settle(&mut self) {
        for _ in 0..100 {
            let Some(first) = self.awaited().into_iter().next() else {
                return;
            };
            self.agree(&first.step, first.direction);
        }
        panic!("a saga of so few steps ends");
    }

    /// Submits, and lets everybody agree until `step` is asked.
    fn run_to(&mut self, step: &StepName) {
        self.give(Given::Submit(purchase()));
        self.agree_until(step, Direction::Forward);
    }

    fn agree_until(&mut self, step: &StepName, direction: Direction) {
        while self.awaits(step, direction).is_none() {
            let first = self
                .awaited()
                .into_iter()
                .next()
                .expect("the saga comes to every step");
            self.agree(&first.step, first.direction);
        }
    }

    /// The command is not answered, as often as it is sent.
    fn silence(&mut self, step: &StepName, direction: Direction) {
        while let Some(Tries::Live { attempt, .. }) = self.awaits(step, direction) {
            let step = step.clone();
            self.give(Given::Then(Input::Timer(Timer {
                step,
                direction,
                attempt,
            })));
        }
    }

    fn hold_expires(&mut self) {
        let held: Vec<StepName> = self
            .definition
            .outline()
            .filter(|step| step.kind == Kind::Compensatable)
            .map(|step| step.name.clone())
            .collect();
        for step in held {
            self.give(Given::Then(Input::HoldExpired { step }));
        }
    }
}

/// Every scenario by its name.
pub fn scenarios(definition: &PurchaseSaga) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    let mut play = |name: String, scenario: &mut dyn FnMut(&mut Played)| {
        let mut played = Played::new(definition);
        scenario(&mut played);
        all.push((name, played.end()));
    };
    play("everybody agrees".to_owned(), &mut |saga| {
        saga.give(Given::Submit(purchase()));
        saga.settle();
    });
    play(
        "nothing that comes after the end changes it".to_owned(),
        &mut |saga| {
            saga.give(Given::Submit(purchase()));
            saga.settle();
            let first = definition.step_names().next().unwrap();
            saga.reply(first, Direction::Forward, sample::replies().remove(0));
            saga.give(Given::Then(Input::Cancel(cancellation())));
            saga.give(operator(OperatorAction::Retry));
            saga.give(operator(OperatorAction::Compensate));
            saga.hold_expires();
        },
    );
    play(
        "the customer cancels before it is submitted".to_owned(),
        &mut |saga| {
            saga.give(Given::SubmitCancelled {
                purchase: purchase(),
                cancellation: cancellation(),
            });
            saga.hold_expires();
        },
    );
    for step in definition.outline() {
        let name = step.name;
        let mut probe = Played::new(definition);
        probe.run_to(name);
        for refusal in probe.answers(name, Direction::Forward, "reply_refused") {
            let word = serde_json::to_value(&refusal).unwrap();
            let word = word["type"]
                .as_str()
                .unwrap()
                .rsplit('.')
                .next()
                .unwrap()
                .to_owned();
            play(format!("{name}: the answer is {word}"), &mut |saga| {
                saga.run_to(name);
                saga.reply(name, Direction::Forward, refusal.clone());
                saga.settle();
            });
        }
        play(format!("{name}: an answer that does not fit"), &mut |saga| {
            saga.run_to(name);
            let unexpected = saga
                .answers(name, Direction::Forward, "reply_unexpected")
                .remove(0);
            saga.reply(name, Direction::Forward, unexpected);
        });
        play(format!("{name}: not answered"), &mut |saga| {
            saga.run_to(name);
            saga.silence(name, Direction::Forward);
            // Before the pivot everything is undone; from it on somebody has to look.
            saga.give(operator(OperatorAction::Retry));
            saga.settle();
        });
        play(
            format!("{name}: not answered, and resolved by hand"),
            &mut |saga| {
                saga.run_to(name);
                saga.silence(name, Direction::Forward);
                saga.give(operator(OperatorAction::Resolve(Resolution::Completed)));
                saga.give(operator(OperatorAction::Resolve(Resolution::Cancelled)));
            },
        );
        play(format!("{name}: the customer cancels"), &mut |saga| {
            saga.run_to(name);
            let late = saga.answers(name, Direction::Forward, "reply_accepted").remove(0);
            saga.give(Given::Then(Input::Cancel(cancellation())));
            saga.reply(name, Direction::Forward, late);
            saga.hold_expires();
            saga.settle();
            saga.hold_expires();
        });
        play(format!("{name}: an operator rolls back"), &mut |saga| {
            saga.run_to(name);
            saga.hold_expires();
            saga.give(operator(OperatorAction::Compensate));
            saga.settle();
        });
        if step.can_roll_back {
            play(format!("{name}: its rollback is not acknowledged"), &mut |saga| {
                saga.run_to(name);
                saga.give(operator(OperatorAction::Compensate));
                saga.agree_until(name, Direction::Compensation);
                saga.silence(name, Direction::Compensation);
                saga.hold_expires();
                saga.give(operator(OperatorAction::Retry));
                saga.silence(name, Direction::Compensation);
                saga.give(operator(OperatorAction::Resolve(Resolution::Cancelled)));
                saga.hold_expires();
            });
        }
    }
    all
}
