//! The states of a payment and what each allows. No database, no clock.

use contracts::ids::PaymentId;

/// The state of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The amount is held.
    Authorized,
    /// The amount is taken.
    Captured,
    /// The provider said no. The end.
    Declined,
    /// The hold was let go. The end.
    Voided,
    /// What was taken was given back. The end.
    Refunded,
}

/// What can be done with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take the held amount.
    Capture,
    /// Let go of it, or give it back.
    Void,
}

/// A payment, as far as decisions need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// The payment.
    pub payment_id: PaymentId,
    /// Where it stands.
    pub state: State,
}

/// A command that contradicts what is stored. It is parked for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The state does not allow it.
    #[error("payment {payment_id} is {} and cannot be {}", state.as_str(), action.past_tense())]
    Illegal {
        /// The payment.
        payment_id: PaymentId,
        /// Where it stands.
        state: State,
        /// What was asked for.
        action: Action,
    },
    /// There is no payment.
    #[error("the purchase has no payment that could be {}", .0.past_tense())]
    Missing(Action),
    /// The purchase has a payment although no command for one was ever carried out.
    #[error("the purchase already has the payment {0}, which no command of this purchase has made")]
    AlreadyThere(PaymentId),
}

impl Action {
    fn past_tense(self) -> &'static str {
        match self {
            Self::Capture => "captured",
            Self::Void => "voided",
        }
    }
}

impl State {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorized => "AUTHORIZED",
            Self::Captured => "CAPTURED",
            Self::Declined => "DECLINED",
            Self::Voided => "VOIDED",
            Self::Refunded => "REFUNDED",
        }
    }

    /// Reads what [`State::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "AUTHORIZED" => Some(Self::Authorized),
            "CAPTURED" => Some(Self::Captured),
            "DECLINED" => Some(Self::Declined),
            "VOIDED" => Some(Self::Voided),
            "REFUNDED" => Some(Self::Refunded),
            _ => None,
        }
    }

    /// The state after `action`, or none where it is not allowed. A repetition is not allowed either: duplicates of a
    /// command end at the operation barrier, so here it would be a second command.
    #[must_use]
    pub fn after(self, action: Action) -> Option<Self> {
        match (self, action) {
            (Self::Authorized, Action::Capture) => Some(Self::Captured),
            (Self::Authorized, Action::Void) => Some(Self::Voided),
            (Self::Captured, Action::Void) => Some(Self::Refunded),
            (Self::Captured, Action::Capture)
            | (Self::Declined | Self::Voided | Self::Refunded, Action::Capture | Action::Void) => None,
        }
    }
}

impl Payment {
    /// The payment after `action`.
    ///
    /// # Errors
    /// [`Conflict::Illegal`].
    pub fn after(self, action: Action) -> Result<Self, Conflict> {
        match self.state.after(action) {
            Some(state) => Ok(Self { state, ..self }),
            None => Err(Conflict::Illegal {
                payment_id: self.payment_id,
                state: self.state,
                action,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 5] = [
        State::Authorized,
        State::Captured,
        State::Declined,
        State::Voided,
        State::Refunded,
    ];

    #[test]
    fn every_transition_is_decided() {
        let table: Vec<(Option<State>, Option<State>)> = STATES
            .iter()
            .map(|state| (state.after(Action::Capture), state.after(Action::Void)))
            .collect();
        assert_eq!(
            table,
            [
                (Some(State::Captured), Some(State::Voided)),
                (None, Some(State::Refunded)),
                (None, None),
                (None, None),
                (None, None),
            ]
        );
    }

    #[test]
    fn an_illegal_transition_is_named() {
        let payment = Payment {
            payment_id: PaymentId::fresh(),
            state: State::Voided,
        };
        let error = payment.after(Action::Capture).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("payment {} is VOIDED and cannot be captured", payment.payment_id)
        );
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in STATES {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("LOST"), None);
    }
}
