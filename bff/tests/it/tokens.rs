//! An issuer whose every token a test can make, right or wrong.

use contracts::ids::fresh;
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, PublicKeyUse},
};
use p256::{
    SecretKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding},
};
use rand::rngs::OsRng;
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

/// A signing key with its id.
pub struct Key {
    pub id: String,
    private: EncodingKey,
    pub public: Jwk,
    /// What an attacker could have: the public key as PEM.
    pub public_pem: String,
}

impl Key {
    pub fn new() -> Self {
        let secret = SecretKey::random(&mut OsRng);
        let pem = secret.to_pkcs8_pem(LineEnding::LF).unwrap();
        let private = EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
        let mut public = Jwk::from_encoding_key(&private, Algorithm::ES256).unwrap();
        let id = fresh().to_string();
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let public_pem = secret.public_key().to_public_key_pem(LineEnding::LF).unwrap();
        Self {
            id,
            private,
            public,
            public_pem,
        }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        self.sign_with(&header, claims)
    }

    /// Signs under a header of any kind.
    pub fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.private).unwrap()
    }
}

/// A running issuer.
pub struct Issuer {
    pub server: MockServer,
    pub key: Key,
}

impl Issuer {
    pub async fn start() -> Self {
        let server = MockServer::start().await;
        let issuer = Self {
            server,
            key: Key::new(),
        };
        issuer.serve(&[&issuer.key]).await;
        issuer
    }

    /// Serves discovery and these keys from now on.
    pub async fn serve(&self, keys: &[&Key]) {
        self.server.reset().await;
        let url = self.url();
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        Mock::given(method("GET"))
            .and(path("/.well-known/openid-configuration"))
            .respond_with(ResponseTemplate::new(200).set_body_json(discovery))
            .mount(&self.server)
            .await;
        let public: Vec<&Jwk> = keys.iter().map(|key| &key.public).collect();
        Mock::given(method("GET"))
            .and(path("/keys"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "keys": public })))
            .mount(&self.server)
            .await;
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    /// How often the keys were asked for since they were served.
    pub async fn times_asked(&self) -> usize {
        let requests = self.server.received_requests().await.unwrap();
        requests
            .iter()
            .filter(|request| request.url.path() == "/keys")
            .count()
    }

    /// The claims of a good token.
    pub fn claims(&self, subject: &str, roles: &[&str]) -> Value {
        let now = jsonwebtoken::get_current_timestamp();
        json!({
            "iss": self.url(),
            "aud": "belay",
            "sub": subject,
            "name": "A Customer",
            "email": "customer@example.com",
            "realm_access": { "roles": roles },
            "nbf": now,
            "exp": now + 600,
        })
    }

    /// A good token.
    pub fn token(&self, subject: &str, roles: &[&str]) -> String {
        self.key.sign(&self.claims(subject, roles))
    }

    /// A good token of a customer that expires in three seconds.
    pub fn short_lived(&self, subject: &str) -> String {
        let mut claims = self.claims(subject, &["customer"]);
        claims["exp"] = (jsonwebtoken::get_current_timestamp() + 3).into();
        self.key.sign(&claims)
    }

    /// A good token of a customer of this name, with this address or none.
    pub fn customer_with(&self, subject: &str, name: &str, email: Option<&str>) -> String {
        let mut claims = self.claims(subject, &["customer"]);
        claims["name"] = name.into();
        claims["email"] = email.into();
        self.key.sign(&claims)
    }

    /// A good token of a customer.
    pub fn customer(&self, subject: &str) -> String {
        self.token(subject, &["customer"])
    }
}
