//! What is asked of the schema registry at start: every schema of the contract known, and kept compatible.
//!
//! Only Confluent's REST API is used (<https://docs.confluent.io/platform/current/schema-registry/develop/api.html>). The level
//! is set before a version is registered, so that it holds for it. Confluent's registry and Apicurio 3.3 (`/apis/ccompat/v7`)
//! take a level for a subject that has no version yet; for one that answers 404 it is set after the first version.
//!
//! Where the registry asks who we are or has a certificate of an authority of its own, [`RegistrySettings`] says so.
//!
//! Services start together and register the same. Apicurio answers the slower one with 409 where Confluent's says yes to both,
//! so after a conflict it is asked what holds now (test `two_services_that_register_at_once_are_both_served`).

mod error;
mod settings;

use std::{sync::Mutex, time::Duration};

use contracts::{MessageType, topics};
use reqwest::{Client, RequestBuilder, StatusCode, Url, header::CONTENT_TYPE};
use schema_registry_converter::{
    async_impl::schema_registry::{SrSettings, perform_sr_call, post_schema},
    error::SRCError,
    schema_registry_common::{RawRegisteredSchema, SchemaType, SrCall, SuppliedSchema},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::RegistryError;
pub use settings::{RegistryLogin, RegistrySettings};

/// The level at which every version reads what every other one wrote: old and new programs run together in any order.
pub const LEVEL: &str = "FULL_TRANSITIVE";

/// How long the registry may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// First pause before a registry that is away is asked again; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two words about a registry that is still away.
const COMPLAINT: Duration = Duration::from_secs(60);
/// It wants to know who asks, or does not believe it.
const UNAUTHORIZED: u16 = StatusCode::UNAUTHORIZED.as_u16();
/// Confluent's media type.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// What to do with our schemas at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryMode {
    /// Register what is missing, and set [`LEVEL`] for each subject. The registry refuses what is not compatible.
    Register,
    /// Insist that everything is registered already and kept at [`LEVEL`], and change nothing.
    Check,
}

/// Why one try failed.
enum Trouble {
    /// The registry is away or speaks of its own trouble.
    Away(String),
    /// It will say the same next time.
    Final(RegistryError),
}

/// The registry while a service starts.
pub(crate) struct Registry {
    /// Without credentials and without a slash at the end.
    url: String,
    base: Url,
    settings: RegistrySettings,
    library: SrSettings,
    client: Client,
    silence: Silence,
}

impl Registry {
    /// Makes the clients.
    pub(crate) fn new(settings: &RegistrySettings) -> Result<Self, RegistryError> {
        let url = settings.shown();
        let base = Url::parse(&settings.url).ok();
        let Some(base) = base.filter(|base| matches!(base.scheme(), "http" | "https")) else {
            return Err(RegistryError::Address {
                url,
                reason: "write it as http://host:port or https://host:port".to_owned(),
            });
        };
        Ok(Self {
            url,
            base,
            library: settings.library()?,
            client: settings.client()?,
            settings: settings.clone(),
            silence: Silence::default(),
        })
    }

    /// What the library needs to look schemas up later.
    pub(crate) fn library(&self) -> &SrSettings {
        &self.library
    }

    /// Registers or checks one schema and its subject's level, and gives its id. Waits for a registry that is away.
    pub(crate) async fn enrol(
        &self,
        topic: &str,
        message: &MessageType,
        shutdown: &CancellationToken,
    ) -> Result<u32, RegistryError> {
        let subject = topics::subject(topic, message);
        let mut pause = FIRST_PAUSE;
        loop {
            let tried = match self.settings.mode {
                RegistryMode::Register => self.register(&subject, message).await,
                RegistryMode::Check => self.check(&subject, message).await,
            };
            match tried {
                Ok(id) => {
                    if let Some(away) = self.silence.ended() {
                        tracing::info!(registry = %self.url, away_s = away.as_secs(), "the schema registry answers again");
                    }
                    return Ok(id);
                }
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Away(reason)) => {
                    if let Some(away) = self.silence.lasts() {
                        tracing::warn!(registry = %self.url, away_s = away.as_secs(), "the schema registry is away; the start waits for it and asks again until it answers: {reason}");
                    }
                }
            }
            // Cancel-safe: nothing is under way while it waits.
            tokio::select! {
                () = shutdown.cancelled() => return Err(RegistryError::Stopped),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn register(&self, subject: &str, message: &MessageType) -> Result<u32, Trouble> {
        // Before the new version, so that the level holds for it.
        let settled = match self.level(Some(subject)).await? {
            Some(level) if level == LEVEL => true,
            Some(_) | None => self.set_level(subject).await?,
        };
        let schema = SuppliedSchema::new(
            Some(message.name.to_owned()),
            SchemaType::Avro,
            message.schema_text.to_owned(),
        );
        let registered = post_schema(&self.library, subject.to_owned(), schema).await;
        let id = match registered {
            Ok(registered) => registered.id,
            Err(error) if status(&error) == Some(409) => {
                self.known(subject, message).await.ok_or_else(|| {
                    Trouble::Final(RegistryError::Refused {
                        subject: subject.to_owned(),
                        reason: words(&error),
                    })
                })?
            }
            Err(error) => {
                return Err(self.judged(&error, |reason| RegistryError::Refused {
                    subject: subject.to_owned(),
                    reason,
                }));
            }
        };
        if !settled && !self.set_level(subject).await? {
            return Err(Trouble::Final(RegistryError::Level {
                subject: subject.to_owned(),
                wanted: "set",
                reason: "it says that there is no such subject, which it has just taken".to_owned(),
            }));
        }
        Ok(id)
    }

    /// The id of a schema that somebody else has registered in the meantime.
    async fn known(&self, subject: &str, message: &MessageType) -> Option<u32> {
        self.look_up(subject, message).await.ok()?.id
    }

    async fn look_up(&self, subject: &str, message: &MessageType) -> Result<RawRegisteredSchema, SRCError> {
        let body = json!({ "schema": message.schema_text, "schemaType": "AVRO" }).to_string();
        perform_sr_call(&self.library, SrCall::PostForVersion(subject, &body)).await
    }

    async fn check(&self, subject: &str, message: &MessageType) -> Result<u32, Trouble> {
        let not_registered = |reason| RegistryError::NotRegistered {
            subject: subject.to_owned(),
            reason,
        };
        let found = self
            .look_up(subject, message)
            .await
            .map_err(|error| self.judged(&error, not_registered))?;
        let id = found
            .id
            .ok_or_else(|| Trouble::Final(not_registered("it gives no id".to_owned())))?;
        let level = match self.level(Some(subject)).await? {
            Some(own) => Some(own),
            None => self.level(None).await?,
        };
        match level {
            Some(level) if level == LEVEL => Ok(id),
            level => Err(Trouble::Final(RegistryError::Weak {
                subject: subject.to_owned(),
                level: level.unwrap_or_else(|| "NONE".to_owned()),
                url: self.url.clone(),
            })),
        }
    }

    /// The level of a subject's own, or with none the default of all. `None` when there is none.
    async fn level(&self, subject: Option<&str>) -> Result<Option<String>, Trouble> {
        let request = self.client.get(self.config(subject));
        let failed = |reason| RegistryError::Level {
            subject: subject.unwrap_or("all subjects").to_owned(),
            wanted: "read",
            reason,
        };
        let Some(answer) = self.ask(request, failed).await? else {
            return Ok(None);
        };
        // Some registries use the same name in the answer as in the request.
        let level = answer
            .get("compatibilityLevel")
            .or_else(|| answer.get("compatibility"));
        Ok(level.and_then(Value::as_str).map(str::to_owned))
    }

    /// Sets [`LEVEL`]. False when the registry wants to know the subject first.
    async fn set_level(&self, subject: &str) -> Result<bool, Trouble> {
        let request = self
            .client
            .put(self.config(Some(subject)))
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .body(json!({ "compatibility": LEVEL }).to_string());
        let failed = |reason| RegistryError::Level {
            subject: subject.to_owned(),
            wanted: "set",
            reason,
        };
        match self.ask(request, failed).await {
            Ok(answer) => Ok(answer.is_some()),
            Err(Trouble::Final(error)) => match self.level(Some(subject)).await? {
                Some(level) if level == LEVEL => Ok(true),
                Some(_) | None => Err(Trouble::Final(error)),
            },
            Err(away @ Trouble::Away(_)) => Err(away),
        }
    }

    fn config(&self, subject: Option<&str>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("config").extend(subject);
        }
        url
    }

    /// What an answer of the library's means.
    fn judged(&self, error: &SRCError, last: impl FnOnce(String) -> RegistryError) -> Trouble {
        if is_away(error) {
            Trouble::Away(words(error))
        } else if status(error) == Some(UNAUTHORIZED) {
            Trouble::Final(self.not_let_in(words(error)))
        } else {
            Trouble::Final(last(words(error)))
        }
    }

    /// Sends a request. `None` for 404.
    async fn ask(
        &self,
        request: RequestBuilder,
        failed: impl FnOnce(String) -> RegistryError,
    ) -> Result<Option<Value>, Trouble> {
        let request = self.settings.logged_in(request);
        let answer = request
            .send()
            .await
            .map_err(|e| Trouble::Away(format!("{:#}", anyhow::Error::new(e))))?;
        let status = answer.status();
        let body = answer
            .bytes()
            .await
            .map_err(|e| Trouble::Away(format!("{:#}", anyhow::Error::new(e))))?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(Some(value));
        }
        let message = value.get("message").and_then(Value::as_str).unwrap_or_default();
        let reason = format!("it answers {status} {message}").trim_end().to_owned();
        Err(if is_own_trouble(status.as_u16()) {
            Trouble::Away(reason)
        } else if status == StatusCode::UNAUTHORIZED {
            Trouble::Final(self.not_let_in(reason))
        } else {
            Trouble::Final(failed(reason))
        })
    }

    fn not_let_in(&self, reason: String) -> RegistryError {
        RegistryError::Login {
            url: self.url.clone(),
            reason,
        }
    }
}

/// 5xx, too many requests, too slow a request: not about what was asked.
fn is_own_trouble(status: u16) -> bool {
    status >= 500 || status == 429 || status == 408
}

/// The registry gave no answer, or one that speaks of its own trouble.
fn is_away(error: &SRCError) -> bool {
    status(error).map_or(error.retriable, is_own_trouble)
}

/// The registry says that there is no such schema. Any other answer, such as a missing right, is the deployment's fault and
/// not the message's.
pub(crate) fn is_unknown(error: &SRCError) -> bool {
    matches!(status(error), Some(400 | 404 | 422))
}

/// The HTTP status of the registry's answer. The library gives it in words only, and calls 500 final; tests with such
/// answers hold this together.
fn status(error: &SRCError) -> Option<u16> {
    let words = error
        .error
        .strip_prefix("HTTP request to schema registry failed with status ")?;
    words.get(..3)?.parse().ok()
}

/// What the library has to say, with all its causes: the last one may be what is wrong with a certificate.
pub(crate) fn words(error: &SRCError) -> String {
    let mut words = error.error.clone();
    let mut cause = std::error::Error::source(error);
    if let (None, Some(said)) = (cause, &error.cause) {
        return format!("{words} ({said})");
    }
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// Remembers when the registry fell silent and when that was last said, for all requests that run into it at once.
#[derive(Debug, Default)]
struct Silence(Mutex<Option<Said>>);

#[derive(Debug)]
struct Said {
    since: Instant,
    last: Instant,
}

impl Silence {
    /// For how long it has lasted, when that is to be said: at first, and then every [`COMPLAINT`].
    fn lasts(&self) -> Option<Duration> {
        let mut state = self.0.lock().expect("nobody panics with it");
        let now = Instant::now();
        let Some(said) = state.as_mut() else {
            *state = Some(Said {
                since: now,
                last: now,
            });
            return Some(Duration::ZERO);
        };
        if now.duration_since(said.last) < COMPLAINT {
            return None;
        }
        said.last = now;
        Some(now.duration_since(said.since))
    }

    /// For how long it lasted, once, when it has ended.
    fn ended(&self) -> Option<Duration> {
        let said = self.0.lock().expect("nobody panics with it").take();
        said.map(|said| said.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_is_away_is_said_once_and_then_every_minute() {
        let silence = Silence::default();
        let mut said = 0;
        for _ in 0..150 {
            said += usize::from(silence.lasts().is_some());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, 3, "at 0, 60 and 120 s");
        assert_eq!(silence.ended(), Some(Duration::from_secs(150)));
        assert_eq!(silence.ended(), None, "its end is said once");
        assert_eq!(silence.lasts(), Some(Duration::ZERO), "and the next time anew");
    }

    fn registry(url: &str) -> Result<Registry, RegistryError> {
        Registry::new(&RegistrySettings::open(url, RegistryMode::Check))
    }

    #[test]
    fn credentials_in_the_address_are_never_shown() {
        let open = registry("http://user:secret@registry:8081/apis/ccompat/v7/");
        assert_eq!(
            open.map(|r| r.url).ok().as_deref(),
            Some("http://registry:8081/apis/ccompat/v7")
        );
        let error = registry("ftp://user:secret@registry").err();
        assert!(error.is_some_and(|e| !e.to_string().contains("secret")));
    }

    #[test]
    fn a_subject_is_one_segment_of_the_path() {
        let registry = registry("http://registry/apis/ccompat/v7").ok();
        let url = registry.map(|r| r.config(Some("a/b c")).to_string());
        assert_eq!(
            url.as_deref(),
            Some("http://registry/apis/ccompat/v7/config/a%2Fb%20c")
        );
    }
}
