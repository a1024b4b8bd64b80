//! What is given on the command line, in the environment or in files: secrets, certificates, and why they cannot be used.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use mailbox::kafka::{Secret, security::Pem};

/// Options that make no sense together, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    /// With what to do.
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

pub(crate) fn refuse<T>(words: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(words.into()))
}

/// The secret that is given as text or as a file.
pub(crate) fn secret(
    (text_option, text): (&str, &Option<Secret>),
    (file_option, file): (&str, &Option<PathBuf>),
) -> Result<Option<Secret>, Refusal> {
    let secret = match (text, file) {
        (Some(_), Some(_)) => {
            return refuse(format!(
                "{text_option} and {file_option} are both given: leave one out"
            ));
        }
        (Some(text), None) => text.clone(),
        (None, Some(path)) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| unreadable(file_option, path, &error))?;
            Secret::from(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        (None, None) => return Ok(None),
    };
    if secret.reveal().is_empty() {
        let option = if file.is_some() { file_option } else { text_option };
        return refuse(format!("{option} is empty"));
    }
    Ok(Some(secret))
}

/// The same PEM, when it can be read now: librdkafka says only later and less clearly that it cannot.
pub(crate) fn readable(option: &str, pem: &Pem) -> Result<Pem, Refusal> {
    pem_text(option, pem).map(|_| pem.clone())
}

/// The PEM's text, read now when it is a file.
pub(crate) fn pem_text(option: &str, pem: &Pem) -> Result<String, Refusal> {
    match pem {
        Pem::Text(text) => Ok(text.reveal().to_owned()),
        Pem::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(option, path, &error))?;
            if text.contains(PEM_BEGIN) {
                return Ok(text);
            }
            refuse(format!(
                "{option} {} is no PEM file: it has no line that begins with {PEM_BEGIN}",
                path.display()
            ))
        }
    }
}

fn unreadable(option: &str, path: &Path, error: &std::io::Error) -> Refusal {
    Refusal(format!("{option} {} cannot be read: {error}", path.display()))
}

const PEM_BEGIN: &str = "-----BEGIN ";

pub(crate) fn parse_pem(text: &str) -> Result<Pem, String> {
    let text = text.trim();
    if text.starts_with(PEM_BEGIN) {
        Ok(Pem::Text(Secret::from(text.to_owned())))
    } else if text.is_empty() {
        Err("neither a file nor a PEM text".to_owned())
    } else {
        Ok(Pem::File(PathBuf::from(text)))
    }
}

/// Whether `host` is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
