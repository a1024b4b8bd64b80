//! A script of a purchase: what is commanded, what is answered, and how it ends. Pure: the engine and the definition.

use contracts::Message;
use purchase_manager::{
    exchange::{Command, Reply},
    purchase::Purchase,
    purchase_saga::purchase_saga,
};
use saga::{
    Cancellation, Decision, Definition, Direction, Input, Outcome, RetryPolicy, SentCommand, Standing, State,
    Timer,
};

pub struct Script {
    definition: Definition<Purchase, Command, Reply>,
    id: uuid::Uuid,
    state: State<Purchase>,
    /// Commanded and not yet expected by the script.
    sent: Vec<SentCommand<Command>>,
    /// Every command so far, to answer it.
    all: Vec<SentCommand<Command>>,
    outcome: Outcome,
}

/// The purchase is submitted.
pub fn submitted(purchase: contracts::purchase_manager::SubmitPurchase) -> Script {
    let definition = purchase_saga(RetryPolicy::default()).expect("the definition is well shaped");
    let id = purchase.purchase_id.0;
    let purchase = Purchase::try_from(purchase).expect("a test submits what adds up");
    let decision = saga::start(&definition, id, purchase);
    let sent: Vec<_> = decision.commands().cloned().collect();
    Script {
        definition,
        id,
        state: decision.state,
        all: sent.clone(),
        sent,
        outcome: decision.outcome,
    }
}

impl Script {
    /// The next command is an `M`, which goes to `participant`.
    pub fn expect<M: Message>(mut self, participant: &str) -> Self {
        assert!(
            !self.sent.is_empty(),
            "{} was expected, and nothing was sent",
            M::message_type().name
        );
        let sent = self.sent.remove(0);
        let written = serde_json::to_value(&sent.command).unwrap();
        assert_eq!(written["type"], M::message_type().name);
        assert_eq!(sent.participant.as_str(), participant);
        self
    }

    /// The participant answers the newest command of its step with `reply`.
    pub fn reply<M: Message>(self, step: &str, direction: Direction, reply: &M) -> Self {
        let command_id = self
            .all
            .iter()
            .rev()
            .find(|sent| sent.step.as_str() == step && sent.direction == direction)
            .unwrap_or_else(|| panic!("{step} was not commanded"))
            .command_id;
        let reply = Reply::of(reply).unwrap();
        self.meet(Input::Reply { command_id, reply })
    }

    /// Nobody answers in time.
    pub fn time_out(self, step: &str, direction: Direction) -> Self {
        let sent = self
            .all
            .iter()
            .rev()
            .find(|s| s.step.as_str() == step && s.direction == direction);
        let attempt = sent.expect("the step was commanded").attempt;
        self.meet(Input::Timer(Timer {
            step: step.into(),
            direction,
            attempt,
        }))
    }

    /// The customer wants out.
    pub fn cancel(self) -> Self {
        self.meet(Input::Cancel(Cancellation {
            by: "alice".to_owned(),
            reason: None,
        }))
    }

    fn meet(mut self, input: Input<Reply>) -> Self {
        let Decision {
            state,
            effects,
            outcome,
        } = saga::decide(&self.definition, self.id, self.state, input);
        self.state = state;
        self.outcome = outcome;
        for effect in effects {
            if let saga::Effect::Send(sent) = effect {
                self.all.push(sent.clone());
                self.sent.push(sent);
            }
        }
        self
    }

    /// Nothing more is commanded, and the customer sees this.
    pub fn ends(self, standing: Standing) -> Self {
        let left: Vec<_> = self
            .sent
            .iter()
            .map(|sent| format!("{} {}", sent.step, sent.direction))
            .collect();
        assert!(
            left.is_empty(),
            "commands that the script did not expect: {left:?}"
        );
        assert_eq!(self.state.standing(), standing);
        self
    }

    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    pub fn failure(&self) -> saga::Failure {
        self.state.failure().expect("the purchase failed")
    }
}
