//! The tokens with which callers say who they are, and how a service reads them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, header};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind, get_current_timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Acting, Known, PrivateKey, acting};

/// How long a token is valid.
const LIFETIME: Duration = Duration::from_secs(60);
/// When a caller makes a new one: a token in use is always valid for some time yet.
const RENEW_AFTER: Duration = Duration::from_secs(20);
/// How far two clocks may be apart. Five minutes are among the faults that the system survives.
const LEEWAY: Duration = Duration::from_secs(6 * 60);
/// A caller that gives its tokens more does not follow this.
const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Tokens that a service remembers to have checked. Each caller uses one at a time.
const REMEMBERED: usize = 64;

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    /// The caller.
    iss: String,
    /// The service that is asked.
    aud: String,
    iat: u64,
    exp: u64,
}

/// A caller cannot say who it is.
#[derive(Debug, thiserror::Error)]
#[error("a token for {service} could not be signed: {reason}")]
pub struct IdentityError {
    service: String,
    reason: String,
}

/// A caller: signs what it asks of others. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity {
    name: &'static str,
    key: Arc<Signer>,
}

struct Signer {
    key: EncodingKey,
    id: String,
    /// The newest token by service, with when it was made.
    made: Mutex<HashMap<String, (u64, HeaderValue)>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The caller `name`, who holds `key`.
    #[must_use]
    pub fn new(name: &'static str, key: &PrivateKey) -> Self {
        Self {
            name,
            key: Arc::new(Signer {
                key: key.encoding(),
                id: key.public().id(),
                made: Mutex::default(),
            }),
        }
    }

    /// Writes who asks, and for whom ([`acting::scope`]), into a request to `service`. A token is signed at most every 20 s.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, service: &str, headers: &mut HeaderMap) -> Result<(), IdentityError> {
        headers.insert(header::AUTHORIZATION, self.token(service)?);
        if let Some(acting) = acting::current() {
            headers.insert(acting::HEADER, acting.header());
        }
        Ok(())
    }

    fn token(&self, service: &str) -> Result<HeaderValue, IdentityError> {
        let now = get_current_timestamp();
        let mut made = self.key.made.lock().expect("nobody panics with it");
        if let Some((at, token)) = made.get(service)
            // A clock that was set back makes it look as if it came from the future.
            && now.checked_sub(*at).is_some_and(|age| age < RENEW_AFTER.as_secs())
        {
            return Ok(token.clone());
        }
        let claims = Claims {
            iss: self.name.to_owned(),
            aud: service.to_owned(),
            iat: now,
            exp: now + LIFETIME.as_secs(),
        };
        let failed = |reason: &dyn std::fmt::Display| IdentityError {
            service: service.to_owned(),
            reason: reason.to_string(),
        };
        let mut head = Header::new(Algorithm::ES256);
        head.kid = Some(self.key.id.clone());
        let token = jsonwebtoken::encode(&head, &claims, &self.key.key).map_err(|error| failed(&error))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| failed(&error))?;
        value.set_sensitive(true);
        made.insert(service.to_owned(), (now, value.clone()));
        Ok(value)
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The request does not say who asks: send a token of a known caller as `Authorization: Bearer`.")]
    Nobody,
    #[error(
        "This is no token of a caller: it must be a JWT with ES256 and `kid`, `iss`, `aud`, `iat` and `exp`."
    )]
    Malformed,
    #[error("The token's key is not among those that this service was told of: see BELAY_CALLERS.")]
    Key,
    #[error("The token was not signed with the key that it names.")]
    Signature,
    #[error("The token is for another service.")]
    Audience,
    #[error("The token names another caller than its key belongs to.")]
    Caller,
    #[error("The token is no longer valid, or not yet: compare the clocks.")]
    Time,
    #[error("The token is valid for longer than ten minutes.")]
    TooLong,
}

/// The callers that a service knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Callers(Arc<Inner>);

struct Inner {
    service: &'static str,
    validation: Validation,
    /// By the id of the key.
    keys: HashMap<String, (String, DecodingKey)>,
    /// Tokens that were found right, with their claims: the signature need not be computed again.
    checked: Mutex<HashMap<String, Claims>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callers")
            .field("service", &self.service)
            .field("keys", &self.keys.keys())
            .finish_non_exhaustive()
    }
}

impl Callers {
    /// Those whom `service` lets in.
    #[must_use]
    pub fn new(service: &'static str, known: &[Known]) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[service]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        // Times are looked at here, each time a token comes.
        validation.validate_exp = false;
        let keys = known
            .iter()
            .map(|known| (known.key.id(), (known.caller.clone(), known.key.decoding())));
        Self(Arc::new(Inner {
            service,
            validation,
            keys: keys.collect(),
            checked: Mutex::default(),
        }))
    }

    /// The service that lets them in.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn check(&self, token: &str) -> Result<String, Refusal> {
        let claims = self.claims(token)?;
        let now = get_current_timestamp();
        let leeway = LEEWAY.as_secs();
        if claims.exp.saturating_add(leeway) < now || claims.iat > now.saturating_add(leeway) {
            return Err(Refusal::Time);
        }
        if claims.exp.saturating_sub(claims.iat) > LONGEST_LIFETIME.as_secs() {
            return Err(Refusal::TooLong);
        }
        Ok(claims.iss)
    }

    fn claims(&self, token: &str) -> Result<Claims, Refusal> {
        let checked = || self.0.checked.lock().expect("nobody panics with it");
        if let Some(claims) = checked().get(token) {
            return Ok(claims.clone());
        }
        let head = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        let kid = head.kid.ok_or(Refusal::Malformed)?;
        let (caller, key) = self.0.keys.get(&kid).ok_or(Refusal::Key)?;
        let decoded = jsonwebtoken::decode::<Claims>(token, key, &self.0.validation);
        let claims = decoded.map_err(|error| refusal(error.kind()))?.claims;
        if claims.iss != *caller {
            return Err(Refusal::Caller);
        }
        let mut checked = checked();
        if checked.len() >= REMEMBERED {
            checked.clear();
        }
        checked.insert(token.to_owned(), claims.clone());
        Ok(claims)
    }
}

fn refusal(kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::InvalidSignature => Refusal::Signature,
        ErrorKind::InvalidAudience => Refusal::Audience,
        // The library's list grows; whatever else is wrong with a token is wrong with how it was made.
        _ => Refusal::Malformed,
    }
}

/// What a service knows of who asks: in the extensions of every request that reaches its routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The caller's name.
    pub caller: String,
    /// For whom it asks, if for anybody.
    pub acting: Option<Acting>,
}

#[cfg(test)]
mod tests;
