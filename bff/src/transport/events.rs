//! Server-sent events: graphql-sse in its distinct connections mode, one operation a request.
//!
//! <https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>. For clients behind proxies that cut WebSockets, and
//! for `curl -N`. POST with `application/json` as for `/graphql`, or GET for queries and subscriptions. Every result is an
//! event `next`, the end an event `complete`; a request that cannot be carried out is answered as at `/graphql`.
//! A stream ends when the token expires or the service drains; a client that comes back gets the current state first.

use std::{convert::Infallible, time::Duration};

use async_graphql::parser::types::OperationType;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{StreamExt, stream};

use super::{
    Transport,
    execute::{self, Caller},
    http::{self, Refused},
    negotiate::MediaType,
};

/// A comment is sent after this much silence, so that no proxy takes the stream for dead. Load balancers commonly cut after
/// 30 s without a byte.
const KEEP_ALIVE: Duration = Duration::from_secs(12);

/// Handles every method of `/graphql/stream`.
pub(crate) async fn handle(State(transport): State<Transport>, request: Request) -> Response {
    match answer(&transport, request).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn answer(transport: &Transport, request: Request) -> Result<Response, Refused> {
    // Before the request is read, so that a drain that begins in between waits for it.
    let counted = transport.sockets.token();
    let (parts, body) = request.into_parts();
    let media = MediaType::Json;
    if !accepts_events(&parts.headers) {
        let message = "Accept text/event-stream, or ask at /graphql.";
        return Err(Refused::new(StatusCode::NOT_ACCEPTABLE, media, message));
    }
    let asked = match parts.method {
        Method::POST => http::from_body(&parts.headers, body, media).await?,
        Method::GET => http::from_query(&parts.uri, media)?,
        _ => {
            return Err(http::not_allowed(
                media,
                "GET, POST",
                "Use POST, or GET for queries and subscriptions.",
            ));
        }
    };
    let viewer = http::viewer(transport, &parts.headers)
        .await
        .map_err(|error| http::unauthenticated(media, &error))?;
    let expired = tokio::time::sleep(viewer.lives());
    let prepared =
        execute::prepare(transport, &viewer, asked).map_err(|error| Refused::document(media, error))?;
    match (prepared.operation, &parts.method) {
        (OperationType::Mutation, &Method::GET) => {
            return Err(http::not_allowed(media, "POST", "Mutations are sent by POST."));
        }
        (OperationType::Query | OperationType::Mutation | OperationType::Subscription, _) => {}
    }
    let caller = Caller {
        viewer,
        trace: http::trace(&parts.headers),
        request_id: contracts::ids::fresh(),
    };
    let shutdown = transport.shutdown.clone().cancelled_owned();
    let over = async move {
        // Cancel-safe: both only wait.
        tokio::select! {
            () = shutdown => {}
            () = expired => {}
        }
    };
    let results = execute::responses(transport, caller, prepared).map(|response| {
        Event::default()
            .event("next")
            .json_data(response)
            .unwrap_or_else(|error| {
                tracing::error!("a result cannot be written as JSON: {error}");
                Event::default().comment("a result could not be written")
            })
    });
    let complete = stream::once(async move {
        drop(counted);
        // Some clients drop an event without data.
        Event::default().event("complete").data("")
    });
    let events = results.take_until(over).chain(complete).map(Ok::<_, Infallible>);
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, sse).into_response())
}

/// Whether the client takes `text/event-stream`. One that says nothing asks for it by its choice of the address.
fn accepts_events(headers: &HeaderMap) -> bool {
    let mut stated = false;
    for value in headers.get_all(header::ACCEPT) {
        let Ok(value) = value.to_str() else { continue };
        for range in value.split(',').map(str::trim) {
            stated = true;
            let name = range.split(';').next().unwrap_or_default().trim();
            if ["text/event-stream", "text/*", "*/*"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
            {
                return true;
            }
        }
    }
    !stated
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn events_are_for_those_who_take_them() {
        let accept = |value: &'static str| {
            accepts_events(&HeaderMap::from_iter([(
                header::ACCEPT,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(accepts_events(&HeaderMap::new()));
        assert!(accept("application/json;q=0.5, text/event-stream"));
        assert!(accept("*/*"));
        assert!(!accept("application/json"));
    }
}
