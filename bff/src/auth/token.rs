//! The checks of one token.
//!
//! The algorithm is the key's, never the token's choice. `exp`, `iss`, `aud` and `sub` must be there; `nbf` is honoured.
//! Whatever a token says about where keys are (`jku`, `x5u`, `jwk`) is ignored.

use contracts::ids::CustomerId;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Keys,
    keys::Found,
    viewer::{Identity, Role},
};

/// How far the issuer's clock may be from ours, in seconds.
const LEEWAY_SECONDS: u64 = 30;
/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Algorithms that are taken. None with a shared secret: a public key must never be usable as one.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// What a token must be.
#[derive(Debug, Clone)]
pub(crate) struct TokenRules {
    pub issuer: String,
    pub audience: String,
    /// Where the roles are, as names of nested objects.
    pub roles_claim: Vec<String>,
}

/// Why a token does not count. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("The Authorization header must be `Bearer` and a token.")]
    NotBearer,
    #[error("The token is not a signed JSON web token. Sign in again.")]
    Malformed,
    #[error("The token is signed with an algorithm that is not taken here. Use RS256, ES256 or EdDSA.")]
    Algorithm,
    #[error("The token is not signed with a key of this service's issuer. Sign in again.")]
    Key,
    #[error("The token has expired. Sign in again.")]
    Expired,
    #[error("The token is not valid yet. Check the clock of whoever issued it.")]
    NotYet,
    #[error("The token is from another issuer. Sign in with the one of this service.")]
    Issuer,
    #[error("The token is for another audience. Ask the issuer for one with the audience of this service.")]
    Audience,
    #[error("The token lacks `{0}`. Ask the issuer for a token that has it.")]
    Claim(String),
    #[error("The token cannot be checked, because its issuer does not answer. Try again in a moment.")]
    IssuerAway,
}

/// Verifies tokens.
#[derive(Debug, Clone)]
pub(crate) struct Authenticator {
    keys: Keys,
    rules: TokenRules,
}

#[derive(Debug, Deserialize)]
struct Claims {
    // The library reads the claims before it insists on them, and only then says which one is missing.
    sub: Option<String>,
    exp: Option<f64>,
    name: Option<String>,
    email: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Authenticator {
    /// Verifies with these keys, by these rules.
    pub fn new(keys: Keys, rules: TokenRules) -> Self {
        Self { keys, rules }
    }

    /// Who the token speaks for.
    ///
    /// # Errors
    /// [`TokenError`], each held by the test `auth::a_token_that_is_not_right_is_refused_with_what_to_do`.
    pub async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        // RFC 7515, section 4.1.11: whoever does not understand an extension marked critical must refuse.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let Some(id) = header.kid else {
            return Err(TokenError::Key);
        };
        let key = match self.keys.find(&id).await {
            Found::Key(key) if key.algorithm == header.alg => key,
            Found::Key(_) => return Err(TokenError::Algorithm),
            Found::Unknown => return Err(TokenError::Key),
            Found::Away => return Err(TokenError::IssuerAway),
        };
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_audience(&[&self.rules.audience]);
        let claims = decode::<Claims>(token, &key.verifying, &validation)
            .map_err(|e| why(e.kind()))?
            .claims;
        let Some(subject) = claims.sub.filter(|subject| !subject.is_empty()) else {
            return Err(TokenError::Claim("sub".to_owned()));
        };
        let Some(expires_at) = claims.exp else {
            return Err(TokenError::Claim("exp".to_owned()));
        };
        let role = self.role(&claims.others);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, which is what a far time means"
        )]
        let expires_at = expires_at as u64;
        Ok(Identity {
            subject: CustomerId(subject),
            name: claims.name,
            email: claims.email,
            role,
            expires_at,
        })
    }

    fn role(&self, claims: &Map<String, Value>) -> Role {
        let mut path = self.rules.roles_claim.iter();
        let first = path.next().and_then(|name| claims.get(name));
        let found = path.fold(first, |value, name| value.and_then(|value| value.get(name)));
        let names = found
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        names.filter_map(Role::named).max().unwrap_or(Role::Anonymous)
    }
}

fn why(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Key,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            TokenError::Claim(claim.clone())
        }
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        // The library's list is open. Whatever else is wrong, the token cannot be read as one.
        _ => TokenError::Malformed,
    }
}
