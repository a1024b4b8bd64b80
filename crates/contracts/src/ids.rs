//! One type for every kind of id, so that a product can never be taken for a purchase.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Draws a fresh time-ordered UUID (version 7). The only place of the workspace that does.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws ids")]
pub fn fresh() -> Uuid {
    Uuid::now_v7()
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, greater than those drawn in earlier milliseconds.
            #[must_use]
            pub fn fresh() -> Self {
                Self(fresh())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

uuid_id!(
    /// A purchase, which is also its saga.
    PurchaseId
);
uuid_id!(
    /// A product of the catalogue.
    ProductId
);
uuid_id!(
    /// An order, made at most once per purchase.
    OrderId
);
uuid_id!(
    /// One attempt to take money for a purchase.
    PaymentId
);
uuid_id!(
    /// One message: a send, a re-send and a re-emission each have their own (`ce_id`).
    MessageId
);
uuid_id!(
    /// What a command asks for: the same in every re-send of it, and in its reply.
    CommandId
);

/// The subject of a customer's token. Opaque; never shown to another customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CustomerId(pub String);

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PurchaseId {
    /// The short code that a customer reads to support, such as `P-7F3K2QX`.
    ///
    /// The last 35 bits of the id in Crockford's base 32: those are the random ones of a version 7 UUID,
    /// so two purchases of one day share a code with a chance of about one in 34 thousand million a pair.
    /// It is a help for people, never a key.
    #[must_use]
    pub fn reference(&self) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut bits = self.0.as_u128();
        let mut code = [0_u8; 7];
        for digit in code.iter_mut().rev() {
            let index = usize::try_from(bits & 31).expect("five bits fit");
            *digit = ALPHABET[index];
            bits >>= 5;
        }
        let code: String = code.iter().copied().map(char::from).collect();
        format!("P-{code}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_short_and_stable() {
        let id: PurchaseId = "0192f0c4-0000-7000-8000-00000000001f".parse().unwrap();
        assert_eq!(id.reference(), "P-000000Z");
    }
}
