//! How to reach the broker and to log in there, from the command line or the environment.
//!
//! The options are read into [`mailbox::kafka::Security`], which knows only combinations that can work; every other one is
//! refused with what to do. Passwords are best given by the environment or as files (`…_FILE`): a command line can be read
//! by every process of the machine.

use std::path::PathBuf;

use mailbox::{
    KafkaSettings,
    kafka::{
        Secret, Security,
        security::{Identity, Login, PasswordMechanism, Pem, Tls},
        token::Tokens,
        token_source::{ClientCredentials, GOOGLE_METADATA, TokenSource},
    },
};

pub use crate::given::Refusal;
use crate::given::{is_loopback, parse_pem, pem_text, readable, refuse, secret};

/// The connection to a broker whose address is given apart. Everything unset is an open connection without login.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaArgs {
    /// What protects the connection [default: plaintext].
    #[arg(long = "kafka-security", env = "BELAY_KAFKA_SECURITY", value_enum)]
    pub security: Option<Protocol>,
    /// Lets a login go over an open connection to a host that is not this one.
    #[arg(long = "kafka-allow-open-login", env = "BELAY_KAFKA_ALLOW_OPEN_LOGIN")]
    pub allow_open_login: bool,
    /// The authority that signed the broker's certificate: a PEM file, or the PEM text itself [default: the system's authorities].
    #[arg(long = "kafka-ca", env = "BELAY_KAFKA_CA", value_parser = parse_pem, hide_env_values = true)]
    pub ca: Option<Pem>,
    /// Our own certificate (mutual TLS): a PEM file, or the PEM text itself.
    #[arg(long = "kafka-certificate", env = "BELAY_KAFKA_CERTIFICATE", value_parser = parse_pem, hide_env_values = true)]
    pub certificate: Option<Pem>,
    /// The private key of that certificate: a PEM file, or the PEM text itself.
    #[arg(long = "kafka-key", env = "BELAY_KAFKA_KEY", value_parser = parse_pem, hide_env_values = true)]
    pub key: Option<Pem>,
    /// What that key is encrypted with.
    #[arg(
        long = "kafka-key-password",
        env = "BELAY_KAFKA_KEY_PASSWORD",
        hide_env_values = true
    )]
    pub key_password: Option<Secret>,
    /// How to log in.
    #[arg(long = "kafka-sasl-mechanism", env = "BELAY_KAFKA_SASL_MECHANISM", value_enum)]
    pub mechanism: Option<Mechanism>,
    /// The user's name; with Google the service account, when it is not the one of the machine.
    #[arg(long = "kafka-user", env = "BELAY_KAFKA_USER")]
    pub user: Option<String>,
    /// The user's password.
    #[arg(long = "kafka-password", env = "BELAY_KAFKA_PASSWORD", hide_env_values = true)]
    pub password: Option<Secret>,
    /// A file with the user's password, such as a mounted secret; a line end at its end is left out.
    #[arg(long = "kafka-password-file", env = "BELAY_KAFKA_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// Who hands out tokens for OAUTHBEARER [default: oidc].
    #[arg(long = "kafka-token-provider", env = "BELAY_KAFKA_TOKEN_PROVIDER", value_enum)]
    pub token_provider: Option<TokenProvider>,
    /// The token endpoint of an OpenID issuer: https://host/path
    #[arg(long = "kafka-token-url", env = "BELAY_KAFKA_TOKEN_URL")]
    pub token_url: Option<String>,
    /// The client's id at that issuer.
    #[arg(long = "kafka-client-id", env = "BELAY_KAFKA_CLIENT_ID")]
    pub client_id: Option<String>,
    /// The client's secret at that issuer.
    #[arg(
        long = "kafka-client-secret",
        env = "BELAY_KAFKA_CLIENT_SECRET",
        hide_env_values = true
    )]
    pub client_secret: Option<Secret>,
    /// A file with the client's secret; a line end at its end is left out.
    #[arg(long = "kafka-client-secret-file", env = "BELAY_KAFKA_CLIENT_SECRET_FILE")]
    pub client_secret_file: Option<PathBuf>,
    /// The scope to ask for.
    #[arg(long = "kafka-token-scope", env = "BELAY_KAFKA_TOKEN_SCOPE")]
    pub token_scope: Option<String>,
    /// The authority that signed the issuer's certificate: a PEM file, or the PEM text itself.
    #[arg(long = "kafka-token-ca", env = "BELAY_KAFKA_TOKEN_CA", value_parser = parse_pem, hide_env_values = true)]
    pub token_ca: Option<Pem>,
    /// Google's metadata server [default: http://metadata.google.internal].
    #[arg(long = "kafka-google-metadata", env = "BELAY_KAFKA_GOOGLE_METADATA")]
    pub google_metadata: Option<String>,
    /// A further librdkafka property, name=value; may be repeated. Wins over everything else.
    #[arg(long = "kafka-property", env = "BELAY_KAFKA_PROPERTIES", value_delimiter = ';', value_parser = parse_property, hide_env_values = true)]
    pub properties: Vec<(String, Secret)>,
}

/// What protects the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// Nothing: for this machine or a closed network.
    Plaintext,
    /// TLS.
    Ssl,
    /// A login over an open connection.
    SaslPlaintext,
    /// A login over TLS.
    SaslSsl,
}

/// How to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mechanism {
    /// User and password, sent as they are.
    #[value(name = "PLAIN", alias = "plain")]
    Plain,
    /// User and password, by challenge and response.
    #[value(name = "SCRAM-SHA-256", alias = "scram-sha-256")]
    ScramSha256,
    /// The same with the longer hash.
    #[value(name = "SCRAM-SHA-512", alias = "scram-sha-512")]
    ScramSha512,
    /// A token.
    #[value(name = "OAUTHBEARER", alias = "oauthbearer")]
    OauthBearer,
}

/// Who hands out tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TokenProvider {
    /// An OpenID issuer, by client credentials.
    Oidc,
    /// Google's metadata server, for Google's managed Kafka.
    Google,
}

impl KafkaArgs {
    /// Whether anything is set that only a given broker can need.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.security.is_none() && self.mechanism.is_none() && self.properties.is_empty()
    }

    /// The settings of clients that reach the broker at `bootstrap` (`host:port`, separated by commas), whose fetches wait for
    /// `fetch_wait_ms` milliseconds. Files are looked at.
    ///
    /// # Errors
    /// [`Refusal`]: options that do not fit together, or a file that cannot be read.
    pub fn settings(&self, bootstrap: &str, fetch_wait_ms: u32) -> Result<KafkaSettings, Refusal> {
        Ok(KafkaSettings {
            bootstrap: bootstrap.to_owned(),
            fetch_wait_ms,
            security: self.protection(bootstrap)?,
            properties: self
                .properties
                .iter()
                .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect(),
        })
    }

    fn protection(&self, bootstrap: &str) -> Result<Security, Refusal> {
        let protocol = self.security.unwrap_or(Protocol::Plaintext);
        let (tls, sasl) = match protocol {
            Protocol::Plaintext => (false, false),
            Protocol::Ssl => (true, false),
            Protocol::SaslPlaintext => (false, true),
            Protocol::SaslSsl => (true, true),
        };
        if !tls {
            self.refuse_tls()?;
        }
        if !sasl {
            self.refuse_sasl()?;
        }
        Ok(match protocol {
            Protocol::Plaintext => Security::Plaintext,
            Protocol::Ssl => Security::Ssl(self.tls()?),
            Protocol::SaslPlaintext => {
                self.refuse_open_login(bootstrap)?;
                Security::SaslPlaintext(self.login()?)
            }
            Protocol::SaslSsl => Security::SaslSsl(self.tls()?, self.login()?),
        })
    }

    fn refuse_tls(&self) -> Result<(), Refusal> {
        let given = [
            ("--kafka-ca", self.ca.is_some()),
            ("--kafka-certificate", self.certificate.is_some()),
            ("--kafka-key", self.key.is_some()),
            ("--kafka-key-password", self.key_password.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => refuse(format!(
                "{option} needs TLS: say --kafka-security ssl or sasl-ssl, or leave it out"
            )),
            None => Ok(()),
        }
    }

    fn refuse_sasl(&self) -> Result<(), Refusal> {
        let given = [
            ("--kafka-sasl-mechanism", self.mechanism.is_some()),
            ("--kafka-user", self.user.is_some()),
            ("--kafka-password", self.password.is_some()),
            ("--kafka-password-file", self.password_file.is_some()),
        ];
        let tokens = self.token_options();
        match given.iter().chain(&tokens).find(|(_, given)| *given) {
            Some((option, _)) => refuse(format!(
                "{option} needs a login: say --kafka-security sasl-ssl, or leave it out"
            )),
            None => Ok(()),
        }
    }

    fn token_options(&self) -> [(&'static str, bool); 8] {
        [
            ("--kafka-token-provider", self.token_provider.is_some()),
            ("--kafka-token-url", self.token_url.is_some()),
            ("--kafka-client-id", self.client_id.is_some()),
            ("--kafka-client-secret", self.client_secret.is_some()),
            ("--kafka-client-secret-file", self.client_secret_file.is_some()),
            ("--kafka-token-scope", self.token_scope.is_some()),
            ("--kafka-token-ca", self.token_ca.is_some()),
            ("--kafka-google-metadata", self.google_metadata.is_some()),
        ]
    }

    /// A password, and a token as well, can be read by everybody between us and the broker.
    fn refuse_open_login(&self, bootstrap: &str) -> Result<(), Refusal> {
        let away = bootstrap
            .split(',')
            .map(str::trim)
            .find(|server| !is_this_machine(server));
        match away {
            Some(server) if !self.allow_open_login => refuse(format!(
                "--kafka-security sasl-plaintext would send the login to {server} over an open connection: say sasl-ssl, or \
                 --kafka-allow-open-login when the network is trusted"
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn tls(&self) -> Result<Tls, Refusal> {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(Identity {
                certificate: readable("--kafka-certificate", certificate)?,
                key: readable("--kafka-key", key)?,
                key_password: self.key_password.clone(),
            }),
            (Some(_), None) => {
                return refuse("--kafka-certificate needs its private key: add --kafka-key");
            }
            (None, Some(_)) => {
                return refuse("--kafka-key needs the certificate it belongs to: add --kafka-certificate");
            }
            (None, None) if self.key_password.is_some() => {
                return refuse("--kafka-key-password needs a key: add --kafka-key and --kafka-certificate");
            }
            (None, None) => None,
        };
        let authority = self
            .ca
            .as_ref()
            .map(|ca| readable("--kafka-ca", ca))
            .transpose()?;
        Ok(Tls { authority, identity })
    }

    fn login(&self) -> Result<Login, Refusal> {
        let mechanism = match self.mechanism {
            None => {
                return refuse(
                    "a login needs --kafka-sasl-mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
                );
            }
            Some(Mechanism::OauthBearer) => return Ok(Login::Token(Tokens::new(self.token_source()?))),
            Some(Mechanism::Plain) => PasswordMechanism::Plain,
            Some(Mechanism::ScramSha256) => PasswordMechanism::ScramSha256,
            Some(Mechanism::ScramSha512) => PasswordMechanism::ScramSha512,
        };
        let name = mechanism.name();
        if let Some((option, _)) = self.token_options().iter().find(|(_, given)| *given) {
            return refuse(format!(
                "{option} is for OAUTHBEARER, not for {name}: leave it out"
            ));
        }
        let Some(user) = self.user.clone().filter(|user| !user.is_empty()) else {
            return refuse(format!("{name} needs a user: add --kafka-user"));
        };
        let Some(password) = secret(
            ("--kafka-password", &self.password),
            ("--kafka-password-file", &self.password_file),
        )?
        else {
            return refuse(format!(
                "{name} needs a password: set BELAY_KAFKA_PASSWORD, or add --kafka-password-file"
            ));
        };
        Ok(Login::Password {
            mechanism,
            user,
            password,
        })
    }

    fn token_source(&self) -> Result<TokenSource, Refusal> {
        if self.password.is_some() || self.password_file.is_some() {
            return refuse(
                "OAUTHBEARER takes no password: leave it out, or say another --kafka-sasl-mechanism",
            );
        }
        match self.token_provider.unwrap_or(TokenProvider::Oidc) {
            TokenProvider::Oidc => self.oidc(),
            TokenProvider::Google => self.google(),
        }
    }

    fn oidc(&self) -> Result<TokenSource, Refusal> {
        if self.google_metadata.is_some() {
            return refuse("--kafka-google-metadata is for --kafka-token-provider google: leave it out");
        }
        if self.user.is_some() {
            return refuse(
                "the user of OAUTHBEARER is who the token says: leave --kafka-user out, and give --kafka-client-id",
            );
        }
        let Some(endpoint) = &self.token_url else {
            return refuse(
                "OAUTHBEARER needs the issuer's token endpoint: add --kafka-token-url, or --kafka-token-provider google for \
                 Google's managed Kafka",
            );
        };
        let endpoint = url("--kafka-token-url", endpoint)?;
        if endpoint.scheme() != "https"
            && !endpoint.host_str().is_some_and(is_loopback)
            && !self.allow_open_login
        {
            return refuse(format!(
                "--kafka-token-url {endpoint} would send the client's secret over an open connection: use https, or \
                 --kafka-allow-open-login when the network is trusted"
            ));
        }
        let Some(id) = self.client_id.clone().filter(|id| !id.is_empty()) else {
            return refuse("the issuer needs to know who asks: add --kafka-client-id");
        };
        let Some(secret) = secret(
            ("--kafka-client-secret", &self.client_secret),
            ("--kafka-client-secret-file", &self.client_secret_file),
        )?
        else {
            return refuse(
                "the issuer needs a secret: set BELAY_KAFKA_CLIENT_SECRET, or add --kafka-client-secret-file",
            );
        };
        let authority = match &self.token_ca {
            Some(pem) => Some(pem_text("--kafka-token-ca", pem)?),
            None => None,
        };
        let credentials = ClientCredentials {
            endpoint,
            id,
            secret,
            scope: self.token_scope.clone(),
        };
        TokenSource::client_credentials(credentials, authority.as_ref().map(String::as_bytes))
            .map_err(|error| Refusal::new(format!("--kafka-token-ca is no PEM with certificates: {error}")))
    }

    fn google(&self) -> Result<TokenSource, Refusal> {
        let unwanted = self
            .token_options()
            .into_iter()
            .filter(|(option, _)| !matches!(*option, "--kafka-token-provider" | "--kafka-google-metadata"))
            .find(|(_, given)| *given);
        if let Some((option, _)) = unwanted {
            return refuse(format!(
                "{option} is for --kafka-token-provider oidc: with google the machine's service account is the login; leave it out"
            ));
        }
        let metadata = self.google_metadata.as_deref().unwrap_or(GOOGLE_METADATA);
        let metadata = url("--kafka-google-metadata", metadata)?;
        TokenSource::google(metadata, self.user.clone()).map_err(|error| {
            Refusal::new(format!(
                "the client for Google's metadata server cannot be made: {error}"
            ))
        })
    }
}

fn url(option: &str, text: &str) -> Result<reqwest::Url, Refusal> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => refuse(format!("{option} {text} is no URL: write https://host/path")),
    }
}

/// Whether `server`, a host with a port, is on this machine.
fn is_this_machine(server: &str) -> bool {
    // A listener's name may stand before the address: SASL_PLAINTEXT://host:port.
    let server = server.rsplit("://").next().unwrap_or(server);
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    is_loopback(host)
}

fn parse_property(text: &str) -> Result<(String, Secret), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), Secret::from(value.to_owned())))
        }
        // Not the text itself: it may be half of a password with a `;` in it.
        Some(_) | None => Err("it is not of the form name=value, such as log_level=6".to_owned()),
    }
}

#[cfg(test)]
mod tests;
