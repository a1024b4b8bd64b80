//! Where mails go: to a mail server, or into a directory that stands in for one.

mod directory;
mod smtp;

use std::time::{Duration, SystemTime};

use anyhow::Context;
use contracts::http::Contact;
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{Header, HeaderName, HeaderValue},
    },
};
use uuid::Uuid;

use self::{directory::Directory, smtp::Smtp};
use crate::{Config, domain::Tried, letter::Letter};

/// A mail with everything that makes it the same mail when it is sent again.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The notification.
    pub id: Uuid,
    /// When the purchase ended, in microseconds since 1970: the mail's date.
    pub ended_at_micros: i64,
    /// What is written.
    pub letter: Letter,
}

/// Sends mails.
#[derive(Debug)]
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Smtp(Box<Smtp>),
    Directory(Directory),
}

/// Where a mail goes, for a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The server's name.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
}

impl Mailer {
    /// The way that the settings say.
    ///
    /// # Errors
    /// When they contradict each other, would send mail in plain text over a network, or name a password file that cannot
    /// be read. The message says what to do.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let way = match (&config.smtp, &config.mail_directory) {
            (Some(address), None) => Way::Smtp(Box::new(Smtp::new(address, config)?)),
            (None, Some(path)) => Way::Directory(Directory::new(path)?),
            (Some(_), Some(_)) | (None, None) => {
                anyhow::bail!("say where mails go: --smtp or --mail-directory, and one of them")
            }
        };
        Ok(Self {
            from: config.mail_from.clone(),
            way,
        })
    }

    /// How many mails are taken at once, and how many of them are under way at the same time. A mail takes a minute and a
    /// half at most; its claim is renewed meanwhile.
    #[must_use]
    pub fn batch(&self) -> (i64, usize) {
        match &self.way {
            Way::Smtp(_) => (20, 4),
            Way::Directory(_) => (200, 4),
        }
    }

    /// Where mails go; none when they stay on this machine.
    #[must_use]
    pub fn destination(&self) -> Option<Destination> {
        match &self.way {
            Way::Smtp(smtp) => Some(smtp.destination()),
            Way::Directory(_) => None,
        }
    }

    /// Sends one mail. Takes three times the time limit of a connection at most.
    ///
    /// Cancelled, the mail may have been sent or not.
    pub async fn send(&self, contact: &Contact, mail: &Mail) -> Tried {
        let Some(email) = contact.email.as_deref() else {
            return Tried::Nobody;
        };
        let Ok(address) = email.parse::<Address>() else {
            return Tried::Never("the customer's e-mail address cannot be one".to_owned());
        };
        let message = match self.compose(Mailbox::new(contact.name.clone(), address), mail) {
            Ok(message) => message,
            // The library's words may hold the address.
            Err(_) => return Tried::Never("the mail cannot be written".to_owned()),
        };
        match &self.way {
            Way::Smtp(smtp) => smtp.send(message, email).await,
            Way::Directory(directory) => directory.write(mail.id, &message.formatted()).await,
        }
    }

    /// The whole message. The same mail is the same bytes every time.
    ///
    /// # Errors
    /// When a header cannot be written.
    pub fn compose(&self, to: Mailbox, mail: &Mail) -> anyhow::Result<Message> {
        let Mail {
            id,
            ended_at_micros,
            letter,
        } = mail;
        let since_1970 = Duration::from_micros(u64::try_from(*ended_at_micros).unwrap_or_default());
        let date = SystemTime::UNIX_EPOCH
            .checked_add(since_1970)
            .context("the date is out of range")?;
        let body = MultiPart::alternative()
            .boundary(format!("belay-{}", id.simple()))
            .singlepart(SinglePart::plain(letter.text.clone()))
            .singlepart(SinglePart::html(letter.html.clone()));
        Ok(Message::builder()
            .from(self.from.clone())
            .to(to)
            .date(date)
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .subject(letter.subject.clone())
            .header(AutoSubmitted)
            .multipart(body)?)
    }
}

/// `Auto-Submitted: auto-generated` (RFC 3834): nobody's out-of-office answers to it.
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
