//! What is asked of the schema registry at start: every schema of the contract known, and kept compatible.
//!
//! Only Confluent's REST API is used (<https://docs.confluent.io/platform/current/schema-registry/develop/api.html>). The level
//! is set before a version is registered, so that it holds for it. Confluent's registry and Apicurio 3.3 (`/apis/ccompat/v7`)
//! take a level for a subject that has no version yet; for one that answers 404 it is set after the first version.
//!
//! Services start together and register the same. Apicurio answers the slower one with 409 where Confluent's says yes to both,
//! so after a conflict it is asked what holds now (test `two_services_that_register_at_once_are_both_served`).

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

/// The level at which every version reads what every other one wrote: old and new programs run together in any order.
pub const LEVEL: &str = "FULL_TRANSITIVE";

/// How long the registry may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// First pause before a registry that is away is asked again; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Between two words about a registry that is still away.
const COMPLAINT: Duration = Duration::from_secs(60);
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

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry's address is not a URL, or the client could not be made.
    #[error("the schema registry's address `{url}` cannot be used: {reason}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The registry refused one of our schemas.
    #[error(
        "the schema registry refuses {subject}: {reason}. Make the change compatible (FULL_TRANSITIVE): give new fields a default, remove none without one. `cargo test -p contracts` names the field"
    )]
    Refused {
        /// Topic and record.
        subject: String,
        /// The registry's words.
        reason: String,
    },
    /// Check mode, and one of our schemas is not registered.
    #[error(
        "{subject} is not registered as this program has it: {reason}. Register the schemas first, or start with --registry-mode register"
    )]
    NotRegistered {
        /// Topic and record.
        subject: String,
        /// The registry's words.
        reason: String,
    },
    /// Check mode, and a subject is kept at a weaker level than [`LEVEL`].
    #[error(
        "the schema registry keeps {subject} at compatibility {level}, which would let a change through that breaks running programs; it must be FULL_TRANSITIVE. Set it with\n  curl -X PUT {url}/config/{subject} -H 'content-type: application/vnd.schemaregistry.v1+json' -d '{{\"compatibility\":\"FULL_TRANSITIVE\"}}'\nor start once with --registry-mode register"
    )]
    Weak {
        /// Topic and record.
        subject: String,
        /// The level that holds for it.
        level: String,
        /// The registry, without credentials.
        url: String,
    },
    /// The level of a subject can be neither read nor set.
    #[error("the schema registry does not let the compatibility of {subject} be {wanted}: {reason}")]
    Level {
        /// Topic and record.
        subject: String,
        /// "read" or "set".
        wanted: &'static str,
        /// The registry's words.
        reason: String,
    },
    /// Shutdown was asked for while the registry was away.
    #[error("stopped while waiting for the schema registry")]
    Stopped,
    /// The ids are others than when the rows in the outbox were written.
    #[error(
        "this is another schema registry than before ({subject} had id {was}, now {now}), and {rows} messages in the outbox bear the old ids. Start once with the old registry and let the outbox drain, then change it"
    )]
    Exchanged {
        /// Topic and record.
        subject: String,
        /// The id under which it was known.
        was: i32,
        /// The id that the registry gives now.
        now: i32,
        /// Rows that wait in the outbox.
        rows: i64,
    },
    /// The list of ids could not be read or written.
    #[error("the registry's ids cannot be compared with the ones known")]
    Database(#[from] sqlx::Error),
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
    settings: SrSettings,
    client: Client,
    mode: RegistryMode,
    silence: Silence,
}

impl Registry {
    /// Makes the clients. `url` may hold `user:password@`.
    pub(crate) fn new(url: &str, mode: RegistryMode) -> Result<Self, RegistryError> {
        let url = url.trim_end_matches('/');
        let mut shown = Url::parse(url).ok();
        if let Some(shown) = &mut shown {
            // Fails only for addresses that cannot hold any.
            let _ = shown.set_password(None);
            let _ = shown.set_username("");
        }
        let words = shown.as_ref().map_or_else(|| url.to_owned(), Url::to_string);
        let words = words.trim_end_matches('/').to_owned();
        let address = |reason: String| RegistryError::Address {
            url: words.clone(),
            reason,
        };
        let base = Url::parse(url).ok();
        let Some(base) = base.filter(|base| matches!(base.scheme(), "http" | "https")) else {
            return Err(address(
                "write it as http://host:port or https://host:port".to_owned(),
            ));
        };
        let settings = SrSettings::new_builder(url.to_owned())
            .set_timeout(ANSWER_LIMIT)
            .build()
            .map_err(|e| address(e.to_string()))?;
        let client = Client::builder()
            .timeout(ANSWER_LIMIT)
            .build()
            .map_err(|e| address(e.to_string()))?;
        Ok(Self {
            url: words,
            base,
            settings,
            client,
            mode,
            silence: Silence::default(),
        })
    }

    /// What the library needs to look schemas up later.
    pub(crate) fn settings(&self) -> &SrSettings {
        &self.settings
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
            let tried = match self.mode {
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
        let registered = post_schema(&self.settings, subject.to_owned(), schema).await;
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
                return Err(judged(&error, |reason| RegistryError::Refused {
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
        perform_sr_call(&self.settings, SrCall::PostForVersion(subject, &body)).await
    }

    async fn check(&self, subject: &str, message: &MessageType) -> Result<u32, Trouble> {
        let not_registered = |reason| RegistryError::NotRegistered {
            subject: subject.to_owned(),
            reason,
        };
        let found = self
            .look_up(subject, message)
            .await
            .map_err(|error| judged(&error, not_registered))?;
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
        let Some(answer) = ask(request, failed).await? else {
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
        match ask(request, failed).await {
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
}

fn judged(error: &SRCError, last: impl FnOnce(String) -> RegistryError) -> Trouble {
    if is_away(error) {
        Trouble::Away(words(error))
    } else {
        Trouble::Final(last(words(error)))
    }
}

/// Sends a request. `None` for 404.
async fn ask(
    request: RequestBuilder,
    failed: impl FnOnce(String) -> RegistryError,
) -> Result<Option<Value>, Trouble> {
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
    if is_own_trouble(status.as_u16()) {
        Err(Trouble::Away(reason))
    } else {
        Err(Trouble::Final(failed(reason)))
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

/// What the library has to say, with its cause.
pub(crate) fn words(error: &SRCError) -> String {
    match &error.cause {
        Some(cause) => format!("{} ({cause})", error.error),
        None => error.error.clone(),
    }
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

    #[test]
    fn credentials_in_the_address_are_never_shown() {
        let registry = Registry::new(
            "http://user:secret@registry:8081/apis/ccompat/v7/",
            RegistryMode::Check,
        );
        assert_eq!(
            registry.map(|r| r.url).ok().as_deref(),
            Some("http://registry:8081/apis/ccompat/v7")
        );
        let error = Registry::new("ftp://user:secret@registry", RegistryMode::Check).err();
        assert!(error.is_some_and(|e| !e.to_string().contains("secret")));
    }

    #[test]
    fn a_subject_is_one_segment_of_the_path() {
        let registry = Registry::new("http://registry/apis/ccompat/v7", RegistryMode::Check).ok();
        let url = registry.map(|r| r.config(Some("a/b c")).to_string());
        assert_eq!(
            url.as_deref(),
            Some("http://registry/apis/ccompat/v7/config/a%2Fb%20c")
        );
    }
}
