//! The flight reservation of the engine's examples, as it stands there.

use saga::{Definition, Direction, SentCommand, ShapeError, StepName};
use uuid::Uuid;

use crate::scenario::{Answer, Scenario};

#[expect(
    dead_code,
    reason = "of the example only the definition is used, not what prints it"
)]
#[path = "../../../saga/examples/flight_reservation.rs"]
mod example;

pub use example::{Booking, Command, Reply};

/// A flight is reserved.
#[derive(Debug)]
pub struct Flight(Definition<Booking, Command, Reply>);

impl Flight {
    /// The example's definition.
    ///
    /// # Errors
    /// Never for the example.
    pub fn new() -> Result<Self, ShapeError> {
        example::flight_reservation().map(Self)
    }

    /// The same business with another definition.
    #[must_use]
    pub(crate) const fn with(definition: Definition<Booking, Command, Reply>) -> Self {
        Self(definition)
    }
}

impl Scenario for Flight {
    type Data = Booking;
    type Command = Command;
    type Reply = Reply;

    fn name(&self) -> &'static str {
        "flight"
    }

    fn definition(&self) -> &Definition<Booking, Command, Reply> {
        &self.0
    }

    fn data(&self, saga_id: Uuid) -> Booking {
        Booking {
            flight: format!("BE {}", saga_id.as_u128() % 100),
            fare_cents: 19_900,
            seat: None,
        }
    }

    fn reply(&self, _saga_id: Uuid, step: &StepName, answer: Answer) -> Option<Reply> {
        match (answer, step.as_str()) {
            (Answer::Done, "reserve-seat") => Some(Reply::SeatReserved {
                seat: "14C".to_owned(),
            }),
            (Answer::Done, "pay") => Some(Reply::Charged),
            (Answer::Done, "confirm-seat") => Some(Reply::Confirmed),
            (Answer::Done, "approve") => Some(Reply::Approved),
            (Answer::Refused, "pay") => Some(Reply::Declined),
            (Answer::Undone | Answer::Superseded, _) => Some(Reply::Undone),
            (Answer::Done | Answer::Refused, _) => None,
        }
    }

    fn means(&self, sent: &SentCommand<Command>) -> (StepName, Direction) {
        let (step, direction) = match sent.command {
            Command::ReserveSeat { .. } => ("reserve-seat", Direction::Forward),
            Command::ReleaseSeat => ("reserve-seat", Direction::Compensation),
            Command::Charge { .. } => ("pay", Direction::Forward),
            Command::Refund => ("pay", Direction::Compensation),
            Command::ConfirmSeat { .. } => ("confirm-seat", Direction::Forward),
            Command::Unconfirm => ("confirm-seat", Direction::Compensation),
            Command::AskForApproval => ("approve", Direction::Forward),
        };
        (StepName::literal(step), direction)
    }
}
