//! Who asks a service over HTTP, for whom, and whether they may.
//!
//! Every caller has a private key ([`PrivateKey`]) and signs short tokens with it, each for one service ([`Identity`]). Every
//! service knows the callers' public keys ([`Known`]) and lets nobody else in ([`Guard`]); which caller may do what is
//! `contracts::calls`. With the token goes whom the caller asks for ([`Acting`]): the person who is recorded where something
//! is changed. Why so: `docs/adr/0010-identity-between-services.md`.
//!
//! There is no way to switch this off: a service that is told of no callers does not start.

pub mod acting;
mod guard;
mod keys;
mod token;

pub use acting::Acting;
pub use guard::Guard;
pub use keys::{KeyError, Known, PrivateKey, PublicKey};
pub use token::{Callers, Identity, IdentityError, Refusal};

/// Settings of a service that asks others.
#[derive(Debug, Clone, clap::Args)]
pub struct IdentityArgs {
    /// The private key with which this service tells others who asks; `belay identity` makes one. Better in the environment:
    /// the command line can be read by others.
    #[arg(long, env = "BELAY_IDENTITY_KEY", hide_env_values = true)]
    pub identity_key: PrivateKey,
}
