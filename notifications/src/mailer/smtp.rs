//! A mail server, by SMTP.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    transport::smtp::{
        Error, PoolConfig,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};

use super::Destination;
use crate::{
    Config,
    config::{Security, SmtpAddress},
    domain::{Tried, without_address},
};

/// How many times longer than a connection a whole mail may take: greeting, TLS, login, envelope and content. The library
/// limits the connection alone, and a server may fall silent at any time.
const MAIL_TAKES: u32 = 3;
/// Connections to the server at a time.
const CONNECTIONS: u32 = 4;
/// How long an idle connection is kept: below the 5 minutes of RFC 5321, section 4.5.3.2, that a server must allow.
const IDLE: Duration = Duration::from_secs(60);
/// What a server answers to who may not log in, or must (RFC 4954, section 6): our settings are to blame, not the mail.
const LOGIN: [u16; 4] = [530, 534, 535, 538];

/// A mail server.
#[derive(Debug)]
pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    destination: Destination,
    limit: Duration,
}

impl Smtp {
    /// A client. Does not connect yet.
    pub fn new(address: &SmtpAddress, config: &Config) -> anyhow::Result<Self> {
        let security = security(address, config.smtp_security);
        let credentials = credentials(config)?;
        check(address, security, credentials.is_some(), config)?;
        let host = address
            .host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if security == Security::None && config.smtp_ca.is_some() {
            bail!("--smtp-ca needs TLS: say smtps://, or --smtp-security starttls, or leave it out");
        }
        let parameters = || parameters(&host, config.smtp_ca.as_deref());
        let (tls, usual_port) = match security {
            Security::Tls => (Tls::Wrapper(parameters()?), 465),
            Security::Starttls => (Tls::Required(parameters()?), 587),
            Security::None => (Tls::None, 25),
        };
        let port = address.port.unwrap_or(usual_port);
        let timeout = Duration::from_millis(config.smtp_timeout_ms);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host)
            .port(port)
            .tls(tls)
            .timeout(Some(timeout))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS).idle_timeout(IDLE));
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        Ok(Self {
            transport: builder.build(),
            destination: Destination {
                host,
                port: Some(port),
            },
            limit: timeout * MAIL_TAKES,
        })
    }

    /// Where it is.
    pub fn destination(&self) -> Destination {
        self.destination.clone()
    }

    /// Sends a mail, and says what came of it in words without the address.
    pub async fn send(&self, message: Message, email: &str) -> Tried {
        match tokio::time::timeout(self.limit, self.transport.send(message)).await {
            Ok(Ok(_)) => Tried::Sent,
            Ok(Err(error)) => verdict(&error, email),
            Err(_) => Tried::Later(format!("the mail server takes longer than {:?}", self.limit)),
        }
    }
}

fn parameters(host: &str, authority: Option<&Path>) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = authority {
        let unfit = || format!("--smtp-ca {} is no PEM file with a certificate", path.display());
        let pem =
            std::fs::read(path).with_context(|| format!("--smtp-ca {} cannot be read", path.display()))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).with_context(unfit)?);
    }
    builder
        .build()
        .with_context(|| format!("no TLS connection to {host} can be prepared"))
}

fn security(address: &SmtpAddress, asked: Option<Security>) -> Security {
    match asked {
        Some(security) => security,
        None if address.tls => Security::Tls,
        None if address.is_loopback() => Security::None,
        None => Security::Starttls,
    }
}

fn check(address: &SmtpAddress, security: Security, logs_in: bool, config: &Config) -> anyhow::Result<()> {
    if address.tls != (security == Security::Tls) {
        bail!(
            "the mail server's address and --smtp-security contradict each other: smtps:// is TLS from the first byte, smtp:// is starttls or none"
        );
    }
    if address.is_loopback() {
        return Ok(());
    }
    if security == Security::None && !config.smtp_allow_plaintext {
        bail!(
            "mails to {} would go in plain text: use starttls or smtps://, or allow it with --smtp-allow-plaintext",
            address.host
        );
    }
    if security == Security::None && logs_in {
        bail!(
            "a password is never sent to {} in plain text: use starttls or smtps://",
            address.host
        );
    }
    if config.mail_from.email.domain().ends_with(".invalid") {
        bail!("say who the mails are from: --mail-from 'Shop <shop@your.domain>'");
    }
    Ok(())
}

fn credentials(config: &Config) -> anyhow::Result<Option<Credentials>> {
    let Some(user) = config.smtp_user.clone() else {
        return Ok(None);
    };
    let password = match (&config.smtp_password, &config.smtp_password_file) {
        (Some(password), _) => password.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("the password file {} cannot be read", file.display()))?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        (None, None) => {
            bail!("{user} needs a password at the mail server: BELAY_SMTP_PASSWORD or --smtp-password-file")
        }
    };
    Ok(Some(Credentials::new(user, password)))
}

/// Whether a mail that was not taken may be taken later. Only the server's lasting "no" to this mail is final: what could
/// not be connected, logged in or understood may be mended, and the mail with it.
fn verdict(error: &Error, email: &str) -> Tried {
    let code = error.status().map(u16::from);
    // The library's words have the server's in them.
    let words = without_address(&error.to_string(), email);
    match code {
        Some(code) if error.is_permanent() && !LOGIN.contains(&code) => Tried::Never(words),
        Some(_) | None => Tried::Later(words),
    }
}
