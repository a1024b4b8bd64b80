//! Another business on the same engine: reserve a seat, pay, confirm, and have the agency approve. Prints
//! what a booking commands and logs when everything goes well, and when the card is declined.
//!
//! `cargo run -p saga --example flight_reservation`

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use saga::{Decision, Definition, Effect, Input, Refusal, SentCommand, ShapeError, Verdict, decide, start};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Booking {
    pub flight: String,
    pub fare_cents: i64,
    pub seat: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    ReserveSeat { flight: String },
    ReleaseSeat,
    Charge { fare_cents: i64 },
    Refund,
    ConfirmSeat { seat: Option<String> },
    Unconfirm,
    AskForApproval,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    SeatReserved { seat: String },
    Charged,
    Declined,
    Confirmed,
    Approved,
    Undone,
}

type Step = saga::Step<Booking, Command, Reply>;

/// The whole business, on one screen.
pub fn flight_reservation() -> Result<Definition<Booking, Command, Reply>, ShapeError> {
    let undone = |reply: &Reply| matches!(reply, Reply::Undone);
    Definition::builder("flight-reservation", 1)
        .step(
            Step::compensatable("reserve-seat", "airline")
                .command(|booking| Command::ReserveSeat {
                    flight: booking.flight.clone(),
                })
                .reply(|booking, reply| {
                    let Reply::SeatReserved { seat } = reply else {
                        return Verdict::Unexpected;
                    };
                    booking.seat = Some(seat.clone());
                    Verdict::Accepted
                })
                .rollback(|_| Command::ReleaseSeat, undone),
        )
        .step(
            Step::compensatable("pay", "bank")
                .command(|booking| Command::Charge {
                    fare_cents: booking.fare_cents,
                })
                .reply(|_, reply| {
                    if *reply == Reply::Declined {
                        declined()
                    } else {
                        accept(reply, &Reply::Charged)
                    }
                })
                .rollback(|_| Command::Refund, undone),
        )
        .pivot(
            Step::pivot("confirm-seat", "airline")
                .command(|booking| Command::ConfirmSeat {
                    seat: booking.seat.clone(),
                })
                .reply(|_, reply| accept(reply, &Reply::Confirmed))
                .rollback(|_| Command::Unconfirm, undone),
        )
        .step(
            Step::retriable("approve", "agency")
                .command(|_| Command::AskForApproval)
                .reply(|_, reply| accept(reply, &Reply::Approved)),
        )
        .build()
}

fn accept(reply: &Reply, expected: &Reply) -> Verdict {
    if reply == expected {
        Verdict::Accepted
    } else {
        Verdict::Unexpected
    }
}

fn declined() -> Verdict {
    Verdict::Refused(Refusal {
        code: "CARD_DECLINED".to_owned(),
        message: "Your bank declined the fare.".to_owned(),
        detail: Value::Null,
    })
}

/// Stands in for the participants. A card pays fares of up to 500.00.
fn answer(command: &Command) -> Reply {
    match command {
        Command::ReserveSeat { .. } => Reply::SeatReserved {
            seat: "14C".to_owned(),
        },
        Command::Charge { fare_cents } if *fare_cents > 50_000 => Reply::Declined,
        Command::Charge { .. } => Reply::Charged,
        Command::ConfirmSeat { .. } => Reply::Confirmed,
        Command::AskForApproval => Reply::Approved,
        Command::ReleaseSeat | Command::Refund | Command::Unconfirm => Reply::Undone,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let definition = flight_reservation()?;
    let mut out = io::stdout().lock();
    for (number, fare_cents) in (1..).zip([19_900, 99_900]) {
        let saga_id = Uuid::from_u128(number);
        let booking = Booking {
            flight: "BE 42".to_owned(),
            fare_cents,
            seat: None,
        };
        writeln!(out, "booking {number}: {booking:?}")?;
        let mut decision = start(&definition, saga_id, booking);
        let mut post: VecDeque<SentCommand<Command>> = VecDeque::new();
        loop {
            post.extend(decision.commands().cloned());
            print(&mut out, &decision)?;
            let Some(sent) = post.pop_front() else { break };
            let reply = answer(&sent.command);
            writeln!(out, "  {} answers {reply:?}", sent.participant)?;
            let input = Input::Reply {
                command_id: sent.command_id,
                reply,
            };
            decision = decide(&definition, saga_id, decision.state, input);
        }
        writeln!(out, "  ended: {:?}\n", decision.state.standing())?;
    }
    Ok(())
}

fn print(out: &mut impl Write, decision: &Decision<Booking, Command, Reply>) -> io::Result<()> {
    for effect in &decision.effects {
        match effect {
            Effect::Send(_) | Effect::SetTimer { .. } => writeln!(out, "    {effect}")?,
            Effect::ClearTimer(_) | Effect::Log(_) | Effect::Changed => {}
        }
    }
    Ok(())
}
