//! Who asks, and what they may do.

use std::time::Duration;

use contracts::ids::CustomerId;
use host::identity::Acting;

/// What stays open for somebody whose token lives longer is closed after this anyway.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What somebody may do. Each role may do everything that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, async_graphql::Enum)]
pub(crate) enum Role {
    /// Anybody, without a token.
    Anonymous,
    /// Buys.
    Customer,
    /// Looks after purchases and goods.
    Operator,
    /// Decides on products and on what operators may not.
    Admin,
}

impl Role {
    /// The role of this name in a token; other names mean nothing here.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "customer" => Some(Self::Customer),
            "operator" => Some(Self::Operator),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// The role as a token names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Customer => "customer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role and everything that it implies, without [`Role::Anonymous`].
    pub fn with_implied(self) -> Vec<Self> {
        [Self::Customer, Self::Operator, Self::Admin]
            .into_iter()
            .filter(|role| *role <= self)
            .collect()
    }
}

/// Who a valid token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `sub`: the same for ever, and opaque.
    pub subject: CustomerId,
    pub name: Option<String>,
    pub email: Option<String>,
    /// The highest role; [`Role::Anonymous`] when the token has none that counts here.
    pub role: Role,
    /// `exp`, in seconds since 1970.
    pub expires_at: u64,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// Nobody known: there was no token.
    Anonymous,
    /// Whoever the token speaks for.
    Known(Identity),
}

impl Viewer {
    /// For whom the services are asked.
    pub fn acting(&self) -> Option<Acting> {
        self.identity().map(|identity| Acting {
            subject: identity.subject.0.clone(),
            role: identity.role.name().to_owned(),
        })
    }

    /// What the viewer may do at most.
    pub fn role(&self) -> Role {
        match self {
            Self::Anonymous => Role::Anonymous,
            Self::Known(identity) => identity.role,
        }
    }

    /// Whether the viewer looks after other people's purchases.
    pub fn is_operator(&self) -> bool {
        self.role() >= Role::Operator
    }

    /// Who it is, if known.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity) => Some(identity),
        }
    }

    /// How long what is open for the viewer may stay so: until the token expires, by the clock that it was judged by.
    pub fn lives(&self) -> Duration {
        match self {
            Self::Anonymous => LONGEST,
            Self::Known(identity) => {
                let seconds = identity
                    .expires_at
                    .saturating_sub(jsonwebtoken::get_current_timestamp());
                Duration::from_secs(seconds).min(LONGEST)
            }
        }
    }

    /// Whether the viewer may see what belongs to `owner`.
    pub fn may_see(&self, owner: &CustomerId) -> bool {
        self.is_operator() || self.owns(owner)
    }

    /// Whether the viewer is `owner`.
    pub fn owns(&self, owner: &CustomerId) -> bool {
        self.identity().is_some_and(|identity| identity.subject == *owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_implies_the_lower_ones() {
        assert_eq!(
            Role::Admin.with_implied(),
            [Role::Customer, Role::Operator, Role::Admin]
        );
        assert_eq!(Role::Customer.with_implied(), [Role::Customer]);
        assert!(Role::Anonymous.with_implied().is_empty());
    }
}
