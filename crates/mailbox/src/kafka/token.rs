//! Tokens for OAUTHBEARER, renewed in the background.
//!
//! librdkafka asks for a token from one of its own threads and wants it at once, so it is handed the newest one that is
//! there. A task renews that one when three quarters of its life are over; librdkafka asks again after four fifths. Whoever
//! makes a client waits for the first token before: [`Tokens::first`].

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::kafka::{
    secret::Secret,
    token_source::{FetchError, TokenSource},
};

/// First pause after a failure; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A token that lives shorter than this is still used for as long: an issuer that hands out the end of a cached token's life
/// must not be asked in a tight loop.
const SHORTEST_USE: Duration = Duration::from_secs(1);

/// A token as it was handed out.
#[derive(Debug, Clone)]
pub struct Token {
    /// What is sent to the broker.
    pub text: Secret,
    /// Whom it speaks for. In our own logs only: the broker reads the token.
    pub principal: String,
    /// When it ends.
    pub expires: Instant,
}

/// Why there is no first token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The issuer said no, which asking again does not change.
    #[error(
        "the token issuer refuses a token for Kafka: {0}. Check the client's id, its secret and the scope"
    )]
    Refused(String),
    /// Shutdown was asked for while the issuer was away.
    #[error("stopped while waiting for the first token for Kafka")]
    Stopped,
}

/// The newest token, and where the next one comes from. Clones share it.
#[derive(Debug, Clone)]
pub struct Tokens {
    source: Arc<TokenSource>,
    newest: Arc<watch::Sender<Option<Token>>>,
}

impl Tokens {
    /// Tokens from `source`; there is none until [`Tokens::first`] or [`Tokens::keep_fresh`] runs.
    #[must_use]
    pub fn new(source: TokenSource) -> Self {
        Self {
            source: Arc::new(source),
            newest: Arc::new(watch::Sender::new(None)),
        }
    }

    /// The newest token, if there is one that still lives.
    #[must_use]
    pub fn newest(&self) -> Option<Token> {
        self.newest
            .borrow()
            .clone()
            .filter(|token| token.expires > Instant::now())
    }

    /// Waits for the first token: an issuer that is away is asked again until `shutdown`.
    ///
    /// # Errors
    /// [`TokenError`]: a refusal at the start is a fault of the configuration, and ends the start.
    pub async fn first(&self, shutdown: &CancellationToken) -> Result<(), TokenError> {
        let mut delay = FIRST_PAUSE;
        loop {
            match self.renew().await {
                Ok(_) => return Ok(()),
                Err(FetchError::Refused(reason)) => return Err(TokenError::Refused(reason)),
                Err(FetchError::Away(reason)) => {
                    tracing::warn!(
                        retry_in_ms = delay.as_millis(),
                        "there is no token for Kafka yet, which is waited for: {reason}"
                    );
                }
            }
            pause(delay, shutdown).await;
            if shutdown.is_cancelled() {
                return Err(TokenError::Stopped);
            }
            delay = (delay * 2).min(LONGEST_PAUSE);
        }
    }

    /// Renews the token until `shutdown`. Whatever goes wrong is logged and tried again: while the old token lives nothing
    /// is lost by it, and afterwards the broker is away until there is a new one.
    pub async fn keep_fresh(&self, shutdown: CancellationToken) {
        let mut delay = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            let expires = self.newest.borrow().as_ref().map(|token| token.expires);
            if let Some(expires) = expires {
                let left = expires.duration_since(Instant::now());
                pause((left * 3 / 4).max(SHORTEST_USE), &shutdown).await;
                if shutdown.is_cancelled() {
                    return;
                }
            }
            // Failures follow each other here: what is left of the old token's life is not what the next try waits for.
            while let Err(error) = self.renew().await {
                tracing::warn!(
                    retry_in_ms = delay.as_millis(),
                    "the token for Kafka was not renewed: {error}"
                );
                pause(delay, &shutdown).await;
                if shutdown.is_cancelled() {
                    return;
                }
                delay = (delay * 2).min(LONGEST_PAUSE);
            }
            delay = FIRST_PAUSE;
        }
    }

    async fn renew(&self) -> Result<(), FetchError> {
        let token = self.source.fetch().await?;
        tracing::debug!(principal = %token.principal, "a new token for Kafka");
        self.newest.send_replace(Some(token));
        Ok(())
    }
}

async fn pause(duration: Duration, shutdown: &CancellationToken) {
    // Cancel-safe: nothing is under way while it waits.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Url;
    use tokio_util::sync::DropGuard;
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{body_string, header, method, path},
    };

    use super::*;
    use crate::kafka::token_source::ClientCredentials;

    const TOKEN_PATH: &str = "/realms/shop/protocol/openid-connect/token";

    /// Answers once per call with the next token; each lives for `lifetime_seconds`.
    async fn issuer(lifetimes_seconds: &[u64]) -> MockServer {
        let server = MockServer::start().await;
        for (index, lifetime) in lifetimes_seconds.iter().enumerate() {
            let token =
                serde_json::json!({ "access_token": format!("token {index}"), "expires_in": lifetime });
            Mock::given(method("POST"))
                .and(path(TOKEN_PATH))
                // belay:s3cret
                .and(header("authorization", "Basic YmVsYXk6czNjcmV0"))
                .and(body_string("grant_type=client_credentials&scope=kafka+read"))
                .respond_with(ResponseTemplate::new(200).set_body_json(token))
                .up_to_n_times(1)
                .mount(&server)
                .await;
        }
        server
    }

    fn tokens(server: &MockServer) -> Tokens {
        let credentials = ClientCredentials {
            endpoint: Url::parse(&format!("{}{TOKEN_PATH}", server.uri())).unwrap(),
            id: "belay".to_owned(),
            secret: Secret::from("s3cret".to_owned()),
            scope: Some("kafka read".to_owned()),
        };
        Tokens::new(TokenSource::client_credentials(credentials, None).unwrap())
    }

    fn newest(tokens: &Tokens) -> String {
        tokens.newest().unwrap().text.reveal().to_owned()
    }

    /// Stops the clock of this test. It moves by `advance` alone: while a blocking task runs, tokio does not move it by
    /// itself when everybody waits, here for the issuer.
    fn stop_the_clock() -> std::sync::mpsc::Sender<()> {
        let (release, held) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv());
        tokio::time::pause();
        release
    }

    fn in_background(tokens: &Tokens) -> DropGuard {
        let shutdown = CancellationToken::new();
        let (tokens, token) = (tokens.clone(), shutdown.clone());
        tokio::spawn(async move { tokens.keep_fresh(token).await });
        shutdown.drop_guard()
    }

    #[tokio::test]
    async fn a_token_is_renewed_when_three_quarters_of_its_life_are_over() {
        let server = issuer(&[400, 1_000]).await;
        let tokens = tokens(&server);
        tokens.first(&CancellationToken::new()).await.unwrap();
        assert_eq!(newest(&tokens), "token 0");

        let _clock = stop_the_clock();
        let mut changes = tokens.newest.subscribe();
        let _task = in_background(&tokens);
        // The task has to have begun its pause before the clock moves.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(290)).await;
        tokio::task::yield_now().await;
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
        tokio::time::advance(Duration::from_secs(15)).await;
        changes.changed().await.unwrap();
        assert_eq!(newest(&tokens), "token 1");
    }

    #[tokio::test]
    async fn a_token_that_could_not_be_renewed_is_used_until_its_end_and_then_no_more() {
        let server = issuer(&[400]).await;
        let tokens = tokens(&server);
        tokens.first(&CancellationToken::new()).await.unwrap();
        server.reset().await;
        tokio::time::pause();
        let _task = in_background(&tokens);
        tokio::time::sleep(Duration::from_secs(395)).await;
        assert_eq!(newest(&tokens), "token 0");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(tokens.newest().is_none());
    }

    #[tokio::test]
    async fn the_first_token_is_waited_for_while_the_issuer_is_away() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(503))
            .up_to_n_times(1)
            .with_priority(1)
            .mount(&server)
            .await;
        Mock::given(method("POST"))
            .respond_with(
                ResponseTemplate::new(200).set_body_json(serde_json::json!({ "access_token": "at last" })),
            )
            .mount(&server)
            .await;
        let tokens = tokens(&server);
        tokens.first(&CancellationToken::new()).await.unwrap();
        assert_eq!(newest(&tokens), "at last");
    }

    #[tokio::test]
    async fn a_refusal_ends_the_start_with_the_issuers_reason() {
        let server = MockServer::start().await;
        let refusal = serde_json::json!({ "error": "invalid_client", "error_description": "Unknown client" });
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(401).set_body_json(refusal))
            .mount(&server)
            .await;
        let error = tokens(&server)
            .first(&CancellationToken::new())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("invalid_client Unknown client"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[tokio::test]
    async fn a_shutdown_ends_the_wait_for_the_first_token() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(503))
            .mount(&server)
            .await;
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let ended = tokens(&server).first(&shutdown).await;
        assert!(matches!(ended, Err(TokenError::Stopped)), "{ended:?}");
    }

    #[tokio::test]
    async fn googles_metadata_server_names_the_account_and_gives_the_token() {
        let server = MockServer::start().await;
        let account = "/computeMetadata/v1/instance/service-accounts/default";
        for (what, answer) in [
            ("email", ResponseTemplate::new(200).set_body_string("orders@project.iam.gserviceaccount.com")),
            (
                "token",
                ResponseTemplate::new(200).set_body_json(
                    serde_json::json!({ "access_token": "ya29.x", "expires_in": 3_599, "token_type": "Bearer" }),
                ),
            ),
        ] {
            Mock::given(method("GET"))
                .and(path(format!("{account}/{what}")))
                .and(header("Metadata-Flavor", "Google"))
                .respond_with(answer)
                .mount(&server)
                .await;
        }
        let source = TokenSource::google(Url::parse(&server.uri()).unwrap(), None).unwrap();
        let tokens = Tokens::new(source);
        tokens.first(&CancellationToken::new()).await.unwrap();
        let token = tokens.newest().unwrap();
        assert_eq!(token.principal, "orders@project.iam.gserviceaccount.com");
        assert_eq!(token.text.reveal().split('.').count(), 3);
    }
}
