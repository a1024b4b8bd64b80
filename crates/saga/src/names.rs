//! The names a saga uses for its parts.

use std::{borrow::Borrow, borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Cow<'static, str>);

        impl $name {
            /// The name of something written in a definition; allocates nothing.
            #[must_use]
            pub const fn literal(name: &'static str) -> Self {
                Self(Cow::Borrowed(name))
            }

            /// The name as text, for a column, a header or a span.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(Cow::Owned(name.to_owned()))
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(Cow::Owned(name))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Names one step within a definition, such as `reserve-products`.
    StepName
);
name!(
    /// Names whoever carries out a step, such as `payments`.
    Participant
);

/// Which way a command moves the saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Towards completion.
    Forward,
    /// Undoing what was commanded before.
    Compensation,
}

impl Direction {
    /// The direction as text: `forward` or `compensation`, as serde writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Compensation => "compensation",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The id of the command that `step` of saga `saga_id` sends in `direction`: a UUID version 5 in the
/// saga's own namespace. Every re-send carries the same id, so a participant recognises it.
#[must_use]
pub fn command_id(saga_id: Uuid, step: &str, direction: Direction) -> Uuid {
    Uuid::new_v5(&saga_id, format!("{step}/{direction}").as_bytes())
}
