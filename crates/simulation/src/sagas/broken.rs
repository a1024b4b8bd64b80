//! Definitions whose shape is right and whose business is wrong, each in a way that a careless hand writes. The
//! simulation must find all three.

use saga::{Definition, ShapeError, Verdict};

use crate::sagas::{
    flight::{self, Flight},
    journey::{Command, Journey, RETRY, Reply, Step, step},
};

/// The rollback of the payment is a copy of the one before it: it releases the seat, and nobody gives the money back.
///
/// # Errors
/// Never: the shape is right.
pub fn copied_rollback() -> Result<Flight, ShapeError> {
    type Step = saga::Step<flight::Booking, flight::Command, flight::Reply>;
    let undone = |reply: &flight::Reply| matches!(reply, flight::Reply::Undone);
    Definition::builder("copied-rollback", 1)
        .step(
            Step::compensatable("reserve-seat", "airline")
                .command(|booking| flight::Command::ReserveSeat {
                    flight: booking.flight.clone(),
                })
                .reply(|_, reply| accept(matches!(reply, flight::Reply::SeatReserved { .. })))
                .rollback(|_| flight::Command::ReleaseSeat, undone),
        )
        .step(
            Step::compensatable("pay", "bank")
                .command(|booking| flight::Command::Charge {
                    fare_cents: booking.fare_cents,
                })
                .reply(|_, reply| accept(*reply == flight::Reply::Charged))
                .rollback(|_| flight::Command::ReleaseSeat, undone),
        )
        .pivot(
            Step::pivot("confirm-seat", "airline")
                .command(|booking| flight::Command::ConfirmSeat {
                    seat: booking.seat.clone(),
                })
                .reply(|_, reply| accept(*reply == flight::Reply::Confirmed))
                .rollback(|_| flight::Command::Unconfirm, undone),
        )
        .step(
            Step::retriable("approve", "agency")
                .command(|_| flight::Command::AskForApproval)
                .reply(|_, reply| accept(*reply == flight::Reply::Approved)),
        )
        .build()
        .map(Flight::with)
}

const fn accept(is_it: bool) -> Verdict {
    if is_it {
        Verdict::Accepted
    } else {
        Verdict::Unexpected
    }
}

/// A refusal of the hotel is taken for a yes.
///
/// # Errors
/// Never: the shape is right.
pub fn swallowed_refusal() -> Result<Journey, ShapeError> {
    Definition::builder("swallowed-refusal", 1)
        .step(
            Step::compensatable("hotel", "hotel")
                .command(|_| Command::Do("hotel", None))
                .reply(|_, reply| accept(matches!(reply, Reply::Yes | Reply::No)))
                .rollback(|_| Command::Undo("hotel"), |reply| *reply == Reply::Undone),
        )
        .pivot(step!(pivot "pay" by "bank" with rollback))
        .retry(RETRY)
        .build()
        .map(|definition| Journey::with("swallowed-refusal", definition))
}

/// Of two steps that are commanded at once, one tells what was heard of the other: sent again, the same command says
/// something else.
///
/// # Errors
/// Never: the shape is right.
pub fn drifting_command() -> Result<Journey, ShapeError> {
    Definition::builder("drifting-command", 1)
        .parallel([
            step!(compensatable "flight" by "airline" with rollback),
            step!(compensatable "hotel" by "hotel" with rollback)
                .command(|heard| Command::Do("hotel", Some(heard.0.len()))),
        ])
        .pivot(step!(pivot "pay" by "bank" with rollback))
        .retry(RETRY)
        .build()
        .map(|definition| Journey::with("drifting-command", definition))
}
