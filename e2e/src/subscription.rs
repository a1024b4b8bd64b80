//! A graphql-transport-ws client: <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::world::PATIENCE;

/// One subscription on a connection of its own.
#[derive(Debug)]
pub struct Subscription {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Subscription {
    /// Connects, authenticates and subscribes.
    ///
    /// # Panics
    /// When the edge refuses any of it.
    pub async fn open(http: &str, token: &str, query: &str, variables: Value) -> Self {
        let address = format!("{}/graphql/ws", http.replacen("http", "ws", 1));
        let mut request = address.into_client_request().expect("the address is a URL");
        let protocol = "graphql-transport-ws"
            .parse()
            .expect("the name is a header value");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (mut socket, _) = connect_async(request).await.expect("the edge upgrades");
        let init =
            json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } });
        socket
            .send(Message::text(init.to_string()))
            .await
            .expect("the edge reads");
        let mut subscription = Self { socket };
        let answer = subscription.message().await.expect("the edge answers the init");
        assert_eq!(answer["type"], "connection_ack", "{answer}");
        let subscribe =
            json!({ "type": "subscribe", "id": "1", "payload": { "query": query, "variables": variables } });
        subscription
            .socket
            .send(Message::text(subscribe.to_string()))
            .await
            .expect("the edge reads");
        subscription
    }

    /// The data of the next event; none when the subscription is complete.
    ///
    /// # Panics
    /// When the edge answers with an error, or says nothing for [`PATIENCE`].
    pub async fn next(&mut self) -> Option<Value> {
        let event = self.event().await?;
        assert!(event.get("errors").is_none(), "{event}");
        Some(event["data"].clone())
    }

    /// The next event with its data and its errors; none when the subscription is complete.
    ///
    /// # Panics
    /// When the edge ends the subscription with an error, or says nothing for [`PATIENCE`].
    pub async fn event(&mut self) -> Option<Value> {
        loop {
            let message = self.message().await?;
            match message["type"].as_str() {
                Some("next") => return Some(message["payload"].clone()),
                Some("complete") => return None,
                Some("ping") => {
                    let pong = json!({ "type": "pong" }).to_string();
                    self.socket
                        .send(Message::text(pong))
                        .await
                        .expect("the edge reads");
                }
                _ => panic!("the subscription failed: {message}"),
            }
        }
    }

    async fn message(&mut self) -> Option<Value> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("the edge says something in time")?
                .expect("the connection holds");
            match message {
                Message::Text(text) => return serde_json::from_str(&text).ok(),
                Message::Close(frame) => panic!("the edge closed the connection: {frame:?}"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
