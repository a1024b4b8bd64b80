//! Where tokens come from: an OpenID issuer by client credentials, or Google's metadata server.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use crate::kafka::{secret::Secret, token::Token};

/// How long an issuer may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// What a token is taken to live for when its issuer does not say: as long as the shortest-lived usual ones.
const UNSAID_LIFETIME_SECONDS: u64 = 300;
/// Google's metadata server as every machine of Google's knows it:
/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>.
pub const GOOGLE_METADATA: &str = "http://metadata.google.internal";

/// Who hands out tokens.
#[derive(Debug, Clone)]
pub struct TokenSource {
    client: reqwest::Client,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    ClientCredentials(ClientCredentials),
    Google {
        metadata: Url,
        principal: Option<String>,
    },
}

/// The client credentials grant (RFC 6749, section 4.4).
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// The issuer's token endpoint.
    pub endpoint: Url,
    /// The client's id.
    pub id: String,
    /// The client's secret.
    pub secret: Secret,
    /// The scope that is asked for, when one is.
    pub scope: Option<String>,
}

/// Why there is no new token.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// The issuer says no.
    Refused(String),
    /// It does not answer, or speaks of trouble of its own.
    Away(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(formatter, "the issuer refuses it: {reason}"),
            Self::Away(reason) => write!(formatter, "the issuer does not answer: {reason}"),
        }
    }
}

impl TokenSource {
    /// An issuer's token endpoint. `authority` is a PEM text to believe besides the system's authorities.
    ///
    /// # Errors
    /// When `authority` holds no certificate.
    pub fn client_credentials(
        credentials: ClientCredentials,
        authority: Option<&[u8]>,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder().timeout(LIMIT);
        if let Some(pem) = authority {
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        Ok(Self {
            client: builder.build()?,
            kind: Kind::ClientCredentials(credentials),
        })
    }

    /// Google's metadata server at `metadata` (see [`GOOGLE_METADATA`]). The principal is the service account that it names,
    /// unless one is given.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn google(metadata: Url, principal: Option<String>) -> Result<Self, reqwest::Error> {
        // The metadata server is beside the process and never behind a proxy.
        let client = reqwest::Client::builder().timeout(LIMIT).no_proxy().build()?;
        Ok(Self {
            client,
            kind: Kind::Google { metadata, principal },
        })
    }

    pub(crate) async fn fetch(&self) -> Result<Token, FetchError> {
        // Before the request: a token's life begins while the answer is under way.
        let asked = Instant::now();
        match &self.kind {
            Kind::ClientCredentials(credentials) => {
                let grant: Grant = answer(credentials.request(&self.client)).await?;
                Ok(Token {
                    expires: asked + grant.lifetime(),
                    text: grant.access_token,
                    principal: credentials.id.clone(),
                })
            }
            Kind::Google { metadata, principal } => {
                let principal = match principal {
                    Some(given) => given.clone(),
                    None => text(self.metadata_request(metadata, "email")).await?,
                };
                let grant: Grant = answer(self.metadata_request(metadata, "token")).await?;
                let lifetime = grant.lifetime();
                Ok(Token {
                    expires: asked + lifetime,
                    text: google_token(
                        &grant.access_token,
                        &principal,
                        crate::kafka::unix_seconds(),
                        lifetime,
                    ),
                    principal,
                })
            }
        }
    }

    fn metadata_request(&self, metadata: &Url, what: &str) -> RequestBuilder {
        let mut url = metadata.clone();
        url.set_path(&format!(
            "/computeMetadata/v1/instance/service-accounts/default/{what}"
        ));
        self.client.get(url).header("Metadata-Flavor", "Google")
    }
}

impl ClientCredentials {
    fn request(&self, client: &reqwest::Client) -> RequestBuilder {
        let mut pairs = vec![("grant_type", "client_credentials")];
        pairs.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        // Id and secret are form-encoded before they are joined (RFC 6749, section 2.3.1).
        let (id, secret) = (encoded(&self.id), encoded(self.secret.reveal()));
        client
            .post(self.endpoint.clone())
            .basic_auth(id, Some(secret))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form(&pairs))
    }
}

/// What an issuer answers.
#[derive(Deserialize)]
struct Grant {
    #[serde(deserialize_with = "secret")]
    access_token: Secret,
    expires_in: Option<u64>,
}

impl Grant {
    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.expires_in.unwrap_or(UNSAID_LIFETIME_SECONDS))
    }
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::from)
}

/// The token as Google's managed Kafka reads it: not the access token itself, but three parts like a JWT's, of which the
/// last is the access token. The form is that of Google's own login handler:
/// <https://github.com/googleapis/managedkafka>.
fn google_token(access: &Secret, principal: &str, now_seconds: u64, lifetime: Duration) -> Secret {
    let header = serde_json::json!({ "typ": "JWT", "alg": "GOOG_OAUTH2_TOKEN" });
    let claims = serde_json::json!({
        "exp": now_seconds + lifetime.as_secs(),
        "iat": now_seconds,
        "iss": "Google",
        "scope": "kafka",
        "sub": principal,
    });
    let parts = [header.to_string(), claims.to_string(), access.reveal().to_owned()];
    Secret::from(parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join("."))
}

async fn answer<T: for<'de> Deserialize<'de>>(request: RequestBuilder) -> Result<T, FetchError> {
    let body = text(request).await?;
    // Not the parser's words: they may quote the answer, which holds a token.
    serde_json::from_str(&body)
        .map_err(|_| FetchError::Away("the answer is not the JSON of a token".to_owned()))
}

async fn text(request: RequestBuilder) -> Result<String, FetchError> {
    let away = |error: reqwest::Error| FetchError::Away(chain(&error.without_url()));
    let response = request.send().await.map_err(away)?;
    let status = response.status();
    let body = response.text().await.map_err(away)?;
    if status.is_success() {
        return Ok(body);
    }
    let reason = refusal(status, &body);
    if status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        )
    {
        Err(FetchError::Away(reason))
    } else {
        Err(FetchError::Refused(reason))
    }
}

/// The status and what RFC 6749 (section 5.2) says there may be; nothing else of the body goes into a log.
fn refusal(status: StatusCode, body: &str) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        error_description: Option<String>,
    }
    match serde_json::from_str::<Refusal>(body) {
        Ok(refusal) => {
            let words = refusal.error_description.unwrap_or_default();
            format!("{status}: {} {words}", refusal.error)
                .trim_end()
                .to_owned()
        }
        Err(_) => status.to_string(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("form:").expect("a constant that parses");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

fn encoded(text: &str) -> String {
    form(&[("", text)]).trim_start_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_as_forms_are() {
        assert_eq!(
            form(&[("scope", "a b"), ("x", "ü&=")]),
            "scope=a+b&x=%C3%BC%26%3D"
        );
        assert_eq!(encoded("=a:b"), "%3Da%3Ab");
        assert_eq!(encoded("plain-id_1.x"), "plain-id_1.x");
    }

    #[test]
    fn a_google_token_has_three_parts_and_the_access_token_is_the_last() {
        let token = google_token(
            &Secret::from("ya29.access".to_owned()),
            "orders@project.iam.gserviceaccount.com",
            1_000,
            Duration::from_secs(3_600),
        );
        let parts: Vec<String> = token
            .reveal()
            .split('.')
            .map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(
            json(&parts[0]),
            serde_json::json!({ "typ": "JWT", "alg": "GOOG_OAUTH2_TOKEN" })
        );
        assert_eq!(
            json(&parts[1]),
            serde_json::json!({
                "exp": 4_600, "iat": 1_000, "iss": "Google", "scope": "kafka",
                "sub": "orders@project.iam.gserviceaccount.com",
            })
        );
        assert_eq!(parts[2..], ["ya29.access"]);
    }

    #[test]
    fn what_an_issuer_refuses_is_told_without_the_rest_of_its_answer() {
        let status = StatusCode::UNAUTHORIZED;
        assert_eq!(
            refusal(
                status,
                r#"{"error":"invalid_client","error_description":"Unknown client","hint":"x"}"#
            ),
            "401 Unauthorized: invalid_client Unknown client"
        );
        assert_eq!(refusal(status, "<html>secret</html>"), "401 Unauthorized");
    }
}
