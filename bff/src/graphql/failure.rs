//! What becomes an entry of `errors`: who may not, wrong input, limits, services that are away, and our own faults.
//! Refusals of the business are none of these: they are `userErrors`.

use async_graphql::{Error, ErrorExtensions};
use contracts::trace::TraceContext;

use crate::{clients::ServiceError, domain::NotUnderstood};

/// The values of `extensions.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Unauthenticated,
    Forbidden,
    BadUserInput,
    CostExceeded,
    RateLimited,
    Timeout,
    Unavailable,
    Internal,
}

impl Code {
    /// The value as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::BadUserInput => "BAD_USER_INPUT",
            Self::CostExceeded => "COST_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::Timeout => "TIMEOUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// The trace that a request belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestTrace(pub TraceContext);

/// Why a field has no value.
#[derive(Debug)]
pub(crate) enum Failure {
    Unauthenticated(String),
    Forbidden(String),
    BadInput(String),
    /// This part does not answer.
    Unavailable(&'static str),
    /// Ours to mend. Logged here, masked for the caller.
    Internal(anyhow::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (code, message) = match failure {
            Failure::Unauthenticated(message) => (Code::Unauthenticated, message),
            Failure::Forbidden(message) => (Code::Forbidden, message),
            Failure::BadInput(message) => (Code::BadUserInput, message),
            Failure::Unavailable(part) => (
                Code::Unavailable,
                format!("{part} does not answer at the moment. Try again in a while."),
            ),
            Failure::Internal(error) => {
                // The span of the request bears the id that the caller gets to see.
                tracing::error!("a request failed: {error:#}");
                let message = "Something went wrong on our side. Tell support the request id.";
                (Code::Internal, message.to_owned())
            }
        };
        Error::new(message).extend_with(|_, extensions| extensions.set("code", code.as_str()))
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Away { service, ref reason } => {
                tracing::warn!(service, "a service is away: {reason}");
                Self::Unavailable(service)
            }
            ServiceError::Broken { .. } => Self::Internal(error.into()),
        }
    }
}

impl From<NotUnderstood> for Failure {
    fn from(error: NotUnderstood) -> Self {
        Self::Internal(error.into())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) {
            tracing::warn!("the database is away: {error}");
            Self::Unavailable("The database")
        } else {
            Self::Internal(error.into())
        }
    }
}

impl From<std::sync::Arc<sqlx::Error>> for Failure {
    fn from(error: std::sync::Arc<sqlx::Error>) -> Self {
        if is_away(&error) {
            Self::Unavailable("The database")
        } else {
            Self::Internal(error.into())
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let fault = error
            .downcast_ref::<mailbox::Fault>()
            .is_some_and(mailbox::Fault::is_transient);
        if fault || error.downcast_ref::<sqlx::Error>().is_some_and(is_away) {
            tracing::warn!("the database is away: {error:#}");
            return Self::Unavailable("The database");
        }
        Self::Internal(error)
    }
}

/// Whether PostgreSQL gave no answer, or one that speaks of its own state: connections (08), resources (53), an
/// operator's intervention (57).
fn is_away(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(answer) => answer
            .code()
            .is_some_and(|state| ["08", "53", "57"].iter().any(|class| state.starts_with(class))),
        None => matches!(
            error,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed
        ),
    }
}
