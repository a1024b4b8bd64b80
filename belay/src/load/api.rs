//! GraphQL over HTTP on connections that are kept.
//!
//! A request that got no answer is sent again, as a careful client does: mutations carry an idempotency key, so the
//! repetition is the same request.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::target::{Place, Target};
use crate::token::Role;

/// Longest wait for one answer. The edge answers a submission from its own database.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The first pause before a repetition; every further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One user of the system.
#[derive(Debug)]
pub(super) struct User {
    target: Arc<Target>,
    http: reqwest::Client,
    role: Role,
    subject: String,
    /// The token, and the epoch of the place that it is for.
    token: Mutex<Option<(u64, Arc<str>)>>,
}

/// What a request gave.
#[derive(Debug)]
pub(super) struct Answer {
    /// `data` of the answer.
    pub data: Value,
    /// How often it was sent again.
    pub repeated: u64,
}

/// A connection pool for any number of users.
///
/// # Errors
/// When the client cannot be made.
pub(super) fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .timeout(ANSWER_LIMIT)
        .connect_timeout(ANSWER_LIMIT)
        .tcp_nodelay(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}

impl User {
    /// A user who shares the client's connections.
    pub fn new(target: &Arc<Target>, http: &reqwest::Client, role: Role, subject: String) -> Self {
        Self {
            target: target.clone(),
            http: http.clone(),
            role,
            subject,
            token: Mutex::default(),
        }
    }

    /// The system that this user uses.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// This user's token for a place, minted once for each.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn token(&self, place: &Place) -> anyhow::Result<Arc<str>> {
        // The value is replaced whole, so a panic in between would leave it right.
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((epoch, token)) = token.as_ref()
            && *epoch == place.epoch
        {
            return Ok(token.clone());
        }
        let fresh: Arc<str> = place.token(self.role, &self.subject)?.into();
        *token = Some((place.epoch, fresh.clone()));
        Ok(fresh)
    }

    /// Sends a request, and again until it is answered or the deadline has come.
    ///
    /// # Errors
    /// When the answer has errors that a repetition would not change, or the deadline has come.
    pub async fn ask(&self, query: &str, variables: &Value, deadline: Instant) -> anyhow::Result<Answer> {
        let body = json!({ "query": query, "variables": variables });
        let mut pause = FIRST_PAUSE;
        let mut repeated = 0;
        loop {
            let place = self.target.place();
            let attempt = timeout_at(deadline, self.attempt(&place, &body)).await;
            let why = match attempt {
                Ok(Ok(Attempt::Answered(data))) => return Ok(Answer { data, repeated }),
                Ok(Ok(Attempt::Again(why))) => why,
                Ok(Err(error)) => return Err(error),
                Err(_) => bail!("no answer before the end of the run"),
            };
            if Instant::now() + pause >= deadline {
                bail!("still not answered after {} sends: {why}", repeated + 1);
            }
            sleep(pause).await;
            self.target.look_again().await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            repeated += 1;
        }
    }

    async fn attempt(&self, place: &Place, body: &Value) -> anyhow::Result<Attempt> {
        let request = self
            .http
            .post(format!("{}/graphql", place.http))
            .bearer_auth(self.token(place)?)
            .json(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Again(chain(&error))),
        };
        let status = response.status();
        if status.is_server_error() || status == reqwest::StatusCode::TOO_MANY_REQUESTS {
            return Ok(Attempt::Again(format!("status {status}")));
        }
        let answer: Value = match response.json().await {
            Ok(answer) => answer,
            Err(error) if error.is_decode() => bail!("an answer with status {status} is not JSON"),
            Err(error) => return Ok(Attempt::Again(chain(&error))),
        };
        judge(answer)
    }
}

#[derive(Debug)]
enum Attempt {
    Answered(Value),
    Again(String),
}

/// Whether an answer counts, is worth a repetition, or neither.
fn judge(mut answer: Value) -> anyhow::Result<Attempt> {
    let Some(error) = answer["errors"].get(0) else {
        let data = answer
            .get_mut("data")
            .map(Value::take)
            .context("an answer has neither data nor errors")?;
        return Ok(Attempt::Answered(data));
    };
    let message = error["message"].as_str().unwrap_or_default();
    match error["extensions"]["code"].as_str() {
        Some(code @ ("UNAVAILABLE" | "TIMEOUT" | "RATE_LIMITED")) => {
            Ok(Attempt::Again(format!("{code}: {message}")))
        }
        Some(code) => bail!("{code}: {message}"),
        None => bail!("{message}"),
    }
}

/// An error with its causes; the address that it may contain is ours.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string())
        .chain(causes.map(ToString::to_string))
        .collect::<Vec<_>>()
        .join(": ")
}

/// The first of a payload's user errors, in words.
pub(super) fn user_error(payload: &Value) -> Option<String> {
    let error = payload["userErrors"].get(0)?;
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    Some(format!("{}: {}", text("code"), text("message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_go_better_is_sent_again() {
        let away =
            json!({ "data": null, "errors": [{ "message": "m", "extensions": { "code": "UNAVAILABLE" } }] });
        assert!(matches!(judge(away), Ok(Attempt::Again(_))));
        let wrong = json!({ "errors": [{ "message": "m", "extensions": { "code": "BAD_USER_INPUT" } }] });
        assert_eq!(judge(wrong).unwrap_err().to_string(), "BAD_USER_INPUT: m");
        assert!(
            matches!(judge(json!({ "data": { "x": 1 } })), Ok(Attempt::Answered(data)) if data["x"] == 1)
        );
        assert!(judge(json!({})).is_err());
    }
}
