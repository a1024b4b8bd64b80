//! Keys as they are written in settings: one line each, so that they fit into an environment variable.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use p256::{SecretKey, elliptic_curve::sec1::ToEncodedPoint, pkcs8::EncodePrivateKey};
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

/// Bytes of a key's fingerprint that tell it apart.
const FINGERPRINT_BYTES: usize = 12;

/// A text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("this is no private key: `belay identity` makes one, 43 characters long")]
    Private,
    #[error("this is no public key: `belay identity` says it, 44 characters long")]
    Public,
    #[error("write CALLER=PUBLIC_KEY, such as `belay identity` says it")]
    Known,
}

/// What a caller signs with: P-256, written as its 32 bytes in base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(SecretKey);

impl PrivateKey {
    /// A new one, from the operating system's random numbers.
    #[must_use]
    pub fn fresh() -> Self {
        Self(SecretKey::random(&mut OsRng))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key())
    }

    /// As it is written in a setting. A secret.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0.to_bytes())
    }

    pub(super) fn encoding(&self) -> EncodingKey {
        let der = self.0.to_pkcs8_der().expect("a key of this curve can be encoded");
        EncodingKey::from_ec_der(der.as_bytes())
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(text.trim())
            .map_err(|_| KeyError::Private)?;
        // Shorter ones would be taken too.
        if bytes.len() != 32 {
            return Err(KeyError::Private);
        }
        SecretKey::from_slice(&bytes)
            .map(Self)
            .map_err(|_| KeyError::Private)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public().id())
    }
}

/// What tells a caller's tokens from others': a point of P-256, compressed, in base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(p256::PublicKey);

impl PublicKey {
    /// What a token names it by.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.0.to_encoded_point(true));
        BASE64_URL_SAFE_NO_PAD.encode(&digest[..FINGERPRINT_BYTES])
    }

    pub(super) fn decoding(&self) -> DecodingKey {
        DecodingKey::from_ec_der(self.0.to_encoded_point(false).as_bytes())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(text.trim())
            .map_err(|_| KeyError::Public)?;
        p256::PublicKey::from_sec1_bytes(&bytes)
            .map(Self)
            .map_err(|_| KeyError::Public)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0.to_encoded_point(true)))
    }
}

/// A caller and a key that it may sign with. While a key is replaced, a caller has two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub caller: String,
    pub key: PublicKey,
}

impl FromStr for Known {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (caller, key) = text.trim().split_once('=').ok_or(KeyError::Known)?;
        if caller.is_empty() {
            return Err(KeyError::Known);
        }
        Ok(Self {
            caller: caller.to_owned(),
            key: key.parse()?,
        })
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.caller, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = PrivateKey::fresh();
        assert_eq!(key.reveal().len(), 43);
        assert_eq!(key.reveal().parse(), Ok(key.clone()));
        let known = Known {
            caller: "bff".to_owned(),
            key: key.public(),
        };
        assert_eq!(known.key.to_string().len(), 44);
        assert_eq!(known.to_string().parse(), Ok(known));
        assert!(!format!("{key:?}").contains(&key.reveal()));
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_to_do() {
        for text in ["", "AAAA", &"A".repeat(43), &"A".repeat(44), "!"] {
            assert_eq!(text.parse::<PrivateKey>(), Err(KeyError::Private), "{text}");
        }
        let private = PrivateKey::fresh().reveal();
        // The private half in the place of the public one would be shown around.
        assert_eq!(private.parse::<PublicKey>(), Err(KeyError::Public));
        assert_eq!(format!("bff={private}").parse::<Known>(), Err(KeyError::Public));
        assert_eq!("bff".parse::<Known>(), Err(KeyError::Known));
        assert_eq!(format!("={private}").parse::<Known>(), Err(KeyError::Known));
    }
}
