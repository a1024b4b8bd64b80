//! The one way into a service's routes.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use contracts::calls;
use serde::Deserialize;

use super::{Acting, Callers, Refusal, acting::HEADER, token::Admitted};

/// Bytes of a request that changes something. The largest of ours, a request about `MAX_IDS` things, has a tenth.
const LARGEST_BODY: usize = 256 * 1024;

/// Lets known callers in, and nobody else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    callers: Callers,
}

impl Guard {
    /// For a service whose callers are these.
    #[must_use]
    pub fn new(callers: Callers) -> Self {
        Self { callers }
    }

    /// `routes`, and what they do not have, behind the guard: without a caller's token not even that is told.
    pub fn before(&self, routes: Router) -> Router {
        routes.layer(axum::middleware::from_fn_with_state(self.clone(), admit))
    }

    fn caller(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let value = headers.get(header::AUTHORIZATION).ok_or(Refusal::Nobody)?;
        let value = value.to_str().map_err(|_| Refusal::Malformed)?;
        match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.callers.check(token.trim())
            }
            Some(_) | None => Err(Refusal::Nobody),
        }
    }
}

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let service = guard.callers.service();
    let caller = match guard.caller(request.headers()) {
        Ok(caller) => caller,
        Err(refusal) => {
            metrics::counter!("belay_http_refused_total", "service" => service, "status" => "401")
                .increment(1);
            tracing::warn!(service, "a request was refused: {refusal}");
            return problem(
                StatusCode::UNAUTHORIZED,
                "Who asks is not known",
                &refusal.to_string(),
            );
        }
    };
    match admitted(service, caller, request).await {
        Ok(request) => next.run(request).await,
        Err((status, detail)) => {
            metrics::counter!("belay_http_refused_total", "service" => service, "status" => status.as_str().to_owned())
                .increment(1);
            tracing::warn!(service, %status, "a request was refused: {detail}");
            let title = status.canonical_reason().unwrap_or("Refused");
            problem(status, title, &detail)
        }
    }
}

/// The request as it goes on, when `caller` may ask so.
async fn admitted(
    service: &'static str,
    caller: String,
    mut request: Request,
) -> Result<Request, (StatusCode, String)> {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let method = request.method().clone();
    if !calls::allowed(&caller, service, method.as_str(), route) {
        let route = route.unwrap_or("what is not there");
        let detail = format!("{caller} may not {method} {route} here: contracts::calls says who may.");
        return Err((StatusCode::FORBIDDEN, detail));
    }
    let acting = match request.headers().get(HEADER) {
        None => None,
        Some(value) => match Acting::of_header(value) {
            Some(acting) => Some(acting),
            None => {
                let detail = format!("{HEADER} is not written as host::identity::acting says.");
                return Err((StatusCode::BAD_REQUEST, detail));
            }
        },
    };
    if method != Method::GET && method != Method::HEAD {
        let role = acting.as_ref().map_or("nobody", |acting| acting.role.as_str());
        tracing::info!(
            service,
            caller,
            role,
            route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
            "a change is asked for"
        );
        request = vouched_for(request, acting.as_ref()).await?;
    }
    request.extensions_mut().insert(Admitted { caller, acting });
    Ok(request)
}

/// Who a change names as its author.
#[derive(Debug, Default, Deserialize)]
struct Named {
    actor: Option<String>,
    customer_id: Option<String>,
}

/// A change is recorded in somebody's name: it must be the name of whom the caller asks for, so that no body can put in
/// another's.
async fn vouched_for(request: Request, acting: Option<&Acting>) -> Result<Request, (StatusCode, String)> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.map_err(|_| {
        let detail = format!("The body has more than {LARGEST_BODY} bytes, or did not come.");
        (StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    // What is no JSON, or has no such members, is the route's to judge.
    let named: Named = serde_json::from_slice(&body).unwrap_or_default();
    let stranger = [named.actor, named.customer_id]
        .into_iter()
        .flatten()
        .any(|name| acting.is_none_or(|acting| acting.subject != name));
    if stranger {
        let detail = format!("The body names another person than {HEADER} vouches for.");
        return Err((StatusCode::FORBIDDEN, detail));
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// A refusal as RFC 9457 has it.
fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response();
    if status == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(
            header::WWW_AUTHENTICATE,
            header::HeaderValue::from_static("Bearer"),
        );
    }
    response
}

#[cfg(test)]
mod tests;
