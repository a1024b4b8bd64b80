//! What to try again and what to park.
//!
//! A business refusal is neither: it is an ordinary reply.

use std::borrow::Cow;

/// Why a batch could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The same batch may succeed later: the database or the registry is away, a lock was lost, a race was lost.
    #[error("{0:#}")]
    Transient(anyhow::Error),
    /// The same message will fail in the same way, whenever it is tried.
    #[error("{0:#}")]
    Deterministic(anyhow::Error),
}

impl Fault {
    /// A fault that no repetition mends.
    pub fn deterministic(error: impl Into<anyhow::Error>) -> Self {
        Self::Deterministic(error.into())
    }

    /// A fault that may pass.
    pub fn transient(error: impl Into<anyhow::Error>) -> Self {
        Self::Transient(error.into())
    }

    /// Whether the same batch is worth another try.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }

    /// A short name for tables and metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Transient(_) => "transient",
            Self::Deterministic(error) if error.is::<contracts::message::AvroError>() => "decoding",
            Self::Deterministic(error) if error.is::<contracts::envelope::EnvelopeError>() => "envelope",
            Self::Deterministic(error) if error.is::<sqlx::Error>() => "data",
            Self::Deterministic(_) => "handling",
        }
    }
}

impl From<contracts::message::AvroError> for Fault {
    fn from(error: contracts::message::AvroError) -> Self {
        Self::deterministic(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) {
            Self::transient(error)
        } else {
            Self::deterministic(error)
        }
    }
}

/// Primary keys at which two transactions may meet that carry out the same thing.
const RACED: [&str; 4] = ["inbox_pkey", "operation_pkey", "request_pkey", "saga_pkey"];

/// Whether PostgreSQL's answer may be another one next time.
///
/// By SQLSTATE class (PostgreSQL 15, appendix A): only what the message itself brought about is final, namely data
/// exceptions (22), broken constraints (23) and what is too large to be stored (54). A missing table or right (42) is the deployment's fault, not the
/// message's, and everything else is the server's state. Two transactions that insert the same saga, operation or request
/// at once are a race: the loser finds the winner's row at its next try.
fn is_transient(error: &sqlx::Error) -> bool {
    let Some(database) = error.as_database_error() else {
        return !matches!(
            error,
            sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_)
                | sqlx::Error::RowNotFound
        );
    };
    let state = database.code().unwrap_or(Cow::Borrowed(""));
    let lost_race = state == "23505" && database.constraint().is_some_and(|name| RACED.contains(&name));
    lost_race || !["22", "23", "54"].iter().any(|class| state.starts_with(class))
}
