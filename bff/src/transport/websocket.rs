//! Subscriptions: graphql-transport-ws, with the close codes that the protocol gives.
//!
//! The token comes in `connection_init`; the socket is closed when it expires. Sockets are closed with 1001 when the
//! service drains, and clients come back: a subscription begins with the current state.

use std::{collections::HashMap, time::Duration};

use async_graphql::{Response as GraphqlResponse, ServerError, Value};
use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use contracts::trace::TraceContext;
use futures::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    MAX_REQUEST_BYTES, Transport,
    execute::{self, Asked, Caller, bearer},
};
use crate::{
    auth::{TokenError, Viewer},
    graphql::Code,
};

const PROTOCOL: &str = "graphql-transport-ws";
/// How long a client may take until `connection_init`.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// How long a message may take to a client that reads slowly.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may take to hear that its socket is closed.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);
/// Operations of one socket at a time.
const MAX_OPERATIONS: usize = 50;
/// Why a socket is closed: code and reason.
type Closing = (u16, String);

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Incoming {
    ConnectionInit { payload: Option<Json> },
    Ping {},
    Pong {},
    Subscribe { id: String, payload: Asked },
    Complete { id: String },
}

/// Opens a socket for pages of our own origin, of an allowed one, and for programs, which send no `Origin`.
pub(crate) async fn upgrade(
    State(transport): State<Transport>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !origin_is_allowed(&headers, &transport.allowed_origins) {
        let message = "This page may not open a WebSocket here. Allow its origin with --allowed-origin.\n";
        return (StatusCode::FORBIDDEN, message).into_response();
    }
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(MAX_REQUEST_BYTES)
        .max_frame_size(MAX_REQUEST_BYTES);
    let agreed = upgrade.selected_protocol().is_some();
    let sockets = transport.sockets.clone();
    // Counted before the handler returns, so that a drain that begins in between waits for it.
    let counted = sockets.token();
    upgrade.on_upgrade(move |socket| async move {
        let _counted = counted;
        let mut connection = Connection { socket, transport };
        let (code, reason) = if agreed {
            connection.serve().await
        } else {
            (4406, "Subprotocol not acceptable".to_owned())
        };
        connection.close(code, reason).await;
    })
}

fn origin_is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else { return false };
    let own = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .is_some_and(|host| {
            origin
                .split_once("://")
                .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        });
    own || allowed.iter().any(|one| one.eq_ignore_ascii_case(origin))
}

struct Connection {
    socket: WebSocket,
    transport: Transport,
}

/// What a running operation says.
enum Event {
    Next(String, Box<GraphqlResponse>),
    Complete(String),
}

type Operation = BoxStream<'static, Event>;

/// The operations of a socket. A stream that was stopped is dropped when it is polled next, which is at once.
#[derive(Default)]
struct Operations {
    running: SelectAll<Operation>,
    /// Dropping the sender stops the operation.
    stops: HashMap<String, tokio::sync::oneshot::Sender<()>>,
}

impl Connection {
    /// Serves until there is a reason to close.
    async fn serve(&mut self) -> Closing {
        let (viewer, expires) = match self.initialized().await {
            Ok(initialized) => initialized,
            Err(closing) => return closing,
        };
        let mut operations = Operations::default();
        let shutdown = self.transport.shutdown.clone();
        loop {
            // Cancel-safe: a socket keeps a message that was not received, and a stream an event that was not taken.
            let step = tokio::select! {
                () = shutdown.cancelled() => return going_away(),
                () = sleep_until(expires) => {
                    return (4403, "Forbidden: the token has expired".to_owned());
                }
                Some(event) = operations.running.next() => self.tell(event, &mut operations).await,
                message = self.socket.recv() => match read(message) {
                    Ok(Some(message)) => self.handle(message, &viewer, &mut operations).await,
                    Ok(None) => Ok(()),
                    Err(closing) => Err(closing),
                },
            };
            if let Err(closing) = step {
                return closing;
            }
        }
    }

    /// Waits for `connection_init` and its token. Without a token the viewer is anonymous.
    async fn initialized(&mut self) -> Result<(Viewer, Instant), Closing> {
        let deadline = Instant::now() + INIT_LIMIT;
        let shutdown = self.transport.shutdown.clone();
        let payload = loop {
            // Cancel-safe: as above.
            let message = tokio::select! {
                () = shutdown.cancelled() => return Err(going_away()),
                () = sleep_until(deadline) => return Err((4408, "Connection initialisation timeout".to_owned())),
                message = self.socket.recv() => read(message)?,
            };
            match message {
                Some(Incoming::ConnectionInit { payload }) => break payload,
                Some(Incoming::Ping {}) => self.send(&json!({ "type": "pong" })).await?,
                Some(Incoming::Subscribe { .. }) => return Err((4401, "Unauthorized".to_owned())),
                Some(Incoming::Pong {} | Incoming::Complete { .. }) | None => {}
            }
        };
        let viewer = match token(payload.as_ref()) {
            Ok(None) => Viewer::Anonymous,
            Ok(Some(token)) => match self.transport.authenticator.verify(token).await {
                Ok(identity) => Viewer::Known(identity),
                // Not the client's fault: it may come again.
                Err(error @ TokenError::IssuerAway) => return Err((1013, error.to_string())),
                Err(error) => return Err((4403, format!("Forbidden: {error}"))),
            },
            Err(error) => return Err((4403, format!("Forbidden: {error}"))),
        };
        self.send(&json!({ "type": "connection_ack" })).await?;
        let expires = Instant::now() + viewer.lives();
        Ok((viewer, expires))
    }

    async fn handle(
        &mut self,
        message: Incoming,
        viewer: &Viewer,
        operations: &mut Operations,
    ) -> Result<(), Closing> {
        match message {
            Incoming::ConnectionInit { .. } => Err((4429, "Too many initialisation requests".to_owned())),
            Incoming::Ping {} => self.send(&json!({ "type": "pong" })).await,
            Incoming::Pong {} => Ok(()),
            Incoming::Complete { id } => {
                operations.stops.remove(&id);
                Ok(())
            }
            Incoming::Subscribe { id, payload } => {
                if operations.stops.contains_key(&id) {
                    return Err((4409, format!("Subscriber for {} already exists", short(&id))));
                }
                if operations.stops.len() >= MAX_OPERATIONS {
                    let message = format!("One socket follows at most {MAX_OPERATIONS} things at a time.");
                    return self
                        .refuse(&id, &execute::error_with(Code::CostExceeded, &message))
                        .await;
                }
                match execute::prepare(&self.transport, viewer, payload) {
                    Ok(prepared) => {
                        let caller = Caller {
                            viewer: viewer.clone(),
                            trace: TraceContext::root(),
                            request_id: contracts::ids::fresh(),
                        };
                        operations.start(&self.transport, id, caller, prepared);
                        Ok(())
                    }
                    Err(error) => self.refuse(&id, &error).await,
                }
            }
        }
    }

    async fn tell(&mut self, event: Event, operations: &mut Operations) -> Result<(), Closing> {
        match event {
            Event::Next(id, response) => {
                if !operations.stops.contains_key(&id) {
                    return Ok(());
                }
                if is_refusal(&response) {
                    operations.stops.remove(&id);
                    return self
                        .send(&json!({ "id": id, "type": "error", "payload": response.errors }))
                        .await;
                }
                self.send(&json!({ "id": id, "type": "next", "payload": response }))
                    .await
            }
            // Nothing is said of an operation that the client stopped itself.
            Event::Complete(id) => match operations.stops.remove(&id) {
                Some(_) => self.send(&json!({ "id": id, "type": "complete" })).await,
                None => Ok(()),
            },
        }
    }

    async fn refuse(&mut self, id: &str, error: &ServerError) -> Result<(), Closing> {
        self.send(&json!({ "id": id, "type": "error", "payload": [error] }))
            .await
    }

    async fn send(&mut self, message: &Json) -> Result<(), Closing> {
        let gone = || (1001, "the client is gone".to_owned());
        match timeout(SEND_LIMIT, self.socket.send(Message::text(message.to_string()))).await {
            Ok(sent) => sent.map_err(|_| gone()),
            Err(_) => Err((1008, "the client does not read".to_owned())),
        }
    }

    async fn close(&mut self, code: u16, reason: String) {
        // A close frame holds 123 bytes of reason.
        let reason: String = reason.chars().filter(char::is_ascii).take(120).collect();
        let frame = Message::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }));
        // To listen on until the end is to answer the client's own close, and to let it read ours: a connection that is
        // dropped at once is reset, and what was sent last is lost with it. The client may be gone already, and nothing
        // depends on its hearing this.
        let farewell = async {
            let sent = self.socket.send(frame).await;
            while let Some(Ok(_)) = self.socket.recv().await {}
            sent
        };
        drop(timeout(FAREWELL_LIMIT, farewell).await);
    }
}

impl Operations {
    fn start(&mut self, transport: &Transport, id: String, caller: Caller, prepared: execute::Prepared) {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        self.stops.insert(id.clone(), stop);
        let name = id.clone();
        let responses = execute::responses(transport, caller, prepared);
        let events = responses
            .map(move |response| Event::Next(name.clone(), Box::new(response)))
            .chain(stream::once(async move { Event::Complete(id) }))
            .take_until(stopped);
        self.running.push(events.boxed());
    }
}

/// Whether the operation was refused as a whole, before it began.
fn is_refusal(response: &GraphqlResponse) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Reads what came over the socket; none for frames that mean nothing to the protocol.
fn read(message: Option<Result<Message, axum::Error>>) -> Result<Option<Incoming>, Closing> {
    match message {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| (4400, format!("Invalid message: {error}"))),
        Some(Ok(Message::Binary(_))) => Err((4400, "Invalid message: only text is taken".to_owned())),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err((1000, String::new())),
        Some(Err(_)) => Err((
            1009,
            "the message is too long, or the connection broke".to_owned(),
        )),
    }
}

/// The token in `connection_init`: as `Authorization`, in any case, with `Bearer` before it.
fn token(payload: Option<&Json>) -> Result<Option<&str>, TokenError> {
    let Some(fields) = payload.and_then(Json::as_object) else {
        return Ok(None);
    };
    let Some((_, value)) = fields
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
    else {
        return Ok(None);
    };
    value
        .as_str()
        .ok_or(TokenError::NotBearer)
        .and_then(bearer)
        .map(Some)
}

fn going_away() -> Closing {
    (1001, "the service is stopping; connect again".to_owned())
}

fn short(id: &str) -> String {
    id.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn pages_of_other_origins_are_refused() {
        let with = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            origin_is_allowed(&headers, &["https://shop.example".to_owned()])
        };
        assert!(with(None));
        assert!(with(Some("http://127.0.0.1:8080")));
        assert!(with(Some("https://shop.example")));
        assert!(!with(Some("https://evil.example")));
        assert!(!with(Some("null")));
    }

    #[test]
    fn the_token_is_found_in_any_case() {
        assert_eq!(token(None), Ok(None));
        assert_eq!(
            token(Some(&json!({ "authorization": "bearer abc" }))),
            Ok(Some("abc"))
        );
        assert_eq!(
            token(Some(&json!({ "Authorization": "abc" }))),
            Err(TokenError::NotBearer)
        );
        assert_eq!(
            token(Some(&json!({ "Authorization": 7 }))),
            Err(TokenError::NotBearer)
        );
    }
}
