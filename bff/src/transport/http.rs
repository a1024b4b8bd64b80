//! GraphQL over HTTP.
//!
//! POST with `application/json` only, so that a browser asks before it lets a foreign page send anything; GET for queries
//! alone, for the same reason. One request at a time: no arrays.

use async_graphql::{Response as GraphqlResponse, ServerError, Value, parser::types::OperationType};
use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use contracts::trace::TraceContext;
use serde_json::json;
use tracing::Instrument;

use super::{
    MAX_REQUEST_BYTES, Transport,
    execute::{self, Asked, Caller, bearer, error_with, token_error},
    negotiate::{self, MediaType},
};
use crate::{
    auth::{TokenError, Viewer},
    graphql::Code,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Handles every method of `/graphql`.
pub(crate) async fn handle(State(transport): State<Transport>, request: Request) -> Response {
    let request_id = contracts::ids::fresh();
    let started = tokio::time::Instant::now();
    let span = tracing::info_span!("graphql", request.id = %request_id);
    let mut response = async {
        match answer(&transport, request, request_id).await {
            Ok(response) => response,
            Err(refused) => refused.into_response(),
        }
    }
    .instrument(span)
    .await;
    metrics::histogram!("belay_graphql_seconds").record(started.elapsed().as_secs_f64());
    metrics::counter!("belay_graphql_requests_total", "status" => response.status().as_str().to_owned())
        .increment(1);
    let id = HeaderValue::from_str(&request_id.to_string()).expect("a UUID is a header value");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A request that is not carried out.
pub(super) struct Refused {
    status: StatusCode,
    media: MediaType,
    error: Box<ServerError>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, media: MediaType, message: &str) -> Self {
        Self {
            status,
            media,
            error: Box::new(error_with(Code::BadUserInput, message)),
            header: None,
        }
    }

    /// A well-formed request whose document cannot be carried out.
    pub(super) fn document(media: MediaType, error: ServerError) -> Self {
        Self {
            status: not_executed(media),
            media,
            error: Box::new(error),
            header: None,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = written(self.status, self.media, &json!({ "errors": [self.error] }));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

async fn answer(
    transport: &Transport,
    request: Request,
    request_id: uuid::Uuid,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let Some(media) = negotiate::accepted(&parts.headers) else {
        let message = "Accept application/graphql-response+json or application/json.";
        return Err(Refused::new(StatusCode::NOT_ACCEPTABLE, MediaType::Json, message));
    };
    let asked = match parts.method {
        Method::POST => from_body(&parts.headers, body, media).await?,
        Method::GET => from_query(&parts.uri, media)?,
        _ => return Err(not_allowed(media, "GET, POST", "Use POST, or GET for queries.")),
    };
    let viewer = viewer(transport, &parts.headers)
        .await
        .map_err(|error| unauthenticated(media, &error))?;
    let prepared =
        execute::prepare(transport, &viewer, asked).map_err(|error| Refused::document(media, error))?;
    match (prepared.operation, &parts.method) {
        (OperationType::Query, _) => {}
        (OperationType::Mutation, &Method::GET) => {
            return Err(not_allowed(media, "POST", "Mutations are sent by POST."));
        }
        (OperationType::Mutation, _) => {}
        (OperationType::Subscription, _) => {
            let message = "Subscriptions are served at /graphql/ws (graphql-transport-ws) and at /graphql/stream (server-sent events).";
            return Err(Refused::new(StatusCode::BAD_REQUEST, media, message));
        }
    }
    let caller = Caller {
        viewer,
        trace: trace(&parts.headers),
        request_id,
    };
    let response = execute::run(transport, &caller, prepared).await;
    Ok(executed(media, &response))
}

pub(super) async fn from_body(headers: &HeaderMap, body: Body, media: MediaType) -> Result<Asked, Refused> {
    if !negotiate::is_json(headers) {
        let message = "Send the request as application/json in UTF-8.";
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, media, message));
    }
    let body = to_bytes(body, MAX_REQUEST_BYTES).await.map_err(|_| {
        let message = format!("The request is longer than {MAX_REQUEST_BYTES} bytes, or broke off.");
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, media, &message)
    })?;
    let malformed = |message: &str| Refused::new(StatusCode::BAD_REQUEST, media, message);
    let value: serde_json::Value = serde_json::from_slice(&body)
        .map_err(|error| malformed(&format!("The request is not JSON: {error}")))?;
    if value.is_array() {
        return Err(malformed("One request at a time: an array is not taken."));
    }
    serde_json::from_value(value).map_err(|error| {
        malformed(&format!(
            "The request must be an object with `query`, `variables` and `operationName`: {error}"
        ))
    })
}

pub(super) fn from_query(uri: &Uri, media: MediaType) -> Result<Asked, Refused> {
    let malformed = |message: &str| Refused::new(StatusCode::BAD_REQUEST, media, message);
    let object = |name: &str, text: &str| {
        serde_json::from_str(text).map_err(|_| malformed(&format!("`{name}` must be a JSON object.")))
    };
    let (mut query, mut operation_name, mut variables, mut extensions) = (None, None, None, None);
    for (name, value) in form_pairs(uri.query().unwrap_or_default()) {
        match name.as_str() {
            "query" => query = Some(value),
            "operationName" => operation_name = Some(value),
            "variables" => variables = object("variables", &value)?,
            "extensions" => extensions = object("extensions", &value)?,
            _ => {}
        }
    }
    let query = query.ok_or_else(|| {
        malformed("Give `query`, or send the request by POST. A page to try things out is at /playground.")
    })?;
    Ok(Asked {
        query,
        operation_name,
        variables,
        extensions,
    })
}

/// The pairs of a query string, by the rules of `application/x-www-form-urlencoded`.
fn form_pairs(query: &str) -> Vec<(String, String)> {
    let base = reqwest::Url::parse(&format!("http://localhost/?{query}"));
    base.map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default()
}

pub(super) async fn viewer(transport: &Transport, headers: &HeaderMap) -> Result<Viewer, TokenError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(Viewer::Anonymous);
    };
    let value = value.to_str().map_err(|_| TokenError::NotBearer)?;
    transport
        .authenticator
        .verify(bearer(value)?)
        .await
        .map(Viewer::Known)
}

pub(super) fn trace(headers: &HeaderMap) -> TraceContext {
    let sent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok()?.parse::<TraceContext>().ok());
    sent.unwrap_or_else(TraceContext::root)
}

pub(super) fn unauthenticated(media: MediaType, error: &TokenError) -> Refused {
    let error_body = Box::new(token_error(error));
    if *error == TokenError::IssuerAway {
        let header = Some((header::RETRY_AFTER, HeaderValue::from_static("2")));
        return Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            media,
            error: error_body,
            header,
        };
    }
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    let header = Some((header::WWW_AUTHENTICATE, challenge));
    Refused {
        status: StatusCode::UNAUTHORIZED,
        media,
        error: error_body,
        header,
    }
}

pub(super) fn not_allowed(media: MediaType, allowed: &'static str, message: &str) -> Refused {
    let header = Some((header::ALLOW, HeaderValue::from_static(allowed)));
    Refused {
        header,
        ..Refused::new(StatusCode::METHOD_NOT_ALLOWED, media, message)
    }
}

/// The status of a well-formed request whose document cannot be carried out.
const fn not_executed(media: MediaType) -> StatusCode {
    match media {
        MediaType::Response => StatusCode::BAD_REQUEST,
        MediaType::Json => StatusCode::OK,
    }
}

/// An answer of the schema. Without any data and without a field to blame, it was never carried out, and says so by
/// having no `data`.
fn executed(media: MediaType, response: &GraphqlResponse) -> Response {
    let never_begun = response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty());
    if never_begun {
        return written(not_executed(media), media, &json!({ "errors": response.errors }));
    }
    written(StatusCode::OK, media, response)
}

fn written(status: StatusCode, media: MediaType, body: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (
            status,
            [
                (header::CONTENT_TYPE, media.content_type()),
                (header::CACHE_CONTROL, "no-store"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ],
            bytes,
        )
            .into_response(),
        Err(error) => {
            tracing::error!("an answer cannot be written as JSON: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_is_read_as_a_form() {
        assert_eq!(
            form_pairs("query=%7B+a%20%7D&variables=%7B%7D"),
            [
                ("query".to_owned(), "{ a }".to_owned()),
                ("variables".to_owned(), "{}".to_owned())
            ]
        );
    }
}
