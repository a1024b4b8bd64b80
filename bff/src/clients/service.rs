//! One service, as the edge asks it.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use contracts::http::Refused;
use host::identity::Identity;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::{Serialize, de::DeserializeOwned};
use tracing::Instrument;

use crate::domain::Refusal;

/// The longest that a call may take, its second try included.
const LIMIT: Duration = Duration::from_secs(2);
/// Before the second try of a read, with jitter.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A service did not answer as agreed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ServiceError {
    /// It cannot be reached, takes too long, or says that it is in trouble.
    #[error("{service} does not answer: {reason}")]
    Away { service: &'static str, reason: String },
    /// It answers something else than agreed.
    #[error("{service} does not answer as agreed: {reason}")]
    Broken { service: &'static str, reason: String },
}

/// A service, and how to ask it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Service {
    http: reqwest::Client,
    pub name: &'static str,
    base: Url,
    /// Who we are to it.
    identity: Identity,
}

/// The client that all services are asked with.
///
/// # Errors
/// When it cannot be made.
pub(super) fn http_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(LIMIT)
        .timeout(LIMIT)
        // Our own services: no proxy stands before them, and none of them moves.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

impl Service {
    /// The service at `base`, asked with `http` in the name of `identity`.
    pub fn new(http: &reqwest::Client, name: &'static str, base: Url, identity: &Identity) -> Self {
        Self {
            http: http.clone(),
            name,
            base,
            identity: identity.clone(),
        }
    }

    /// What is there. Tried once more when the first try failed quickly.
    pub async fn read<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ServiceError> {
        let mut url = self.at(path)?;
        url.query_pairs_mut().extend_pairs(query);
        let once = || async {
            let (status, body) = self.ask(self.http.get(url.clone())).await?;
            if status == StatusCode::OK {
                self.read_body(&body)
            } else {
                Err(self.unexpected(status, &body))
            }
        };
        let policy = ExponentialBuilder::default()
            .with_min_delay(RETRY_AFTER)
            .with_max_times(1)
            .with_jitter();
        let away = |error: &ServiceError| matches!(error, ServiceError::Away { .. });
        self.within_limit(async { once.retry(policy).when(away).await })
            .await
    }

    /// Has it do something, once. The inner error is the service's refusal.
    pub async fn write<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Result<T, Vec<Refusal>>, ServiceError> {
        let request = self.http.post(self.at(path)?).json(body);
        let (status, body) = self.within_limit(self.ask(request)).await?;
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            let refused: Refused = self.read_body(&body)?;
            let refusals = refused
                .errors
                .into_iter()
                .map(Refusal::try_from)
                .collect::<Result<_, _>>();
            return refusals.map(Err).map_err(|error| self.broken(&error));
        }
        if status.is_success() {
            self.read_body(&body).map(Ok)
        } else {
            Err(self.unexpected(status, &body))
        }
    }

    /// What is at `path`; none when nothing is. Not tried again.
    pub async fn find<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, ServiceError> {
        let request = self.http.get(self.at(path)?);
        let (status, body) = self.within_limit(self.ask(request)).await?;
        match status {
            StatusCode::OK => self.read_body(&body).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(self.unexpected(other, &body)),
        }
    }

    fn at(&self, path: &[&str]) -> Result<Url, ServiceError> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => return Err(self.broken(&"its address can have no path")),
        };
        Ok(url)
    }

    /// One try, in a span of its own that the service continues.
    async fn ask(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), ServiceError> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(|error| self.broken(&error.without_url()))?;
        let url = request.url();
        let first = url.path_segments().and_then(|mut path| path.next());
        let span = spans::http_client(
            request.method().as_str(),
            first.unwrap_or_default(),
            url.host_str().unwrap_or_default(),
            url.port_or_known_default(),
        );
        spans::inject(&span, request.headers_mut());
        self.identity
            .sign(self.name, request.headers_mut())
            .map_err(|error| self.broken(&error))?;
        let answer = self
            .answer(client.execute(request))
            .instrument(span.clone())
            .await;
        match &answer {
            Ok((status, _)) => spans::finished(&span, status.as_u16(), 400),
            Err(_) => spans::failed(&span, "away"),
        }
        answer
    }

    async fn answer(
        &self,
        response: impl Future<Output = reqwest::Result<reqwest::Response>>,
    ) -> Result<(StatusCode, Vec<u8>), ServiceError> {
        let response = response.await.map_err(|error| self.away(&error.without_url()))?;
        let status = response.status();
        let body = response
            .bytes()
            .await
            .map_err(|error| self.away(&error.without_url()))?;
        Ok((status, body.to_vec()))
    }

    fn read_body<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ServiceError> {
        serde_json::from_slice(body).map_err(|error| self.broken(&error))
    }

    fn unexpected(&self, status: StatusCode, body: &[u8]) -> ServiceError {
        let said: String = String::from_utf8_lossy(body).chars().take(200).collect();
        let reason = format!("{status}: {}", said.trim());
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            self.away(&reason)
        } else {
            self.broken(&reason)
        }
    }

    fn away(&self, reason: &dyn std::fmt::Display) -> ServiceError {
        ServiceError::Away {
            service: self.name,
            reason: reason.to_string(),
        }
    }

    fn broken(&self, reason: &dyn std::fmt::Display) -> ServiceError {
        ServiceError::Broken {
            service: self.name,
            reason: reason.to_string(),
        }
    }

    async fn within_limit<T>(
        &self,
        call: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        match tokio::time::timeout(LIMIT, call).await {
            Ok(result) => result,
            Err(_) => Err(self.away(&format!("no answer within {LIMIT:?}"))),
        }
    }
}
