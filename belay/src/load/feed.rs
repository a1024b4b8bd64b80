//! One customer's sockets (`graphql-transport-ws`), with a subscription for each of their open purchases.
//!
//! A customer has one socket, and another one only when the first is full: the edge limits what a socket may follow. A
//! socket that breaks is opened again, and everything that is still followed is subscribed to anew: a subscription
//! begins with the current state, so nothing is missed in between.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use futures::{SinkExt, Stream, StreamExt, stream::SplitSink};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

use super::api::User;

/// How long a socket may take to be ready.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Purchases that one socket follows. The edge allows 50; one that ends is let go of here before it is there.
const PER_SOCKET: usize = 40;

/// The first pause before a socket is opened again; every further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const FOLLOW: &str = "subscription($id: ID!) { purchaseUpdated(id: $id) { state failure { code } } }";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Sink = SplitSink<Socket, Message>;

/// What was last heard of a purchase.
#[derive(Debug, Clone)]
pub(super) enum Heard {
    /// Nothing yet.
    Nothing,
    /// It is open, in this state.
    Open(String),
    /// It ended.
    Ended {
        /// The terminal state.
        state: String,
        /// The code of its failure.
        failure: Option<String>,
        /// When the message was here.
        at: Instant,
    },
    /// It cannot be followed.
    Refused(String),
}

impl Heard {
    /// Whether nothing more will be heard.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Nothing | Self::Open(_) => false,
            Self::Ended { .. } | Self::Refused(_) => true,
        }
    }
}

/// A customer's feed. Its tasks end some time after the handle is dropped.
#[derive(Debug)]
pub(super) struct Feed {
    customer: Arc<User>,
    sockets: Mutex<Vec<Handle>>,
}

/// A socket's task.
#[derive(Debug)]
struct Handle {
    requests: mpsc::UnboundedSender<Follow>,
    taken: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Follow {
    purchase: String,
    heard: watch::Sender<Heard>,
    slot: Slot,
}

/// A place on a socket, free again when it is dropped.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Feed {
    /// Starts the customer's first socket.
    pub fn start(customer: Arc<User>) -> Self {
        let first = Handle::start(&customer);
        Self {
            customer,
            sockets: Mutex::new(vec![first]),
        }
    }

    /// Follows a purchase to its end.
    pub fn follow(&self, purchase: String) -> watch::Receiver<Heard> {
        let (heard, receiver) = watch::channel(Heard::Nothing);
        // Sockets are only added, so a panic in between would leave the list right.
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let free = sockets
            .iter()
            .position(|socket| socket.taken.load(Ordering::Relaxed) < PER_SOCKET);
        let index = free.unwrap_or_else(|| {
            sockets.push(Handle::start(&self.customer));
            sockets.len() - 1
        });
        let socket = &sockets[index];
        socket.taken.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(socket.taken.clone());
        // The task ends only when its handle is dropped.
        drop(socket.requests.send(Follow {
            purchase,
            heard,
            slot,
        }));
        receiver
    }
}

impl Handle {
    fn start(customer: &Arc<User>) -> Self {
        // Bounded by the places on the socket.
        let (requests, receiver) = mpsc::unbounded_channel();
        tokio::spawn(keep(customer.clone(), receiver));
        Self {
            requests,
            taken: Arc::default(),
        }
    }
}

/// Who waits for which purchase.
type Followed = HashMap<String, Waiting>;

#[derive(Debug)]
struct Waiting {
    heard: watch::Sender<Heard>,
    _slot: Slot,
}

impl Waiting {
    fn tell(&self, heard: Heard) {
        // Whoever waits no longer does not want to know.
        drop(self.heard.send(heard));
    }
}

async fn keep(customer: Arc<User>, mut requests: mpsc::UnboundedReceiver<Follow>) {
    let mut followed = Followed::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let opened = timeout(OPEN_LIMIT, open(&customer)).await;
        if let Ok(Ok(socket)) = opened {
            pause = FIRST_PAUSE;
            match session(socket, &mut followed, &mut requests).await {
                Ok(()) => return,
                Err(error) => tracing::debug!("a customer's socket broke: {error:#}"),
            }
        }
        if requests.is_closed() {
            return;
        }
        sleep(pause).await;
        customer.target().look_again().await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn open(customer: &User) -> anyhow::Result<Socket> {
    let place = customer.target().place();
    let mut request = place.socket().into_client_request()?;
    request.headers_mut().insert(
        "Sec-WebSocket-Protocol",
        HeaderValue::from_static("graphql-transport-ws"),
    );
    // The last argument sends small messages at once.
    let (mut socket, _) = connect_async_with_config(request, None, true).await?;
    let authorization = format!("Bearer {}", customer.token(&place)?);
    send(
        &mut socket,
        json!({ "type": "connection_init", "payload": { "Authorization": authorization } }),
    )
    .await?;
    while let Some(message) = socket.next().await {
        match read(&message?)? {
            Some(Told::ConnectionAck) => return Ok(socket),
            Some(Told::Ping) => send(&mut socket, json!({ "type": "pong" })).await?,
            Some(told) => bail!("expected connection_ack, got {told:?}"),
            None => {}
        }
    }
    bail!("the socket was closed before it was ready")
}

/// Serves the socket until nobody wants anything any more.
async fn session(
    socket: Socket,
    followed: &mut Followed,
    requests: &mut mpsc::UnboundedReceiver<Follow>,
) -> anyhow::Result<()> {
    let (mut sink, mut stream) = socket.split();
    // Those who wait no longer, because their time was over, are not subscribed to again.
    followed.retain(|_, waiting| !waiting.heard.is_closed());
    for purchase in followed.keys() {
        subscribe(&mut sink, purchase).await?;
    }
    loop {
        // Both arms are cancel-safe: a channel's and a stream's next item stays where it is.
        tokio::select! {
            request = requests.recv() => match request {
                Some(Follow { purchase, heard, slot }) => {
                    followed.insert(purchase.clone(), Waiting { heard, _slot: slot });
                    subscribe(&mut sink, &purchase).await?;
                }
                None => {
                    drop(sink.close().await);
                    return Ok(());
                }
            },
            told = next(&mut stream) => hear(told?, followed, &mut sink).await?,
        }
    }
}

async fn hear(told: Told, followed: &mut Followed, sink: &mut Sink) -> anyhow::Result<()> {
    match told {
        Told::Next { id, payload } => {
            let heard = heard(payload);
            if heard.is_final() {
                if let Some(waiting) = followed.remove(&id) {
                    waiting.tell(heard);
                }
                send(sink, json!({ "type": "complete", "id": id })).await?;
            } else if let Some(waiting) = followed.get(&id) {
                waiting.tell(heard);
            }
        }
        Told::Error { id, payload } => {
            if let Some(passing) = payload.iter().find(|error| error.is_passing()) {
                bail!(
                    "a subscription cannot be served at the moment: {}",
                    passing.message
                );
            }
            if let Some(waiting) = followed.remove(&id) {
                waiting.tell(Heard::Refused(first_message(&payload)));
            }
        }
        Told::Complete { id } if followed.contains_key(&id) => {
            bail!("a subscription ended before its purchase");
        }
        Told::Ping => send(sink, json!({ "type": "pong" })).await?,
        Told::Complete { .. } | Told::Pong | Told::ConnectionAck => {}
    }
    Ok(())
}

async fn subscribe(sink: &mut Sink, purchase: &str) -> anyhow::Result<()> {
    // A purchase is followed once, so its id names the subscription.
    let payload = json!({ "query": FOLLOW, "variables": { "id": purchase } });
    send(
        sink,
        json!({ "type": "subscribe", "id": purchase, "payload": payload }),
    )
    .await
}

async fn send(
    sink: &mut (impl futures::Sink<Message, Error = tungstenite::Error> + Unpin),
    message: serde_json::Value,
) -> anyhow::Result<()> {
    Ok(sink.send(Message::text(message.to_string())).await?)
}

async fn next(
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
) -> anyhow::Result<Told> {
    loop {
        let message = stream.next().await.context("the socket was closed")??;
        if let Some(told) = read(&message)? {
            return Ok(told);
        }
    }
}

/// A message of the server's.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told {
    ConnectionAck,
    Ping,
    Pong,
    Next { id: String, payload: Payload },
    Error { id: String, payload: Vec<GraphqlError> },
    Complete { id: String },
}

#[derive(Debug, PartialEq, Deserialize)]
struct Payload {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<GraphqlError>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Data {
    #[serde(rename = "purchaseUpdated")]
    purchase: Option<Purchase>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Purchase {
    state: String,
    failure: Option<Failure>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Failure {
    code: String,
}

#[derive(Debug, PartialEq, Deserialize)]
struct GraphqlError {
    message: String,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Extensions {
    code: Option<String>,
}

impl GraphqlError {
    /// Whether the same may be served later.
    fn is_passing(&self) -> bool {
        matches!(self.extensions.code.as_deref(), Some("UNAVAILABLE" | "TIMEOUT"))
    }
}

/// What a WebSocket message tells; none for those of the WebSocket itself.
fn read(message: &Message) -> anyhow::Result<Option<Told>> {
    match message {
        Message::Text(text) => Ok(Some(serde_json::from_str(text.as_str())?)),
        Message::Close(Some(frame)) => bail!("closed with {}: {}", frame.code, frame.reason),
        Message::Close(None) => bail!("closed"),
        Message::Binary(_) => bail!("a binary message, which the protocol does not have"),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

fn heard(payload: Payload) -> Heard {
    let Some(purchase) = payload.data.and_then(|data| data.purchase) else {
        return Heard::Refused(first_message(&payload.errors));
    };
    match purchase.state.as_str() {
        "COMPLETED" | "REJECTED" | "CANCELLED" => Heard::Ended {
            state: purchase.state,
            failure: purchase.failure.map(|failure| failure.code),
            at: Instant::now(),
        },
        _ => Heard::Open(purchase.state),
    }
}

fn first_message(errors: &[GraphqlError]) -> String {
    errors
        .first()
        .map_or_else(|| "no reason was given".to_owned(), |error| error.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Told {
        read(&Message::text(text)).unwrap().unwrap()
    }

    #[test]
    fn a_terminal_state_ends_the_wait_and_others_do_not() {
        let next = |purchase: &str| {
            let text = format!(
                r#"{{"type":"next","id":"1","payload":{{"data":{{"purchaseUpdated":{purchase}}}}}}}"#
            );
            let Told::Next { payload, .. } = told(&text) else {
                panic!("{text} is a next")
            };
            heard(payload)
        };
        assert!(!next(r#"{"state":"STUCK","failure":null}"#).is_final());
        let ended = next(r#"{"state":"REJECTED","failure":{"code":"PAYMENT_DECLINED"}}"#);
        assert!(matches!(ended, Heard::Ended { failure: Some(code), .. } if code == "PAYMENT_DECLINED"));
    }

    #[test]
    fn an_answer_without_data_is_a_refusal_in_the_servers_words() {
        let text = r#"{"type":"next","id":"1","payload":{"data":null,"errors":[{"message":"no"}]}}"#;
        let Told::Next { payload, .. } = told(text) else {
            panic!("{text} is a next")
        };
        assert!(matches!(heard(payload), Heard::Refused(why) if why == "no"));
    }

    #[test]
    fn what_the_protocol_does_not_have_breaks_the_socket() {
        assert!(read(&Message::text("{}")).is_err());
        assert!(read(&Message::Close(None)).is_err());
        assert_eq!(read(&Message::Ping(Vec::new().into())).unwrap(), None);
    }
}
