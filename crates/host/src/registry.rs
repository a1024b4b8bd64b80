//! How to reach the schema registry and to log in there, from the command line or the environment.
//!
//! What cannot work together is refused with what to do, as for the broker ([`crate::kafka`]).

use std::path::PathBuf;

use mailbox::{
    codec::{RegistryLogin, RegistryMode, RegistrySettings},
    kafka::{Secret, security::Pem},
};
use reqwest::Url;

use crate::given::{Refusal, is_loopback, parse_pem, pem_text, refuse, secret};

/// The connection to a registry whose address is given apart. Everything unset is one that lets everybody in.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Schema registry")]
pub struct RegistryArgs {
    /// Our name at the schema registry (HTTP basic authentication); at Confluent's cloud the API key.
    #[arg(long = "registry-user", env = "BELAY_REGISTRY_USER")]
    pub registry_user: Option<String>,
    /// Our password there; at Confluent's cloud the API key's secret.
    #[arg(
        long = "registry-password",
        env = "BELAY_REGISTRY_PASSWORD",
        hide_env_values = true
    )]
    pub registry_password: Option<Secret>,
    /// A file with our password there, such as a mounted secret; a line end at its end is left out.
    #[arg(long = "registry-password-file", env = "BELAY_REGISTRY_PASSWORD_FILE")]
    pub registry_password_file: Option<PathBuf>,
    /// The authority that signed the registry's certificate: a PEM file, or the PEM text itself [default: the system's authorities].
    #[arg(long = "registry-ca", env = "BELAY_REGISTRY_CA", value_parser = parse_pem, hide_env_values = true)]
    pub registry_ca: Option<Pem>,
    /// Lets a login go over an open connection to a host that is not this one.
    #[arg(long = "registry-allow-open-login", env = "BELAY_REGISTRY_ALLOW_OPEN_LOGIN")]
    pub registry_allow_open_login: bool,
}

impl RegistryArgs {
    /// Whether nothing is set that only a given registry can need.
    #[must_use]
    pub fn is_default(&self) -> bool {
        let Self {
            registry_user,
            registry_password,
            registry_password_file,
            registry_ca,
            registry_allow_open_login: _,
        } = self;
        registry_user.is_none()
            && registry_password.is_none()
            && registry_password_file.is_none()
            && registry_ca.is_none()
    }

    /// The settings of clients of the registry at `address`. Files are read.
    ///
    /// # Errors
    /// [`Refusal`]: an address that is none, options that do not fit together, or a file that cannot be used.
    pub fn settings(&self, address: &str, mode: RegistryMode) -> Result<RegistrySettings, Refusal> {
        let url = url(address)?;
        let login = self.login(&url)?;
        if (login.is_some() || has_login(&url)) && !self.may_log_in(&url) {
            return refuse(format!(
                "--registry would send the login to {} over an open connection: use https, or --registry-allow-open-login when the \
                 network is trusted",
                url.host_str().unwrap_or_default()
            ));
        }
        let authority = match &self.registry_ca {
            Some(_) if url.scheme() != "https" => {
                return refuse("--registry-ca needs TLS: say --registry https://host:port, or leave it out");
            }
            Some(pem) => Some(pem_text("--registry-ca", pem)?.into_bytes()),
            None => None,
        };
        let settings = RegistrySettings {
            url: address.to_owned(),
            mode,
            login,
            authority,
        };
        match settings.client() {
            Ok(_) => Ok(settings),
            Err(error) => refuse(error.to_string()),
        }
    }

    fn login(&self, url: &Url) -> Result<Option<RegistryLogin>, Refusal> {
        let password = secret(
            ("--registry-password", &self.registry_password),
            ("--registry-password-file", &self.registry_password_file),
        )?;
        let user = self.registry_user.clone().filter(|user| !user.is_empty());
        match (user, password) {
            (None, None) => Ok(None),
            (Some(_), None) => refuse(
                "--registry-user needs a password: set BELAY_REGISTRY_PASSWORD, or add --registry-password-file",
            ),
            (None, Some(_)) => refuse("the registry's password needs a user: add --registry-user"),
            // The first colon ends the name (RFC 7617, section 2).
            (Some(user), Some(_)) if user.contains(':') => {
                refuse("--registry-user holds a colon, which HTTP's basic authentication cannot tell")
            }
            (Some(_), Some(_)) if has_login(url) => {
                refuse("--registry holds a login already: leave it out there, or leave --registry-user out")
            }
            (Some(user), Some(password)) => Ok(Some(RegistryLogin { user, password })),
        }
    }

    /// A password can be read by everybody between us and a registry without TLS.
    fn may_log_in(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.registry_allow_open_login || url.host_str().is_some_and(is_loopback)
    }
}

/// Not repeated in the refusal: it may hold a password.
fn url(address: &str) -> Result<Url, Refusal> {
    let url = Url::parse(address).ok();
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) else {
        return refuse(
            "--registry is no URL: write http://host:port, with the path of its Confluent API if it has one",
        );
    };
    if url.query().is_some() {
        return refuse("--registry takes no query: write http://host:port");
    }
    Ok(url)
}

fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        registry: RegistryArgs,
    }

    /// Reads a command line; words are separated by spaces.
    fn settings(address: &str, line: &str) -> Result<RegistrySettings, String> {
        let words = std::iter::once("program").chain(line.split_whitespace());
        let program = Program::try_parse_from(words).unwrap();
        let settings = program.registry.settings(address, RegistryMode::Check);
        settings.map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn nothing_said_is_a_registry_that_lets_everybody_in() {
        let settings = settings("http://registry:8081/apis/ccompat/v7", "").unwrap();
        assert!(settings.login.is_none() && settings.authority.is_none());
    }

    #[test]
    fn a_combination_that_cannot_work_is_refused_with_what_to_do() {
        let far = "https://registry:8081";
        for (address, line, words) in [
            ("registry:8081", "", "--registry is no URL"),
            ("http://registry:8081?x=1", "", "takes no query"),
            (far, "--registry-user x", "set BELAY_REGISTRY_PASSWORD"),
            (far, "--registry-password x", "add --registry-user"),
            (
                far,
                "--registry-user x --registry-password y --registry-password-file /z",
                "leave one out",
            ),
            (
                far,
                "--registry-user x --registry-password-file /nowhere/at/all",
                "--registry-password-file /nowhere/at/all cannot be read",
            ),
            (far, "--registry-user a:b --registry-password y", "holds a colon"),
            (
                "https://a:b@registry:8081",
                "--registry-user x --registry-password y",
                "holds a login already",
            ),
            (
                "http://registry:8081",
                "--registry-user x --registry-password y",
                "use https",
            ),
            ("http://a:b@registry:8081", "", "use https"),
            (
                "http://registry:8081",
                "--registry-ca /nowhere/at/all",
                "say --registry https://host:port",
            ),
            (
                far,
                "--registry-ca /nowhere/at/all",
                "--registry-ca /nowhere/at/all cannot be read",
            ),
        ] {
            let refusal = settings(address, line).unwrap_err();
            assert!(refusal.contains(words), "{address} {line}: {refusal}");
        }
    }

    #[test]
    fn a_login_over_an_open_connection_stays_on_this_machine_unless_it_is_allowed_to_leave() {
        let line = "--registry-user x --registry-password y";
        assert!(settings("http://127.0.0.1:8081", line).is_ok());
        assert!(settings("http://[::1]:8081", line).is_ok());
        let allowed = format!("{line} --registry-allow-open-login");
        assert!(settings("http://registry:8081", &allowed).is_ok());
    }

    #[test]
    fn a_login_is_a_user_and_a_password_from_a_file_without_its_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "swordfish\n").unwrap();
        let line = format!(
            "--registry-user reader --registry-password-file {}",
            file.path().display()
        );
        let settings = settings("https://registry:8081", &line).unwrap();
        let login = settings.login.as_ref().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.reveal()),
            ("reader", "swordfish")
        );
        assert!(!format!("{settings:?}").contains("swordfish"), "{settings:?}");
    }

    #[test]
    fn an_authority_without_a_certificate_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = format!("--registry-ca {}", file.path().display());
        std::fs::write(file.path(), "der").unwrap();
        let refusal = settings("https://registry:8081", &line).unwrap_err();
        assert!(refusal.contains("is no PEM file"), "{refusal}");
        std::fs::write(
            file.path(),
            "-----BEGIN RUBBISH-----\neA==\n-----END RUBBISH-----\n",
        )
        .unwrap();
        let refusal = settings("https://registry:8081", &line).unwrap_err();
        assert!(refusal.contains("no PEM with certificates"), "{refusal}");
    }
}
