//! What the edge knows of the business: words, purchases, products, prices. No async, no SQL, no clock.

pub(crate) mod pricing;
pub(crate) mod product;
pub(crate) mod purchase;
pub(crate) mod words;

use chrono::{DateTime, Utc};
use words::{UnknownWord, UserErrorCode};

/// The business says no, in words that the caller understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub code: UserErrorCode,
    pub message: String,
    /// The path to the input field, if one is to blame; indices as text.
    pub field: Option<Vec<String>>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

impl Refusal {
    /// A refusal that the same request meets again.
    pub fn new(code: UserErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            retryable: false,
        }
    }

    /// A refusal because a service is away.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retryable: true,
            ..Self::new(UserErrorCode::TemporarilyUnavailable, message)
        }
    }

    /// Says which input field is to blame.
    pub fn at<Part: ToString>(mut self, path: impl IntoIterator<Item = Part>) -> Self {
        self.field = Some(path.into_iter().map(|part| part.to_string()).collect());
        self
    }
}

impl TryFrom<contracts::http::Refusal> for Refusal {
    type Error = UnknownWord;
    fn try_from(refusal: contracts::http::Refusal) -> Result<Self, Self::Error> {
        let contracts::http::Refusal {
            code,
            message,
            field,
            retryable,
        } = refusal;
        Ok(Self {
            code: code.parse()?,
            message,
            field,
            retryable,
        })
    }
}

/// A service said something that this version cannot make sense of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotUnderstood {
    /// A word that is in none of the lists.
    #[error(transparent)]
    Word(#[from] UnknownWord),
    /// An amount outside of 64 bits.
    #[error(transparent)]
    Amount(#[from] contracts::money::Overflow),
    /// A time outside of the calendar.
    #[error("{0} microseconds since 1970 is outside of the calendar")]
    Time(i64),
}

/// Microseconds since 1970 in UTC, as the messages carry them.
pub(crate) fn time(micros: i64) -> Result<DateTime<Utc>, NotUnderstood> {
    DateTime::from_timestamp_micros(micros).ok_or(NotUnderstood::Time(micros))
}
