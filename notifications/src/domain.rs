//! Outcomes of purchases, and what becomes of a notification. Pure.

use std::{fmt, time::Duration};

use contracts::{
    ids::{CustomerId, PurchaseId},
    money::Currency,
    purchase_manager::{PurchaseFailureView, PurchaseLine, PurchaseUpdated},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of notification ids: a random UUID, fixed for ever, because Message-IDs are made of it.
const NAMESPACE: Uuid = Uuid::from_u128(0x5c1d_22a7_8b0e_4f61_a3d9_6e07_41bc_95f8);

/// Pause before the second try of a mail. A greylisting server or one that restarts is back after some of these.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause between two tries. With the default of 80 attempts a mail is given up after three days; RFC 5321,
/// section 4.5.4.1, asks for a retry at least every some hours and for days of patience.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// How a purchase has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// Everything is done.
    Completed,
    /// It could not be done, and what was done was taken back.
    Rejected,
    /// It was taken back because somebody asked for it.
    Cancelled,
}

/// A state of a purchase that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state of a purchase that this version knows")]
pub struct UnknownState(String);

impl Outcome {
    /// The outcome that a purchase in this state has; none while it has not ended.
    ///
    /// # Errors
    /// [`UnknownState`].
    pub fn of(state: &str) -> Result<Option<Self>, UnknownState> {
        match state {
            "COMPLETED" => Ok(Some(Self::Completed)),
            "REJECTED" => Ok(Some(Self::Rejected)),
            "CANCELLED" => Ok(Some(Self::Cancelled)),
            "PENDING" | "RUNNING" | "COMPENSATING" | "STUCK" => Ok(None),
            other => Err(UnknownState(other.chars().take(60).collect())),
        }
    }

    /// The word of the purchase's state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of the notification of this outcome: the same wherever and whenever it is asked for.
#[must_use]
pub fn notification_id(purchase: PurchaseId, outcome: Outcome) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{purchase} {outcome}").as_bytes())
}

/// What a mail is made of, beside the customer's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Purchase {
    /// Short code for support.
    pub reference: String,
    /// What was bought.
    pub lines: Vec<PurchaseLine>,
    /// Of every amount.
    pub currency: Currency,
    /// In minor units.
    pub total_minor: i64,
    /// Whether the goods are brought.
    pub home_delivery: bool,
    /// Why it was turned back.
    pub failure: Option<PurchaseFailureView>,
}

/// An outcome to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// How it ended.
    pub outcome: Outcome,
    /// When, in microseconds since 1970.
    pub ended_at_micros: i64,
    /// What is told of it.
    pub purchase: Purchase,
    /// The trace to continue.
    pub trace: Option<String>,
}

impl Notice {
    /// The notice of a purchase that has ended; none for one that has not.
    ///
    /// # Errors
    /// [`UnknownState`].
    pub fn of(told: PurchaseUpdated, trace: Option<String>) -> Result<Option<Self>, UnknownState> {
        let Some(outcome) = Outcome::of(&told.state)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            purchase_id: told.purchase_id,
            customer_id: told.customer_id,
            outcome,
            ended_at_micros: told.updated_at,
            purchase: Purchase {
                reference: told.reference,
                lines: told.lines,
                currency: told.currency,
                total_minor: told.total_minor,
                home_delivery: told.home_delivery,
                failure: told.failure,
            },
            trace,
        }))
    }
}

/// What a try to send has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// The server has taken the mail.
    Sent,
    /// There is nobody to send it to.
    Nobody,
    /// It may be taken later.
    Later(String),
    /// It will never be taken.
    Never(String),
    /// It was not tried: the service stops, or nobody could tell the address.
    NotTried(String),
}

/// What becomes of a notification after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The mail is out.
    Sent,
    /// There will be no mail.
    Skipped(String),
    /// It is tried again after the pause; `counts` says whether the try is one of those that are limited.
    Again {
        /// Until then.
        pause: Duration,
        /// Whether it counts.
        counts: bool,
        /// Why.
        reason: String,
    },
    /// It waits for an operator.
    Failed(String),
}

/// Decides after try number `attempt` (from 1), of `max_attempts` at most.
#[must_use]
pub fn after(tried: Tried, attempt: u32, max_attempts: u32) -> Next {
    match tried {
        Tried::Sent => Next::Sent,
        Tried::Nobody => Next::Skipped("the customer has no e-mail address".to_owned()),
        Tried::Never(reason) => Next::Failed(reason),
        Tried::Later(reason) if attempt >= max_attempts => {
            Next::Failed(format!("given up after {attempt} attempts: {reason}"))
        }
        Tried::Later(reason) => Next::Again {
            pause: pause(attempt),
            counts: true,
            reason,
        },
        Tried::NotTried(reason) => Next::Again {
            pause: FIRST_PAUSE,
            counts: false,
            reason,
        },
    }
}

/// The pause after try number `attempt`: 10 s, twice as long each time, an hour at most.
fn pause(attempt: u32) -> Duration {
    let doubled = attempt.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2_u32.pow(doubled)).min(LONGEST_PAUSE)
}

/// `text` without the address `email`, nor the part of it before the `@`: servers like to repeat whom they refuse.
#[must_use]
pub fn without_address(text: &str, email: &str) -> String {
    const INSTEAD: &str = "<address>";
    // In lower case, because servers do not keep the case. ASCII only, so that positions stay.
    let mut text = replaced(text, email, INSTEAD);
    if let Some((local, _)) = email.rsplit_once('@')
        && local.len() > 2
    {
        text = replaced(&text, local, INSTEAD);
    }
    text.chars().take(300).collect()
}

fn replaced(text: &str, what: &str, instead: &str) -> String {
    let (lower, what) = (text.to_ascii_lowercase(), what.to_ascii_lowercase());
    let mut result = String::with_capacity(text.len());
    let mut from = 0;
    if what.is_empty() {
        return text.to_owned();
    }
    while let Some(found) = lower[from..].find(&what) {
        result.push_str(&text[from..from + found]);
        result.push_str(instead);
        from += found + what.len();
    }
    result.push_str(&text[from..]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ended_purchase_has_an_outcome() {
        for outcome in [Outcome::Completed, Outcome::Rejected, Outcome::Cancelled] {
            assert_eq!(Outcome::of(outcome.as_str()), Ok(Some(outcome)));
        }
        for open in ["PENDING", "RUNNING", "COMPENSATING", "STUCK"] {
            assert_eq!(Outcome::of(open), Ok(None));
        }
        assert!(Outcome::of("LOST").is_err());
    }

    #[test]
    fn an_id_stands_for_one_outcome_of_one_purchase() {
        let (one, other) = (PurchaseId::fresh(), PurchaseId::fresh());
        let id = notification_id(one, Outcome::Completed);
        assert_eq!(id, notification_id(one, Outcome::Completed));
        assert_ne!(id, notification_id(one, Outcome::Rejected));
        assert_ne!(id, notification_id(other, Outcome::Completed));
    }

    #[test]
    fn pauses_double_up_to_an_hour() {
        let pauses: Vec<u64> = (1..=11).map(|attempt| pause(attempt).as_secs()).collect();
        assert_eq!(
            pauses,
            [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]
        );
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn the_default_patience_is_three_days() {
        let total: Duration = (1..80).map(pause).sum();
        assert_eq!(total.as_secs() / 86_400, 2);
        assert_eq!((total + LONGEST_PAUSE).as_secs() / 86_400, 3);
    }

    #[test]
    fn the_last_try_that_fails_parks_and_what_was_not_tried_counts_nothing() {
        let later = || Tried::Later("451 busy".to_owned());
        assert!(matches!(after(later(), 3, 4), Next::Again { counts: true, .. }));
        assert_eq!(
            after(later(), 4, 4),
            Next::Failed("given up after 4 attempts: 451 busy".to_owned())
        );
        let not_tried = Tried::NotTried("stopping".to_owned());
        assert!(matches!(
            after(not_tried, 9, 4),
            Next::Again { counts: false, .. }
        ));
        let never = Tried::Never("550 no".to_owned());
        assert_eq!(after(never, 1, 4), Next::Failed("550 no".to_owned()));
    }

    #[test]
    fn an_address_does_not_stay_in_a_reason() {
        let said = "550 5.1.1 <Alice.Smith@Example.com>: user alice.smith unknown";
        assert_eq!(
            without_address(said, "alice.smith@example.com"),
            "550 5.1.1 <<address>>: user <address> unknown"
        );
        assert_eq!(without_address("é 451 busy", "b@x.org"), "é 451 busy");
    }
}
