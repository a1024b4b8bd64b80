//! Who asks: bearer tokens, verified against the issuer's key set.
//!
//! | module | job |
//! |---|---|
//! | [`keys`] | the key set, found by OpenID discovery and kept |
//! | [`token`] | the checks of one token |
//! | [`viewer`] | who it says it is, and what that may do |

mod keys;
mod token;
mod viewer;

pub(crate) use keys::Keys;
pub(crate) use token::{Authenticator, TokenError, TokenRules};
pub(crate) use viewer::{Identity, Role, Viewer};
