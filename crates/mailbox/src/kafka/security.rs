//! How a client makes itself known to the broker, and how it knows the broker.

use std::path::PathBuf;

use rdkafka::ClientConfig;

use crate::kafka::{secret::Secret, token::Tokens};

/// What protects the connection. Only combinations that can work can be said.
#[derive(Debug, Clone, Default)]
pub enum Security {
    /// Nothing.
    #[default]
    Plaintext,
    /// TLS, with or without a certificate of ours.
    Ssl(Tls),
    /// A login over an open connection.
    SaslPlaintext(Login),
    /// A login over TLS.
    SaslSsl(Tls, Login),
}

/// The part of TLS. The broker's name is always checked against its certificate.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Whom we believe; the system's authorities when none.
    pub authority: Option<Pem>,
    /// Who we are (mutual TLS).
    pub identity: Option<Identity>,
}

/// A certificate of ours and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, with those of intermediate authorities behind it.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
    /// What the key is encrypted with, when it is.
    pub key_password: Option<Secret>,
}

/// A PEM text or a file with one. A file is read again by every client that is made, so a renewed certificate is used by the
/// next connection of a restarted service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// The text itself.
    Text(Secret),
    /// A file with it.
    File(PathBuf),
}

/// The part of SASL.
#[derive(Debug, Clone)]
pub enum Login {
    /// A user and a password.
    Password {
        /// How the password is proven.
        mechanism: PasswordMechanism,
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token, which is renewed in the background (OAUTHBEARER).
    Token(Tokens),
}

/// How a password is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordMechanism {
    /// It is sent as it is.
    Plain,
    /// Challenge and response, with SHA-256.
    ScramSha256,
    /// Challenge and response, with SHA-512.
    ScramSha512,
}

impl PasswordMechanism {
    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Security {
    /// The tokens that the login needs, if it needs any.
    #[must_use]
    pub fn tokens(&self) -> Option<&Tokens> {
        match self.login() {
            Some(Login::Token(tokens)) => Some(tokens),
            Some(Login::Password { .. }) | None => None,
        }
    }

    fn login(&self) -> Option<&Login> {
        match self {
            Self::Plaintext | Self::Ssl(_) => None,
            Self::SaslPlaintext(login) | Self::SaslSsl(_, login) => Some(login),
        }
    }

    fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Plaintext | Self::SaslPlaintext(_) => None,
            Self::Ssl(tls) | Self::SaslSsl(tls, _) => Some(tls),
        }
    }

    /// Sets librdkafka's properties.
    pub(crate) fn apply(&self, config: &mut ClientConfig) {
        let protocol = match self {
            // librdkafka's own default, left unsaid so that `security.protocol` may still come as a property.
            Self::Plaintext => return,
            Self::Ssl(_) => "ssl",
            Self::SaslPlaintext(_) => "sasl_plaintext",
            Self::SaslSsl(..) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = self.tls() {
            tls.apply(config);
        }
        match self.login() {
            Some(Login::Password {
                mechanism,
                user,
                password,
            }) => {
                config
                    .set("sasl.mechanism", mechanism.name())
                    .set("sasl.username", user)
                    .set("sasl.password", password.reveal());
            }
            Some(Login::Token(_)) => {
                config.set("sasl.mechanism", "OAUTHBEARER");
            }
            None => {}
        }
    }
}

impl Tls {
    fn apply(&self, config: &mut ClientConfig) {
        // librdkafka's default since 2.0, said here because everything rests on it.
        config.set("ssl.endpoint.identification.algorithm", "https");
        if let Some(authority) = &self.authority {
            set_pem(config, authority, "ssl.ca.pem", "ssl.ca.location");
        }
        if let Some(identity) = &self.identity {
            set_pem(
                config,
                &identity.certificate,
                "ssl.certificate.pem",
                "ssl.certificate.location",
            );
            set_pem(config, &identity.key, "ssl.key.pem", "ssl.key.location");
            if let Some(password) = &identity.key_password {
                config.set("ssl.key.password", password.reveal());
            }
        }
    }
}

fn set_pem(config: &mut ClientConfig, pem: &Pem, text_property: &str, file_property: &str) {
    match pem {
        Pem::Text(text) => config.set(text_property, text.reveal()),
        Pem::File(path) => config.set(file_property, path.to_string_lossy()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(security: &Security) -> Vec<(String, String)> {
        let mut config = ClientConfig::new();
        security.apply(&mut config);
        // `config_map` hides the values of secrets; `get` does not.
        let names = config.config_map().into_keys();
        names
            .map(|name| (name.to_owned(), config.get(name).unwrap().to_owned()))
            .collect()
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn login(mechanism: PasswordMechanism) -> Login {
        Login::Password {
            mechanism,
            user: "orders".to_owned(),
            password: Secret::from("swordfish".to_owned()),
        }
    }

    #[test]
    fn an_open_connection_sets_nothing() {
        assert_eq!(properties(&Security::Plaintext), expected(&[]));
    }

    #[test]
    fn a_login_is_a_mechanism_a_user_and_a_password() {
        assert_eq!(
            properties(&Security::SaslPlaintext(login(PasswordMechanism::ScramSha512))),
            expected(&[
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.password", "swordfish"),
                ("sasl.username", "orders"),
                ("security.protocol", "sasl_plaintext"),
            ])
        );
    }

    #[test]
    fn tls_takes_texts_and_files_and_checks_the_brokers_name() {
        let tls = Tls {
            authority: Some(Pem::File(PathBuf::from("/ca.pem"))),
            identity: Some(Identity {
                certificate: Pem::Text(Secret::from("certificate".to_owned())),
                key: Pem::File(PathBuf::from("/key.pem")),
                key_password: Some(Secret::from("open".to_owned())),
            }),
        };
        assert_eq!(
            properties(&Security::Ssl(tls)),
            expected(&[
                ("security.protocol", "ssl"),
                ("ssl.ca.location", "/ca.pem"),
                ("ssl.certificate.pem", "certificate"),
                ("ssl.endpoint.identification.algorithm", "https"),
                ("ssl.key.location", "/key.pem"),
                ("ssl.key.password", "open"),
            ])
        );
    }

    #[test]
    fn what_protects_a_connection_can_be_printed_without_its_secrets() {
        let security = Security::SaslSsl(Tls::default(), login(PasswordMechanism::Plain));
        let printed = format!("{security:?}");
        assert!(
            printed.contains("orders") && !printed.contains("swordfish"),
            "{printed}"
        );
    }
}
