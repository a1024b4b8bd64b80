//! The issuer's keys: found by OpenID discovery, cached by `kid`, kept while the issuer is away.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::{Context, ensure};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

/// How often the keys are fetched without being asked for, so that withdrawn ones are forgotten.
const REFRESH_EVERY: Duration = Duration::from_secs(600);
/// Between two fetches because of unknown key ids at least: made-up ids must not become load on the issuer.
const ASKED_EVERY: Duration = Duration::from_secs(10);
/// Pause after a fetch that failed; the task that keeps the keys doubles it up to [`LONGEST_RETRY`].
const RETRY_EVERY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// How long keys serve while the issuer is away.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The longest that one request to the issuer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A key of the issuer's, and the one algorithm that it is for.
#[derive(Clone)]
pub(crate) struct Key {
    pub algorithm: Algorithm,
    pub verifying: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// What looking for a key gave.
#[derive(Debug)]
pub(crate) enum Found {
    /// The issuer's key with this id.
    Key(Key),
    /// The issuer has no such key.
    Unknown,
    /// No key set is known, because the issuer does not answer.
    Away,
}

/// The issuer's key set. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    issuer: String,
    known: RwLock<Option<Known>>,
    /// Held while fetching, so that there is one fetch at a time; the time of the last one that an unknown id caused.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct Known {
    keys: Arc<HashMap<String, Key>>,
    fetched: Instant,
}

#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Keys {
    /// The keys of `issuer`; none are known yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(issuer: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(LIMIT)
            .timeout(LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self(Arc::new(Inner {
            http,
            issuer: issuer.to_owned(),
            known: RwLock::default(),
            asked: Mutex::default(),
        })))
    }

    /// Fetches the keys now and then, until `shutdown`.
    pub async fn keep(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut retry = RETRY_EVERY;
        loop {
            // Cancel-safe: keys that were not fetched are fetched again.
            let fetched = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                fetched = self.fetch() => fetched,
            };
            let pause = match fetched {
                Ok(()) => {
                    retry = RETRY_EVERY;
                    REFRESH_EVERY
                }
                Err(error) => {
                    tracing::warn!("the token issuer's keys cannot be had, tried again soon: {error:#}");
                    let pause = retry;
                    retry = (retry * 2).min(LONGEST_RETRY);
                    pause
                }
            };
            // Cancel-safe: nothing is under way while it waits.
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// The key with this id. An unknown id makes the keys be fetched, once for all who ask at the time and at most every
    /// 10 s (test `auth::an_unknown_key_is_asked_for_once`).
    pub async fn find(&self, id: &str) -> Found {
        if let Some(key) = self.cached(id) {
            return Found::Key(key);
        }
        let mut asked = self.0.asked.lock().await;
        // Whoever held the lock may have fetched it.
        if let Some(key) = self.cached(id) {
            return Found::Key(key);
        }
        let had_keys = self.fresh().is_some();
        let pause = if had_keys { ASKED_EVERY } else { RETRY_EVERY };
        if asked.is_none_or(|last| last.elapsed() >= pause) {
            let fetched = self.fetch().await;
            if let Err(error) = &fetched {
                tracing::warn!("the token issuer's keys cannot be had: {error:#}");
            }
            // The first keys are no answer to an unknown id, and cost nobody his one question.
            *asked = if fetched.is_ok() && !had_keys {
                None
            } else {
                Some(Instant::now())
            };
        }
        match (self.cached(id), self.fresh()) {
            (Some(key), _) => Found::Key(key),
            (None, Some(_)) => Found::Unknown,
            (None, None) => Found::Away,
        }
    }

    fn cached(&self, id: &str) -> Option<Key> {
        self.fresh()?.keys.get(id).cloned()
    }

    fn fresh(&self) -> Option<Known> {
        let known = self
            .0
            .known
            .read()
            .expect("nothing panics while it holds this lock")
            .clone()?;
        (known.fetched.elapsed() < STALE_AFTER).then_some(known)
    }

    async fn fetch(&self) -> anyhow::Result<()> {
        let issuer = self.0.issuer.trim_end_matches('/');
        let discovery: Discovery = self
            .get(&format!("{issuer}/.well-known/openid-configuration"))
            .await?;
        ensure!(
            discovery.issuer.trim_end_matches('/') == issuer,
            "{issuer} says that it is {}: give --issuer as the issuer names itself",
            discovery.issuer
        );
        let set: JwkSet = self.get(&discovery.jwks_uri).await?;
        let keys: HashMap<String, Key> = set.keys.iter().filter_map(usable).collect();
        ensure!(
            !keys.is_empty(),
            "{} has no signing key that is taken here",
            discovery.jwks_uri
        );
        let known = Known {
            keys: Arc::new(keys),
            fetched: Instant::now(),
        };
        *self
            .0
            .known
            .write()
            .expect("nothing panics while it holds this lock") = Some(known);
        Ok(())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &str) -> anyhow::Result<T> {
        let response = self.0.http.get(url).send().await?.error_for_status()?;
        response
            .json()
            .await
            .with_context(|| format!("{url} does not answer what it should"))
    }
}

/// A key for signatures of an algorithm on the list. Others in the set, such as those for encryption, are left alone.
fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let signs = jwk
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        // A curve that is not on the list, or a shared secret, which nobody may publish.
        _ => return None,
    };
    let named = match (jwk.common.key_algorithm, algorithm) {
        (None, _)
        | (Some(KeyAlgorithm::RS256), Algorithm::RS256)
        | (Some(KeyAlgorithm::ES256), Algorithm::ES256)
        | (Some(KeyAlgorithm::EdDSA), Algorithm::EdDSA) => true,
        (Some(_), _) => false,
    };
    let id = jwk.common.key_id.clone().filter(|_| signs && named)?;
    Some((
        id,
        Key {
            algorithm,
            verifying: DecodingKey::from_jwk(jwk).ok()?,
        },
    ))
}
