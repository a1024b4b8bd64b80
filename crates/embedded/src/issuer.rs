//! A development token issuer: one ES256 key, its public half on the network, and tokens for who
//! can read the private half.
//!
//! There is no endpoint that mints: whoever may read the key's directory may mint, nobody else.
//! Services verify its tokens as they verify a real provider's, by discovery and JWKS.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use axum::{Json, Router, routing::get};
use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use p256::{
    SecretKey,
    pkcs8::{EncodePrivateKey, LineEnding},
};
use rand::rngs::OsRng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    http::{Listening, LocalServer},
    secret_file,
};

const KEY_FILE: &str = "issuer-key.pem";

/// A running issuer. Dropping it stops it at once; [`Issuer::stop`] drains.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    server: LocalServer,
}

/// What a token says.
#[derive(Debug, Clone)]
pub struct Claims {
    /// `iss`: the [`Issuer::url`] that the services are configured with.
    pub issuer: String,
    /// `aud`: who the token is for, `belay` by convention.
    pub audience: String,
    /// `sub`: the stable id of who presents it.
    pub subject: String,
    /// A name to show.
    pub name: String,
    /// An e-mail address.
    pub email: String,
    /// `realm_access.roles`, where Keycloak puts a realm's roles.
    pub roles: Vec<String>,
    /// From issue to `exp`, in whole seconds.
    pub lifetime: Duration,
}

impl Issuer {
    /// Serves `/.well-known/openid-configuration` and `/jwks` on `listen` (loopback only; port 0
    /// takes a free one) until `shutdown` is cancelled.
    ///
    /// The key is made in `directory` when there is none (mode 0600, the directory 0700 if it is
    /// created here) and used again later, so tokens stay valid over a restart on the same port
    /// (test `issuer::tokens_stay_valid_over_a_restart`).
    ///
    /// # Errors
    ///
    /// When `listen` cannot be bound or is not loopback, or the key cannot be made or read, or can
    /// be read by others.
    pub async fn start(
        directory: &Path,
        listen: SocketAddr,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (_, public) = key_pair(directory)?;
        let listening = Listening::bind("token issuer", listen).await?;
        let url = listening.url();
        let discovery = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks"),
            "id_token_signing_alg_values_supported": ["ES256"],
            "subject_types_supported": ["public"],
            "response_types_supported": [],
        });
        let keys = JwkSet { keys: vec![public] };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async || Json(discovery)))
            .route("/jwks", get(async || Json(keys)));
        let server = listening.serve("token issuer", router, shutdown);
        Ok(Self { url, server })
    }

    /// The issuer's address and name, such as `http://127.0.0.1:41234`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops answering; waits at most 2 s for requests in progress.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// Signs a token with the key in `directory`, made if there is none: valid from `now` for
/// [`Claims::lifetime`].
///
/// # Errors
///
/// When the key cannot be made or read, or can be read by others, or the lifetime does not fit a
/// calendar.
pub fn mint(directory: &Path, claims: &Claims, now: DateTime<Utc>) -> anyhow::Result<String> {
    let (private, public) = key_pair(directory)?;
    let expires = now
        .checked_add_signed(chrono::Duration::from_std(claims.lifetime)?)
        .context("the token's lifetime is too long")?;
    let mut header = Header::new(Algorithm::ES256);
    header.kid = public.common.key_id;
    let body = json!({
        "iss": claims.issuer,
        "aud": claims.audience,
        "sub": claims.subject,
        "name": claims.name,
        "email": claims.email,
        "realm_access": { "roles": claims.roles },
        "iat": now.timestamp(),
        "nbf": now.timestamp(),
        "exp": expires.timestamp(),
    });
    jsonwebtoken::encode(&header, &body, &private).context("the token cannot be signed")
}

fn key_pair(directory: &Path) -> anyhow::Result<(EncodingKey, Jwk)> {
    let path = key_path(directory)
        .with_context(|| format!("cannot create the directory {}", directory.display()))?;
    let pem = secret_file::read_or_create(&path, new_key)
        .with_context(|| format!("cannot use the issuer's key {}", path.display()))?;
    let private = EncodingKey::from_ec_pem(pem.as_bytes()).with_context(|| {
        format!(
            "{} is not a PKCS#8 key for ES256; delete it to have a new one made",
            path.display()
        )
    })?;
    let mut public = Jwk::from_encoding_key(&private, Algorithm::ES256)?;
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
    Ok((private, public))
}

fn key_path(directory: &Path) -> io::Result<PathBuf> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    Ok(directory.join(KEY_FILE))
}

fn new_key() -> String {
    SecretKey::random(&mut OsRng)
        .to_pkcs8_pem(LineEnding::LF)
        .expect("a key that was just made can be encoded")
        .to_string()
}
