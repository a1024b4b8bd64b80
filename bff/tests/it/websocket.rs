use std::time::Duration;

use contracts::{ids::PurchaseId, topics::PURCHASE_EVENTS};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::edge::{Around, Edge, SOON, answer, know_nothing, product, purchase, purchase_id};

const FOLLOW: &str = "subscription ($id: ID!) { purchaseUpdated(id: $id) { version state } }";

pub struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn open(edge: &Edge) -> Self {
        Self::with(edge, "graphql-transport-ws", None).await.unwrap()
    }

    async fn with(edge: &Edge, protocol: &'static str, origin: Option<&'static str>) -> Result<Self, u16> {
        let mut request = edge
            .url("/graphql/ws")
            .replace("http", "ws")
            .into_client_request()
            .unwrap();
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
        if let Some(origin) = origin {
            headers.insert("origin", HeaderValue::from_static(origin));
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            // The client library insists on the protocol it asked for.
            Err(_) => Err(0),
        }
    }

    /// A client that asks for no protocol at all, so that its library does not insist on one.
    async fn without_protocol(edge: &Edge) -> Self {
        let address = edge.url("/graphql/ws").replace("http", "ws");
        Self(connect_async(address).await.unwrap().0)
    }

    pub async fn initialized(edge: &Edge, token: &str) -> Self {
        let mut client = Self::open(edge).await;
        client.say(json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } })).await;
        assert_eq!(client.hear().await["type"], "connection_ack");
        client
    }

    pub async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn follow(&mut self, id: &str, purchase: PurchaseId) {
        let payload = json!({ "query": FOLLOW, "variables": { "id": purchase_id(purchase) } });
        self.say(json!({ "type": "subscribe", "id": id, "payload": payload }))
            .await;
    }

    async fn next(&mut self) -> Message {
        timeout(SOON, self.0.next())
            .await
            .expect("the edge answers in time")
            .unwrap()
            .unwrap()
    }

    pub async fn hear(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    /// The version and state of the next update.
    async fn update(&mut self) -> (i64, String) {
        let message = self.hear().await;
        assert_eq!(message["type"], "next", "{message}");
        let update = &message["payload"]["data"]["purchaseUpdated"];
        (
            update["version"].as_i64().unwrap(),
            update["state"].as_str().unwrap().to_owned(),
        )
    }

    async fn close_code(&mut self) -> u16 {
        match self.next().await {
            Message::Close(Some(frame)) => frame.code.into(),
            other => panic!("a close was expected, not {other:?}"),
        }
    }
}

async fn edge() -> Edge {
    let around = Around::new().await.with_products(&[]).await;
    know_nothing(&around).await;
    around.start().await
}

#[tokio::test]
async fn a_purchase_is_followed_from_its_current_state_to_its_end() {
    let edge = edge().await;
    let id = PurchaseId::fresh();
    let told = |version, state| purchase(id, "anna", version, state);
    answer(
        &edge.around.purchase_manager,
        "/purchases",
        json!({ "purchases": [told(2, "RUNNING")] }),
    )
    .await;
    let mut client = Client::initialized(&edge, &edge.customer("anna")).await;
    client.follow("1", id).await;
    assert_eq!(client.update().await, (2, "RUNNING".to_owned()));
    // What is not newer is dropped; each version comes once.
    for (version, state) in [
        (1, "PENDING"),
        (2, "RUNNING"),
        (3, "RUNNING"),
        (3, "RUNNING"),
        (4, "COMPLETED"),
    ] {
        edge.publish(PURCHASE_EVENTS, id.0, &told(version, state)).await;
    }
    assert_eq!(client.update().await, (3, "RUNNING".to_owned()));
    assert_eq!(client.update().await, (4, "COMPLETED".to_owned()));
    assert_eq!(client.hear().await, json!({ "id": "1", "type": "complete" }));
    edge.stop().await;
}

#[tokio::test]
async fn a_lost_event_delays_an_update_and_costs_none() {
    let edge = edge().await;
    let id = PurchaseId::fresh();
    let told = |version, state| json!({ "purchases": [purchase(id, "anna", version, state)] });
    answer(&edge.around.purchase_manager, "/purchases", told(1, "RUNNING")).await;
    let mut client = Client::initialized(&edge, &edge.customer("anna")).await;
    client.follow("1", id).await;
    assert_eq!(client.update().await.0, 1);
    answer(&edge.around.purchase_manager, "/purchases", told(2, "REJECTED")).await;
    assert_eq!(client.update().await, (2, "REJECTED".to_owned()));
    edge.stop().await;
}

#[tokio::test]
async fn another_customers_purchase_cannot_be_followed() {
    let edge = edge().await;
    let id = PurchaseId::fresh();
    let told = json!({ "purchases": [purchase(id, "anna", 2, "RUNNING")] });
    answer(&edge.around.purchase_manager, "/purchases", told).await;
    let mut client = Client::initialized(&edge, &edge.customer("bert")).await;
    let mut refusals = Vec::new();
    for followed in [id, PurchaseId::fresh()] {
        client.follow("1", followed).await;
        refusals.push(client.hear().await["payload"]["errors"].clone());
        assert_eq!(client.hear().await["type"], "complete");
    }
    assert_eq!(
        refusals[0][0]["extensions"]["code"], "BAD_USER_INPUT",
        "{refusals:?}"
    );
    assert_eq!(refusals[0], refusals[1]);
    edge.stop().await;
}

#[tokio::test]
async fn every_breach_of_the_protocol_has_its_close_code() {
    let edge = edge().await;
    let token = edge.customer("anna");
    let id = PurchaseId::fresh();
    let told = json!({ "purchases": [purchase(id, "anna", 2, "RUNNING")] });
    answer(&edge.around.purchase_manager, "/purchases", told).await;

    let mut early = Client::open(&edge).await;
    early.follow("1", id).await;
    assert_eq!(early.close_code().await, 4401);

    let mut twice = Client::initialized(&edge, &token).await;
    twice.say(json!({ "type": "connection_init" })).await;
    assert_eq!(twice.close_code().await, 4429);

    for wrong in [
        json!({ "type": "shout" }),
        json!(7),
        json!({ "type": "subscribe", "id": "1" }),
    ] {
        let mut client = Client::initialized(&edge, &token).await;
        client.say(wrong).await;
        assert_eq!(client.close_code().await, 4400);
    }

    let mut same = Client::initialized(&edge, &token).await;
    same.follow("1", id).await;
    same.update().await;
    same.follow("1", id).await;
    assert_eq!(same.close_code().await, 4409);

    // Bytes are no messages, and neither is a text that is no JSON.
    for wrong in [Message::binary(b"{}".to_vec()), Message::text("{")] {
        for mut client in [
            Client::open(&edge).await,
            Client::initialized(&edge, &token).await,
        ] {
            client.0.send(wrong.clone()).await.unwrap();
            assert_eq!(client.close_code().await, 4400);
        }
    }

    // Of another subprotocol, or of none.
    assert_eq!(Client::without_protocol(&edge).await.close_code().await, 4406);

    for payload in [
        json!({ "Authorization": "Bearer nonsense" }),
        json!({ "authorization": "x" }),
    ] {
        let mut client = Client::open(&edge).await;
        client
            .say(json!({ "type": "connection_init", "payload": payload }))
            .await;
        assert_eq!(client.close_code().await, 4403);
    }

    let mut fine = Client::initialized(&edge, &token).await;
    fine.say(json!({ "type": "ping" })).await;
    assert_eq!(fine.hear().await, json!({ "type": "pong" }));
    // An id is free again after the client has stopped its operation.
    fine.follow("1", id).await;
    fine.update().await;
    fine.say(json!({ "type": "complete", "id": "1" })).await;
    fine.follow("1", id).await;
    fine.update().await;
    fine.say(json!({ "type": "subscribe", "id": "2", "payload": { "query": "{ nothing }" } }))
        .await;
    let refused = fine.hear().await;
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("2")));
    fine.say(json!({ "type": "subscribe", "id": "3", "payload": { "query": "{ viewer { name } }" } }))
        .await;
    assert_eq!(
        fine.hear().await["payload"]["data"]["viewer"]["name"],
        "A Customer"
    );
    assert_eq!(fine.hear().await, json!({ "id": "3", "type": "complete" }));
    edge.stop().await;
}

#[tokio::test]
async fn a_socket_ends_with_its_token_and_with_the_service() {
    let edge = edge().await;
    let mut claims = edge.around.issuer.claims("anna", &["customer"]);
    claims["exp"] = json!(jsonwebtoken::get_current_timestamp() + 1);
    let mut short = Client::initialized(&edge, &edge.around.issuer.key.sign(&claims)).await;
    assert_eq!(short.close_code().await, 4403);

    let mut long = Client::initialized(&edge, &edge.customer("anna")).await;
    let stopped = timeout(Duration::from_secs(5), edge.stop());
    let (code, stopped) = tokio::join!(long.close_code(), stopped);
    assert_eq!(code, 1001);
    stopped.expect("a drain takes less than 5 s");
}

#[tokio::test]
async fn pages_of_other_origins_cannot_open_a_socket() {
    let edge = edge().await;
    let open = async |origin| {
        Client::with(&edge, "graphql-transport-ws", Some(origin))
            .await
            .err()
    };
    assert_eq!(open("https://evil.example").await, Some(403));
    assert_eq!(open("https://shop.example").await, None);
    assert!(
        Client::with(&edge, "graphql-ws", None).await.is_err(),
        "only graphql-transport-ws is spoken"
    );
    edge.stop().await;
}

#[tokio::test]
async fn a_socket_is_closed_when_its_token_expires() {
    let edge = edge().await;
    let mut client = Client::initialized(&edge, &edge.around.issuer.short_lived("anna")).await;
    assert_eq!(client.close_code().await, 4403);
    edge.stop().await;
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed_after_ten_seconds() {
    let edge = edge().await;
    let mut client = Client::open(&edge).await;
    assert_eq!(client.close_code().await, 4408);
    edge.stop().await;
}

/// The close code 1008 is for a client that begins to read just then; whoever does not read at all cannot be told.
#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let products: Vec<_> = (0..20)
        .map(|number| product(&format!("LAMP-{number}"), 1_000))
        .collect();
    let edge = Edge::selling(&products).await;
    let mut client = Client::open(&edge).await;
    client.say(json!({ "type": "connection_init" })).await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    let names: String = (0..90).map(|number| format!("a{number}: name ")).collect();
    let query = format!("{{ products(first: 20) {{ nodes {{ {names} }} }} }}");
    // Answers pile up in the buffers of both ends, then the edge waits for ten seconds, then it is gone.
    let asked = timeout(SOON * 3, async {
        let mut asked = 0_u64;
        loop {
            let subscribe =
                json!({ "type": "subscribe", "id": asked.to_string(), "payload": { "query": query } });
            if client.0.send(Message::text(subscribe.to_string())).await.is_err() {
                return asked;
            }
            asked += 1;
        }
    });
    let asked = asked.await.expect("the edge lets it go");
    assert!(asked > 100, "it was let go for something else: {asked} questions");
    edge.stop().await;
}

#[tokio::test]
async fn what_is_too_much_for_one_socket_is_refused() {
    let edge = edge().await;
    let id = PurchaseId::fresh();
    let told = json!({ "purchases": [purchase(id, "anna", 2, "RUNNING")] });
    answer(&edge.around.purchase_manager, "/purchases", told).await;
    let token = edge.customer("anna");

    let mut long = Client::initialized(&edge, &token).await;
    long.say(json!({ "type": "ping", "payload": { "text": "x".repeat(300_000) } }))
        .await;
    assert_eq!(long.close_code().await, 1009);

    let mut busy = Client::initialized(&edge, &token).await;
    for number in 0..50 {
        busy.follow(&number.to_string(), id).await;
        busy.update().await;
    }
    busy.follow("one too many", id).await;
    let refused = busy.hear().await;
    assert_eq!(
        (&refused["type"], &refused["id"]),
        (&json!("error"), &json!("one too many"))
    );
    assert_eq!(refused["payload"][0]["extensions"]["code"], "COST_EXCEEDED");
    // Those that run go on, and one that ends makes room.
    busy.say(json!({ "type": "complete", "id": "0" })).await;
    busy.follow("now", id).await;
    assert_eq!(busy.update().await, (2, "RUNNING".to_owned()));
    edge.stop().await;
}

#[tokio::test]
async fn without_the_issuer_a_socket_is_told_to_come_again() {
    let around = Around::new().await.with_products(&[]).await;
    around.issuer.server.reset().await;
    let edge = around.start().await;
    let mut client = Client::open(&edge).await;
    let payload = json!({ "Authorization": format!("Bearer {}", edge.customer("anna")) });
    client
        .say(json!({ "type": "connection_init", "payload": payload }))
        .await;
    assert_eq!(client.close_code().await, 1013);
    edge.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_let_go() {
    let edge = edge().await;
    let mut client = Client::initialized(&edge, &edge.customer("anna")).await;
    client.0.close(None).await.unwrap();
    // Nothing but the echo of its own close.
    assert!(matches!(client.next().await, Message::Close(_)));
    let stopped = timeout(Duration::from_secs(5), edge.stop()).await;
    stopped.expect("nobody is waited for");
}

#[tokio::test]
async fn a_subscription_whose_variables_cannot_be_is_refused_and_the_socket_goes_on() {
    let edge = edge().await;
    let mut client = Client::initialized(&edge, &edge.customer("anna")).await;
    for variables in [json!({}), json!({ "id": null }), json!({ "id": 1.5 })] {
        client
            .say(json!({ "type": "subscribe", "id": "1", "payload": { "query": FOLLOW, "variables": variables } }))
            .await;
        let refused = client.hear().await;
        assert_eq!(refused["type"], "error", "{variables}: {refused}");
        assert_eq!(refused["payload"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }
    edge.stop().await;
}
