//! What the service is told.

use std::{path::PathBuf, time::Duration};

use lettre::message::Mailbox;
use reqwest::Url;

/// Settings of the notifications service. Each is a flag and an environment variable.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "notifications",
    version,
    about = "Tells customers by e-mail how their purchases ended"
)]
pub struct Config {
    /// What every service is told.
    #[command(flatten)]
    pub service: host::ServiceConfig,
    /// Who this service is to those that it asks.
    #[command(flatten)]
    pub identity: host::identity::IdentityArgs,
    /// Address of purchase-manager: http://host:port
    #[arg(long, env = "BELAY_PURCHASE_MANAGER", value_parser = parse_http)]
    pub purchase_manager: Url,
    /// Where the edge tells its own services the customers' addresses (its --internal-http): http://host:port
    #[arg(long, env = "BELAY_CONTACTS", value_parser = parse_http)]
    pub contacts: Url,
    /// The mail server: smtp://host[:587] (STARTTLS) or smtps://host[:465] (TLS from the start).
    #[arg(long, env = "BELAY_SMTP", value_parser = parse_smtp, required_unless_present = "mail_directory", conflicts_with = "mail_directory")]
    pub smtp: Option<SmtpAddress>,
    /// How the connection is protected, when it is not what the address says: starttls, or none. Without it smtp:// is
    /// STARTTLS, and plain text to this machine itself.
    #[arg(long, env = "BELAY_SMTP_SECURITY", value_enum)]
    pub smtp_security: Option<Security>,
    /// Allow plain text to another machine. Whoever can listen on the way reads the mails.
    #[arg(long, env = "BELAY_SMTP_ALLOW_PLAINTEXT")]
    pub smtp_allow_plaintext: bool,
    /// Who logs in at the mail server.
    #[arg(long, env = "BELAY_SMTP_USER")]
    pub smtp_user: Option<String>,
    /// The password. Better in the environment, or in a file: the command line can be read by others.
    #[arg(
        long,
        env = "BELAY_SMTP_PASSWORD",
        hide_env_values = true,
        requires = "smtp_user"
    )]
    pub smtp_password: Option<String>,
    /// A file that holds the password, in place of the password itself.
    #[arg(
        long,
        env = "BELAY_SMTP_PASSWORD_FILE",
        requires = "smtp_user",
        conflicts_with = "smtp_password"
    )]
    pub smtp_password_file: Option<PathBuf>,
    /// How long the mail server may take to accept a connection, in milliseconds. A whole mail may take three times as long.
    #[arg(long, env = "BELAY_SMTP_TIMEOUT_MS", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(50..=30_000))]
    pub smtp_timeout_ms: u64,
    /// A directory into which mails are written as .eml files, in place of a mail server.
    #[arg(long, env = "BELAY_MAIL_DIRECTORY")]
    pub mail_directory: Option<PathBuf>,
    /// Who the mails are from. The Message-ID has its domain.
    #[arg(
        long,
        env = "BELAY_MAIL_FROM",
        default_value = "Belay <no-reply@belay.invalid>"
    )]
    pub mail_from: Mailbox,
    /// How often a mail is tried before it is parked: 80 are three days.
    #[arg(long, env = "BELAY_MAIL_MAX_ATTEMPTS", default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_attempts: u32,
    /// What ended longer ago than this, in hours, when it is first heard of, gets no mail any more.
    #[arg(long, env = "BELAY_MAIL_STALE_HOURS", default_value_t = 168, value_parser = clap::value_parser!(u64).range(1..=8_760))]
    pub mail_stale_hours: u64,
    /// Days for which it is known that the outcome of a purchase was told.
    #[arg(long, env = "BELAY_RETENTION_NOTIFICATION_DAYS", default_value_t = 400, value_parser = host::config::days(crate::retention::LEAST_DAYS))]
    pub retention_notification_days: u32,
    /// Pause between two comparisons with purchase-manager, in milliseconds.
    #[arg(long, env = "BELAY_RECONCILE_EVERY_MS", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    pub reconcile_every_ms: u64,
}

/// How a connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Security {
    /// TLS from the first byte (smtps://).
    Tls,
    /// TLS before anything is said; a server that does not offer it gets no mail.
    Starttls,
    /// None.
    None,
}

/// Where the mail server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpAddress {
    /// Name or address.
    pub host: String,
    /// The port; none for the usual one.
    pub port: Option<u16>,
    /// Whether it was written as smtps://.
    pub tls: bool,
}

impl SmtpAddress {
    /// Whether it is this machine itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

impl Config {
    /// Between two comparisons.
    #[must_use]
    pub fn reconcile_every(&self) -> Duration {
        Duration::from_millis(self.reconcile_every_ms)
    }

    /// What ended longer ago gets no mail.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        Duration::from_secs(self.mail_stale_hours * 3_600)
    }
}

fn parse_http(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => Err(format!(
            "`{text}` is no address of a service: write http://host:port"
        )),
    }
}

/// Reads smtp://host:port or smtps://host:port.
///
/// # Errors
/// What to write instead. The text is not repeated where it may hold a password.
pub fn parse_smtp(text: &str) -> Result<SmtpAddress, String> {
    const FORM: &str = "write smtp://host:port or smtps://host:port";
    let url = Url::parse(text).map_err(|_| FORM.to_owned())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "give user and password apart from the address: BELAY_SMTP_USER, BELAY_SMTP_PASSWORD".to_owned(),
        );
    }
    let tls = match url.scheme() {
        "smtp" => false,
        "smtps" => true,
        _ => return Err(FORM.to_owned()),
    };
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(FORM.to_owned());
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(FORM.to_owned());
    }
    Ok(SmtpAddress {
        host: host.to_owned(),
        port: url.port(),
        tls,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parse(more: &[&str]) -> Result<Config, clap::Error> {
        let needed = [
            "notifications",
            "--database-url=postgres://x",
            "--kafka=x:1",
            "--registry=http://x:1",
            "--caller=bff=A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
            "--identity-key=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA",
            "--purchase-manager=http://x:1",
            "--contacts=http://x:2",
        ];
        Config::try_parse_from(needed.iter().chain(more))
    }

    #[test]
    fn mails_go_to_a_server_or_to_a_directory_and_to_one_of_them() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--smtp=smtp://x", "--mail-directory=d"]).is_err());
        assert!(parse(&["--smtp=smtp://x"]).is_ok());
        assert!(parse(&["--mail-directory=d"]).is_ok());
    }

    #[test]
    fn a_password_is_not_in_the_address_and_not_without_a_user() {
        let error = parse_smtp("smtp://user:secret@x").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
        assert!(parse(&["--smtp=smtp://x", "--smtp-password=p"]).is_err());
    }

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_port() {
        let address = parse_smtp("smtps://mail.example:2465").unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.tls),
            ("mail.example", Some(2465), true)
        );
        for wrong in [
            "mail.example",
            "http://x",
            "smtp://",
            "smtp://x/y",
            "smtp://x?tls=no",
        ] {
            assert!(parse_smtp(wrong).is_err(), "{wrong} was taken");
        }
        for (text, loopback) in [
            ("smtp://localhost:1025", true),
            ("smtp://127.0.0.1", true),
            ("smtp://[::1]:25", true),
            ("smtp://mail.example", false),
            ("smtp://127.0.0.1.example", false),
        ] {
            assert_eq!(parse_smtp(text).unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
