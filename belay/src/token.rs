//! `belay token`: a token of the development issuer, for who may read its key.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use embedded::issuer::{self, Claims};
use serde_json::Value;

use crate::{
    data_dir::{DataDir, SystemInfo},
    output,
};

/// A year: longer is no development token.
const LONGEST_LIFETIME_S: u64 = 366 * 24 * 60 * 60;

/// The issuer answers from memory, on this machine.
const ISSUER_LIMIT: Duration = Duration::from_secs(5);

/// Prints a token for the running system, alone on standard output.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory of the running system.
    #[arg(long, env = "BELAY_DATA", default_value = ".belay", value_name = "DIR")]
    pub data: PathBuf,
    /// What the bearer may do.
    #[arg(long, value_enum)]
    pub role: Role,
    /// Who the bearer is: the stable id (`sub`).
    #[arg(long, value_name = "NAME", value_parser = parse_subject)]
    pub subject: String,
    /// The name to show; the subject if it is not given.
    #[arg(long)]
    pub name: Option<String>,
    /// How long the token is valid.
    #[arg(long, value_name = "S", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=LONGEST_LIFETIME_S))]
    pub lifetime_seconds: u64,
}

/// A role of the edge. Each has the rights of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Customer,
    Operator,
    Admin,
}

impl Role {
    /// As tokens say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Mints tokens that the running system accepts.
#[derive(Debug, Clone)]
pub struct Minter {
    key_directory: PathBuf,
    issuer: String,
    audience: String,
}

impl Minter {
    /// A minter for the running system: with the key in the data directory, in the name of the issuer that the system
    /// trusts.
    ///
    /// # Errors
    /// When the system trusts a real issuer, whose key is not here: a directory that had an issuer of its own before may
    /// still have that key, so the issuer is asked whether it knows it (test
    /// `token::a_token_of_another_issuer_than_the_systems_is_not_minted`).
    pub async fn of(dir: &DataDir, system: &SystemInfo) -> anyhow::Result<Self> {
        let minter = Self {
            key_directory: dir.issuer(),
            issuer: system.issuer.clone(),
            audience: system.audience.clone(),
        };
        // Minting would make a key that nobody trusts.
        if !minter.key_directory.is_dir() {
            bail!(
                "the system on {} takes its tokens from {}, whose key is not here: get a token there",
                dir.path().display(),
                minter.issuer
            );
        }
        let probe = minter.mint(Role::Customer, "probe", "probe", Duration::from_secs(1))?;
        let key = key_id(&probe).context("a token that was just made names no key")?;
        if !published_keys(&minter.issuer).await?.contains(&key) {
            bail!(
                "the key in {} is not one of the issuer {} that the system trusts: get a token there",
                minter.key_directory.display(),
                minter.issuer
            );
        }
        Ok(minter)
    }

    /// Whether the system still trusts these tokens.
    #[must_use]
    pub fn is_for(&self, system: &SystemInfo) -> bool {
        self.issuer == system.issuer && self.audience == system.audience
    }

    /// A token that is valid from now on.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn mint(&self, role: Role, subject: &str, name: &str, lifetime: Duration) -> anyhow::Result<String> {
        let claims = Claims {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            subject: subject.to_owned(),
            name: name.to_owned(),
            // A domain that is reserved for addresses that lead nowhere (RFC 2606).
            email: format!("{}@belay.invalid", local_part(subject)),
            roles: vec![role.as_str().to_owned()],
            lifetime,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a token is dated by the clock of who issues it"
        )]
        let now = chrono::Utc::now();
        issuer::mint(Path::new(&self.key_directory), &claims, now)
    }
}

/// Mints the token and prints it.
///
/// # Errors
/// When no system runs on the directory, or it trusts a real issuer.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dir = DataDir::open(&args.data)?;
    let minter = Minter::of(&dir, &dir.system()?).await?;
    let name = args.name.as_deref().unwrap_or(&args.subject);
    let token = minter.mint(
        args.role,
        &args.subject,
        name,
        Duration::from_secs(args.lifetime_seconds),
    )?;
    output::result(&token)?;
    Ok(ExitCode::SUCCESS)
}

fn parse_subject(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > 255 || text.chars().any(char::is_control) {
        return Err("write 1 to 255 characters, such as alice".to_owned());
    }
    Ok(text.to_owned())
}

fn local_part(subject: &str) -> String {
    subject
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '.'
            }
        })
        .collect()
}

/// The ids of the keys that an issuer publishes.
async fn published_keys(issuer: &str) -> anyhow::Result<Vec<String>> {
    let away =
        || format!("the token issuer {issuer} does not answer: is the system still starting or stopping?");
    let client = reqwest::Client::builder().timeout(ISSUER_LIMIT).build()?;
    let document = get(&client, &format!("{issuer}/.well-known/openid-configuration"))
        .await
        .with_context(away)?;
    let address = document["jwks_uri"]
        .as_str()
        .with_context(|| format!("the issuer {issuer} publishes no keys"))?;
    let keys = get(&client, address).await.with_context(away)?;
    let keys = keys["keys"].as_array().cloned().unwrap_or_default();
    Ok(keys
        .iter()
        .filter_map(|key| key["kid"].as_str().map(str::to_owned))
        .collect())
}

async fn get(client: &reqwest::Client, address: &str) -> anyhow::Result<Value> {
    Ok(client
        .get(address)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?)
}

/// The `kid` in a token's header.
fn key_id(token: &str) -> Option<String> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    header["kid"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_read_from_a_tokens_header() {
        // {"alg":"ES256","kid":"k1"}
        assert_eq!(
            key_id("eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.e30.x"),
            Some("k1".to_owned())
        );
        assert_eq!(key_id("nonsense"), None);
    }

    #[test]
    fn a_subject_is_something_that_can_be_read() {
        assert!(parse_subject("alice").is_ok());
        assert!(parse_subject(" ").is_err());
        assert!(parse_subject("a\nb").is_err());
        assert!(parse_subject(&"x".repeat(256)).is_err());
    }
}
