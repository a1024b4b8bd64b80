//! What librdkafka calls back: a token, when the login needs one.

use std::{
    error::Error,
    ffi::CString,
    sync::{Arc, Mutex},
};

use rdkafka::{
    client::{Client, ClientContext, OAuthToken},
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::time::Instant;

use crate::kafka::{token::Tokens, unix_seconds};

/// The context of every client of ours. A context with more to do hands `generate_oauth_token` on to it.
#[derive(Debug, Clone, Default)]
pub struct Context {
    tokens: Option<Tokens>,
    /// Why the broker could not be used, the last time that librdkafka said so.
    trouble: Arc<Mutex<Option<Trouble>>>,
}

/// Why the broker cannot be used, in librdkafka's words, which hold no secret.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    /// Asking again does not help: the login is refused, or one side does not believe the other's certificate.
    pub(crate) lasting: bool,
}

impl Context {
    pub(crate) fn new(tokens: Option<Tokens>) -> Self {
        Self {
            tokens,
            trouble: Arc::default(),
        }
    }

    /// What librdkafka said last of a broker that could not be used. It says so when the client is polled.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().expect("nobody panics with it").clone()
    }

    /// Gives a client that was just made its first token.
    ///
    /// By itself a client asks for one when it is polled, and some are not polled before they are used: the administration
    /// interface never, and whoever asks for metadata only later.
    pub(crate) fn hand_over<C: ClientContext>(&self, client: &Client<C>) {
        if self.tokens.is_none() {
            return;
        }
        let handed = self
            .generate_oauth_token(None)
            .map(|token| set_token(client, token));
        match handed {
            Ok(Ok(())) => {}
            // The client is refused by the broker and asks again ten seconds later.
            Ok(Err(reason)) => tracing::warn!("librdkafka does not take the token: {reason}"),
            Err(error) => tracing::warn!("a client of Kafka starts without a token: {error}"),
        }
    }
}

impl ClientContext for Context {
    // Only asked for when the mechanism is OAUTHBEARER.
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("librdkafka: {error}: {reason}");
        // A broker that does not believe our certificate says so in a TLS alert, which comes as a connection that broke.
        let lasting = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)
        ) || reason.contains(" alert ");
        let mut trouble = self.trouble.lock().expect("nobody panics with it");
        // That every broker is down follows from the reason, and comes after it.
        if lasting || trouble.as_ref().is_none_or(|known| !known.lasting) {
            *trouble = Some(Trouble {
                reason: reason.to_owned(),
                lasting,
            });
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens = self
            .tokens
            .as_ref()
            .ok_or("OAUTHBEARER was set as a property: set it by --kafka-sasl-mechanism")?;
        let token = tokens.newest().ok_or("there is no token that still lives")?;
        let left = token.expires.duration_since(Instant::now());
        let expires = unix_seconds().saturating_add(left.as_secs());
        Ok(OAuthToken {
            token: token.text.reveal().to_owned(),
            principal_name: token.principal,
            lifetime_ms: i64::try_from(expires.saturating_mul(1_000)).unwrap_or(i64::MAX),
        })
    }
}

impl ConsumerContext for Context {}

/// rdkafka sets tokens only while it handles an event, hence the call to librdkafka itself.
#[expect(
    unsafe_code,
    reason = "librdkafka's function to set a token has no safe wrapper"
)]
fn set_token<C: ClientContext>(client: &Client<C>, token: OAuthToken) -> Result<(), String> {
    let text = CString::new(token.token).map_err(|_| "it holds a zero byte".to_owned())?;
    let principal =
        CString::new(token.principal_name).map_err(|_| "its principal holds a zero byte".to_owned())?;
    let mut reason = [0_u8; 512];
    // SAFETY: the client is borrowed for the whole call, so its handle is valid; the texts end with a zero byte and are
    // copied by the call; there are no extensions; the buffer is as long as it says, and librdkafka ends what it writes
    // there with a zero byte.
    let code = unsafe {
        rdkafka::bindings::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            text.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            reason.as_mut_ptr().cast(),
            reason.len(),
        )
    };
    if code == rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let end = reason.iter().position(|byte| *byte == 0).unwrap_or(reason.len());
    Err(String::from_utf8_lossy(&reason[..end]).into_owned())
}
