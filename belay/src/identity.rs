//! `belay identity`: keys with which services say to each other who asks.

use std::process::ExitCode;

use contracts::calls;
use host::identity::{Known, PrivateKey};

use crate::output;

/// Prints new keys for everyone who asks a service over HTTP, as settings: private ones, and the public ones for all services.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only for this caller, to replace its key: first every service is told of the new public key beside the old one, then the
    /// caller gets the private key, then the old public key is taken away.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(calls::callers()))]
    pub caller: Option<String>,
}

/// Makes the keys and prints them.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut private, mut public) = (Vec::new(), Vec::new());
    for caller in calls::callers().filter(|name| args.caller.as_deref().is_none_or(|only| only == *name)) {
        let key = PrivateKey::fresh();
        private.push(format!(
            "BELAY_IDENTITY_KEY_{}={}",
            caller.to_uppercase().replace('-', "_"),
            key.reveal()
        ));
        let known = Known {
            caller: caller.to_owned(),
            key: key.public(),
        };
        public.push(known.to_string());
    }
    private.push(format!("BELAY_CALLERS={}", public.join(",")));
    output::result(&private.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}
