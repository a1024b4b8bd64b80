//! Requests, answers and Confluent's error codes.

use apache_avro::Schema;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    compatibility::{Level, violations},
    store::{Store, Version},
};

type Answer = Result<Json<Value>, Refusal>;

pub(super) fn router(store: Store) -> Router {
    Router::new()
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(look_up))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/schemas/ids/{id}", get(schema))
        .route("/config", get(default_level).put(put_default_level))
        .route("/config/{subject}", get(subject_level).put(put_subject_level))
        .route(
            "/compatibility/subjects/{subject}/versions/{version}",
            post(check),
        )
        .fallback(async || Refusal::NoSuchPath)
        .with_state(store)
}

async fn subjects(State(store): State<Store>) -> Answer {
    Ok(Json(json!(store.subjects().await?)))
}

async fn versions(State(store): State<Store>, Path(subject): Path<String>) -> Answer {
    let versions = known_versions(&store, subject).await?;
    let numbers: Vec<i32> = versions.iter().map(|version| version.version).collect();
    Ok(Json(json!(numbers)))
}

async fn version(State(store): State<Store>, Path((subject, version)): Path<(String, String)>) -> Answer {
    let wanted = Wanted::parse(&version)?;
    let versions = known_versions(&store, subject).await?;
    Ok(Json(described(&wanted.pick(versions)?)))
}

async fn register(State(store): State<Store>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let candidate = Candidate::parse(&body)?;
    // The usual case, each service at each start: known already, nothing to lock.
    if let Some(known) = store.find(&subject, &candidate.fingerprint).await? {
        return Ok(Json(json!({ "id": known.id })));
    }
    let mut registration = store.begin_registration().await?;
    if let Some(known) = registration.find(&subject, &candidate.fingerprint).await? {
        return Ok(Json(json!({ "id": known.id })));
    }
    let level = registration.level(&subject).await?;
    let older = parsed(registration.versions(&subject).await?)?;
    let violations = violations(level, &candidate.schema, &older);
    if !violations.is_empty() {
        return Err(Refusal::Incompatible {
            subject,
            level,
            violations,
        });
    }
    let id = registration
        .record(&subject, &candidate.fingerprint, &candidate.text)
        .await?;
    tracing::info!(subject, schema.id = id, "registered a schema");
    Ok(Json(json!({ "id": id })))
}

async fn look_up(State(store): State<Store>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let candidate = Candidate::parse(&body)?;
    if let Some(known) = store.find(&subject, &candidate.fingerprint).await? {
        return Ok(Json(described(&known)));
    }
    known_versions(&store, subject).await?;
    Err(Refusal::SchemaUnknown)
}

async fn schema(State(store): State<Store>, Path(id): Path<String>) -> Answer {
    let text = match id.parse() {
        Ok(id) => store.text(id).await?,
        Err(_) => None,
    };
    let text = text.ok_or(Refusal::SchemaUnknown)?;
    Ok(Json(json!({ "schema": text })))
}

async fn default_level(State(store): State<Store>) -> Answer {
    let level = store.own_level(None).await?.unwrap_or_default();
    Ok(Json(json!({ "compatibilityLevel": level.name() })))
}

async fn put_default_level(State(store): State<Store>, body: Bytes) -> Answer {
    let level = parse_level(&body)?;
    store.put_level(None, level).await?;
    Ok(Json(json!({ "compatibility": level.name() })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LevelQuery {
    #[serde(default)]
    default_to_global: bool,
}

async fn subject_level(
    State(store): State<Store>,
    Path(subject): Path<String>,
    Query(query): Query<LevelQuery>,
) -> Answer {
    let level = if query.default_to_global {
        store.level(&subject).await?
    } else {
        let own = store.own_level(Some(&subject)).await?;
        own.ok_or(Refusal::NoLevelOfItsOwn { subject })?
    };
    Ok(Json(json!({ "compatibilityLevel": level.name() })))
}

async fn put_subject_level(State(store): State<Store>, Path(subject): Path<String>, body: Bytes) -> Answer {
    let level = parse_level(&body)?;
    store.put_level(Some(&subject), level).await?;
    Ok(Json(json!({ "compatibility": level.name() })))
}

#[derive(Deserialize)]
struct CheckQuery {
    #[serde(default)]
    verbose: bool,
}

/// The check of a registration against one version, without registering.
async fn check(
    State(store): State<Store>,
    Path((subject, version)): Path<(String, String)>,
    Query(query): Query<CheckQuery>,
    body: Bytes,
) -> Answer {
    let candidate = Candidate::parse(&body)?;
    let wanted = Wanted::parse(&version)?;
    let level = store.level(&subject).await?;
    let version = wanted.pick(known_versions(&store, subject).await?)?;
    let violations = violations(level, &candidate.schema, &parsed(vec![version])?);
    let mut answer = json!({ "is_compatible": violations.is_empty() });
    if query.verbose {
        answer["messages"] = json!(violations);
    }
    Ok(Json(answer))
}

/// A version as a request names it.
enum Wanted {
    Latest,
    Number(i32),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.parse() {
            _ if text == "latest" => Ok(Self::Latest),
            Ok(-1) => Ok(Self::Latest),
            Ok(number) if number > 0 => Ok(Self::Number(number)),
            Ok(_) | Err(_) => Err(Refusal::InvalidVersion {
                version: text.to_owned(),
            }),
        }
    }

    /// Takes the version out of all versions of the subject.
    fn pick(self, versions: Vec<Version>) -> Result<Version, Refusal> {
        let found = match self {
            Self::Latest => versions.into_iter().last(),
            Self::Number(number) => versions.into_iter().find(|version| version.version == number),
        };
        found.ok_or(Refusal::VersionUnknown)
    }
}

/// A schema that a client submits.
struct Candidate {
    schema: Schema,
    text: String,
    fingerprint: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submitted {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Value>,
}

impl Candidate {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let invalid = |reason: String| Refusal::InvalidSchema { reason };
        let submitted: Submitted = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the body must be {{\"schema\": \"…\"}}: {error}")))?;
        if submitted
            .schema_type
            .as_deref()
            .is_some_and(|kind| kind != "AVRO")
        {
            return Err(invalid("only schemas of type AVRO are kept here".to_owned()));
        }
        if !submitted.references.is_empty() {
            return Err(invalid(
                "references are not kept here: write the types out".to_owned(),
            ));
        }
        let schema = Schema::parse_str(&submitted.schema).map_err(|error| invalid(error.to_string()))?;
        let json: Value =
            serde_json::from_str(&submitted.schema).map_err(|error| invalid(error.to_string()))?;
        Ok(Self {
            schema,
            text: submitted.schema,
            fingerprint: fingerprint(&json),
        })
    }
}

/// SHA-256 over the schema without the differences that mean nothing: white space and the order
/// of keys. Avro's own canonical form leaves defaults, aliases and logical types out, so schemas
/// that read differently would share an id.
fn fingerprint(schema: &Value) -> Vec<u8> {
    let mut normal = String::new();
    write_sorted(schema, &mut normal);
    Sha256::digest(normal.as_bytes()).to_vec()
}

fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_sorted(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut keys: Vec<&String> = entries.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for key in keys {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_sorted(&entries[key], out);
                out.push(',');
            }
            out.push('}');
        }
    }
}

async fn known_versions(store: &Store, subject: String) -> Result<Vec<Version>, Refusal> {
    let versions = store.versions(&subject).await?;
    if versions.is_empty() {
        return Err(Refusal::SubjectUnknown { subject });
    }
    Ok(versions)
}

fn parsed(versions: Vec<Version>) -> Result<Vec<(i32, Schema)>, Refusal> {
    let parse = |version: Version| match Schema::parse_str(&version.text) {
        Ok(schema) => Ok((version.version, schema)),
        Err(error) => Err(Refusal::Store(sqlx::Error::Decode(error.into()))),
    };
    versions.into_iter().map(parse).collect()
}

fn described(version: &Version) -> Value {
    json!({
        "subject": version.subject,
        "version": version.version,
        "id": version.id,
        "schemaType": "AVRO",
        "schema": version.text,
    })
}

fn parse_level(body: &[u8]) -> Result<Level, Refusal> {
    #[derive(Deserialize)]
    struct Put {
        compatibility: String,
    }
    serde_json::from_slice(body)
        .ok()
        .and_then(|put: Put| Level::parse(&put.compatibility))
        .ok_or(Refusal::InvalidLevel)
}

/// Every answer that is not a success.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("subject '{subject}' not found")]
    SubjectUnknown { subject: String },
    #[error("version not found")]
    VersionUnknown,
    #[error("schema not found")]
    SchemaUnknown,
    #[error("subject '{subject}' has no compatibility level of its own")]
    NoLevelOfItsOwn { subject: String },
    #[error("invalid schema: {reason}")]
    InvalidSchema { reason: String },
    #[error("'{version}' is not a version: give a number from 1, or latest")]
    InvalidVersion { version: String },
    #[error(
        "the body must be {{\"compatibility\": LEVEL}} with a level of NONE, BACKWARD, FORWARD, FULL, \
         BACKWARD_TRANSITIVE, FORWARD_TRANSITIVE, FULL_TRANSITIVE"
    )]
    InvalidLevel,
    #[error(
        "the schema is not compatible with subject '{subject}' at level {}: {}",
        level.name(),
        violations.join("; ")
    )]
    Incompatible {
        subject: String,
        level: Level,
        violations: Vec<String>,
    },
    #[error("the registry's database does not answer; try again")]
    Store(#[from] sqlx::Error),
}

impl Refusal {
    /// Confluent's code; its first three digits are the HTTP status.
    fn code(&self) -> u16 {
        match self {
            Self::NoSuchPath => 404,
            Self::SubjectUnknown { .. } => 40401,
            Self::VersionUnknown => 40402,
            Self::SchemaUnknown => 40403,
            Self::NoLevelOfItsOwn { .. } => 40408,
            Self::Incompatible { .. } => 409,
            Self::InvalidSchema { .. } => 42201,
            Self::InvalidVersion { .. } => 42202,
            Self::InvalidLevel => 42203,
            Self::Store(_) => 50001,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath
            | Self::SubjectUnknown { .. }
            | Self::VersionUnknown
            | Self::SchemaUnknown
            | Self::NoLevelOfItsOwn { .. } => StatusCode::NOT_FOUND,
            Self::Incompatible { .. } => StatusCode::CONFLICT,
            Self::InvalidSchema { .. } | Self::InvalidVersion { .. } | Self::InvalidLevel => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Self::Store(error) = &self {
            tracing::warn!(%error, "the schema registry could not use its database");
        }
        let body = json!({ "error_code": self.code(), "message": self.to_string() });
        (self.status(), Json(body)).into_response()
    }
}
