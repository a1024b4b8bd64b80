//! How to reach a customer: kept with the purchase, told to our own services, and not to the public.

use contracts::{
    http::{Contacts, ContactsWanted},
    ids::{CustomerId, fresh},
};
use serde_json::json;

use crate::edge::{Edge, product, product_id};

/// What the edge tells of `anna`, at its own address for that.
async fn told(edge: &Edge) -> Contacts {
    let wanted = ContactsWanted {
        customers: vec![CustomerId("anna".to_owned()), CustomerId("nobody".to_owned())],
    };
    let request = edge
        .http
        .post(format!("{}/contacts", edge.internal_url()))
        .json(&wanted);
    let mut request = request.build().unwrap();
    let notifications = &edge.around.notifications;
    notifications.sign(bff::SERVICE, request.headers_mut()).unwrap();
    let answer = edge.http.execute(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn who_buys_can_be_reached_as_the_last_token_said() {
    let lamp = product("LAMP", 1_999);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    assert!(told(&edge).await.contacts.is_empty(), "nobody has bought yet");
    let lines = json!([{ "productId": product_id(&lamp), "quantity": 1 }]);
    for (email, name) in [
        (Some("anna@example.com"), "Anna"),
        (Some("new@example.com"), "Anna B."),
        (None, "Anna B."),
    ] {
        let token = edge.around.issuer.customer_with("anna", name, email);
        let payload = edge.submit(&token, fresh(), lines.clone()).await;
        assert_eq!(payload["userErrors"], json!([]));
        let contacts = told(&edge).await.contacts;
        assert_eq!(contacts.len(), 1, "who is unknown is absent");
        assert_eq!(contacts[0].email.as_deref(), email);
        assert_eq!(contacts[0].name.as_deref(), Some(name));
    }
    edge.stop().await;
}

#[tokio::test]
async fn the_public_is_not_told_how_to_reach_anybody() {
    let edge = Edge::selling(&[]).await;
    let answer = edge
        .http
        .post(edge.url("/contacts"))
        .json(&json!({ "customers": ["anna"] }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    let unknown = edge
        .http
        .post(format!("{}/contacts", edge.internal_url()))
        .json(&json!({ "customers": ["anna"] }))
        .send()
        .await
        .unwrap();
    assert_eq!(unknown.status(), 401, "not even at the internal address");
    edge.stop().await;
}
