//! From a request to its answer, the same for both ways of coming in.

use std::{sync::Arc, time::Duration};

use async_graphql::{
    ErrorExtensionValues, Request, Response, ServerError, Value,
    parser::types::{DocumentOperations, OperationType},
};
use contracts::trace::TraceContext;
use futures::{StreamExt, stream, stream::BoxStream};
use host::identity::acting;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use tracing::Instrument;
use uuid::Uuid;

use super::{Transport, limits, order::Order, typename};
use crate::{
    auth::{TokenError, Viewer},
    graphql::{Charge, Code, MAX_COMPLEXITY, Reader, RequestTrace},
};

/// The longest that a query or mutation may take. Every call to a service ends within 2 s; this bounds their sum.
const LIMIT: Duration = Duration::from_secs(10);

/// Characters of a message that quotes the request.
const LONGEST_MESSAGE: usize = 600;

/// The library's words for a query over the complexity limit, which has no other mark.
const TOO_COMPLEX: &str = "Query is too complex.";

/// A request as it is sent, the same in a body, in a query string and in a WebSocket message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: Option<Map<String, Json>>,
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "read so that anything but an object is refused, as the specification asks"
    )]
    pub extensions: Option<Map<String, Json>>,
}

/// A request that can be carried out: parsed, and within the limits.
pub(crate) struct Prepared {
    pub request: Request,
    pub operation: OperationType,
    pub order: Order,
}

/// Who sends a request, and how it is known to us.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub viewer: Viewer,
    pub trace: TraceContext,
    /// For the log and for support.
    pub request_id: Uuid,
}

/// Parses a request, checks its limits and whether `viewer` may ask for the schema, finds the operation that is meant, and
/// checks its variables.
///
/// # Errors
/// What is wrong with the request as a whole: nothing of it may be carried out.
pub(crate) fn prepare(transport: &Transport, viewer: &Viewer, asked: Asked) -> Result<Prepared, ServerError> {
    let variables = asked.variables.unwrap_or_default();
    if variables
        .iter()
        .any(|(name, value)| name.contains('\0') || holds_nul(value))
        || asked.query.contains('\0')
        || asked.query.contains("\\u0000")
    {
        return Err(error_with(
            Code::BadUserInput,
            "The request holds the character U+0000, which no text here may hold: remove it.",
        ));
    }
    let mut request = Request::new(asked.query);
    if let Some(name) = asked.operation_name.filter(|name| !name.is_empty()) {
        request = request.operation_name(name);
    }
    let name = request.operation_name.clone();
    let document = request
        .parsed_query()
        .map_err(|error| coded(shortened(error), Code::BadUserInput))?;
    let checked = limits::check(document, transport.limits).map_err(|error| {
        let code = match error {
            limits::TooMuch::Circle(_) => Code::BadUserInput,
            limits::TooMuch::Depth(_)
            | limits::TooMuch::Fields(_)
            | limits::TooMuch::RootFields(_)
            | limits::TooMuch::Aliases(_)
            | limits::TooMuch::Directives(_)
            | limits::TooMuch::Fragments
            | limits::TooMuch::Operations => Code::CostExceeded,
        };
        error_with(code, &error.to_string())
    })?;
    typename::check(document).map_err(|wrong| {
        coded(
            ServerError::new(wrong.to_string(), Some(wrong.at)),
            Code::BadUserInput,
        )
    })?;
    if checked.introspects && !transport.introspection.allows(viewer) {
        return Err(error_with(
            Code::Forbidden,
            "The schema is shown to operators only here. It is in the repository: bff/schema.graphql.",
        ));
    }
    let meant = match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(operation),
        (DocumentOperations::Multiple(all), Some(name)) => all.get(name.as_str()),
        (DocumentOperations::Multiple(all), None) if all.len() == 1 => all.values().next(),
        (DocumentOperations::Single(_), Some(_)) | (DocumentOperations::Multiple(_), None) => None,
    };
    match meant.map(|operation| &operation.node) {
        Some(meant) => {
            let coerced = transport.inputs.check(&meant.variable_definitions, &variables);
            coerced.map_err(|mismatch| error_with(Code::BadUserInput, &mismatch.to_string()))?;
            let order = Order::of(&meant.selection_set.node, &document.fragments);
            let operation = meant.ty;
            let variables = async_graphql::Variables::from_json(Json::Object(variables));
            Ok(Prepared {
                request: request.variables(variables),
                operation,
                order,
            })
        }
        None => Err(error_with(
            Code::BadUserInput,
            "`operationName` must name one of the document's operations, and may be left out only if it has just one.",
        )),
    }
}

/// PostgreSQL's text cannot hold this one character, so it is refused before anything is done.
fn holds_nul(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains('\0'),
        Json::Array(values) => values.iter().any(holds_nul),
        Json::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Carries out a query or a mutation within the time limit.
pub(crate) async fn run(transport: &Transport, caller: &Caller, prepared: Prepared) -> Response {
    let reader = Arc::new(Reader::for_request(&transport.app, &caller.viewer));
    let operation_name = prepared.request.operation_name.clone();
    let span = spans::graphql(
        crate::SERVICE,
        operation_word(prepared.operation),
        operation_name.as_deref(),
    );
    // What the operation causes continues at its span; while tracing is off, where the caller's own trace is.
    let trace = spans::context_of(&span).unwrap_or(caller.trace);
    let charge = charge(transport, caller);
    let request = with_data(prepared.request, caller, trace, reader, charge.as_ref());
    let executed = acting::scope(caller.viewer.acting(), transport.edge.execute(request));
    let executed = executed.instrument(span.clone());
    let response = match tokio::time::timeout(LIMIT, executed).await {
        Ok(response) => response,
        Err(_) => Response::from_errors(vec![error_with(
            Code::Timeout,
            "This took too long and was given up. What a mutation changes may have happened: send it again with the same idempotency key.",
        )]),
    };
    if response.is_err() {
        spans::failed(&span, "graphql");
    }
    finished(response, caller, &prepared.order, charge.as_ref())
}

/// The account that an operation is charged to; nobody's when there is no viewer.
fn charge(transport: &Transport, caller: &Caller) -> Option<Arc<Charge>> {
    let identity = caller.viewer.identity()?;
    Some(Arc::new(Charge::new(&transport.throttle, &identity.subject.0)))
}

/// What an operation answers: one response of a query or a mutation, of a subscription as many as come.
pub(crate) fn responses(
    transport: &Transport,
    caller: Caller,
    prepared: Prepared,
) -> BoxStream<'static, Response> {
    match prepared.operation {
        OperationType::Subscription => {
            let reader = Arc::new(Reader::for_subscription(&transport.app, &caller.viewer));
            let charge = charge(transport, &caller);
            let request = with_data(prepared.request, &caller, caller.trace, reader, charge.as_ref());
            let responses = acting::stream(caller.viewer.acting(), transport.edge.execute_stream(request));
            responses
                .map(move |response| finished(response, &caller, &prepared.order, None))
                .boxed()
        }
        OperationType::Query | OperationType::Mutation => {
            let transport = transport.clone();
            stream::once(async move { run(&transport, &caller, prepared).await }).boxed()
        }
    }
}

/// The operation's type as OpenTelemetry names it.
const fn operation_word(operation: OperationType) -> &'static str {
    match operation {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

/// Adds to a request what the resolvers need.
fn with_data(
    request: Request,
    caller: &Caller,
    trace: TraceContext,
    reader: Arc<Reader>,
    charge: Option<&Arc<Charge>>,
) -> Request {
    let request = match charge {
        Some(charge) => request.data(charge.clone()),
        None => request,
    };
    request
        .data(caller.viewer.clone())
        .data(RequestTrace(trace))
        .data(reader)
}

/// Puts the fields in order and gives every error its code: what has none comes from the library, which only speaks of
/// the request. Our own faults get the request's id.
fn finished(
    mut response: Response,
    caller: &Caller,
    order: &Order,
    charge: Option<&Arc<Charge>>,
) -> Response {
    order.apply(&mut response.data);
    if let Some(standing) = charge.and_then(|charge| charge.standing()) {
        response
            .extensions
            .insert("cost".to_owned(), standing.extension());
    }
    for error in &mut response.errors {
        let too_complex = error.message == TOO_COMPLEX;
        if too_complex {
            error.message = format!(
                "The query costs more than {MAX_COMPLEXITY}: every field costs 1, those of a page as often as `first` says. Ask for fewer fields, or for smaller pages."
            );
        }
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        if extensions.get("code").is_none() {
            let code = if too_complex {
                Code::CostExceeded
            } else {
                Code::BadUserInput
            };
            extensions.set("code", code.as_str());
        }
        if extensions.get("code") == Some(&Value::from(Code::Internal.as_str())) {
            extensions.set("requestId", caller.request_id.to_string());
        }
    }
    response
}

/// An error of a request as a whole.
pub(crate) fn error_with(code: Code, message: &str) -> ServerError {
    coded(ServerError::new(message, None), code)
}

fn coded(mut error: ServerError, code: Code) -> ServerError {
    error
        .extensions
        .get_or_insert_with(ErrorExtensionValues::default)
        .set("code", code.as_str());
    error
}

/// The parser quotes the line at fault, which may be the whole request.
fn shortened(mut error: ServerError) -> ServerError {
    if let Some((end, _)) = error.message.char_indices().nth(LONGEST_MESSAGE) {
        error.message.truncate(end);
        error.message.push('…');
    }
    error
}

/// What a client is told about its token.
pub(crate) fn token_error(error: &TokenError) -> ServerError {
    let code = match error {
        TokenError::IssuerAway => Code::Unavailable,
        TokenError::NotBearer
        | TokenError::Malformed
        | TokenError::Algorithm
        | TokenError::Key
        | TokenError::Expired
        | TokenError::NotYet
        | TokenError::Issuer
        | TokenError::Audience
        | TokenError::Claim(_) => Code::Unauthenticated,
    };
    error_with(code, &error.to_string())
}

/// The token of an `Authorization` value.
pub(crate) fn bearer(value: &str) -> Result<&str, TokenError> {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(token.trim())
        }
        Some(_) | None => Err(TokenError::NotBearer),
    }
}
