//! Goal: a service is told who asks it and for whom.
//! Method: the requests that the stubs of the services received.

use host::identity::{Acting, acting};
use serde_json::json;
use wiremock::Request;

use crate::edge::{Edge, product, product_id};

fn acting(request: &Request) -> Option<Acting> {
    let token = request.headers["authorization"].to_str().unwrap();
    assert!(token.starts_with("Bearer ey"), "{token}");
    let header = request.headers.get(acting::HEADER)?;
    Some(Acting::of_header(header).unwrap())
}

#[tokio::test]
async fn reads_name_the_viewer_and_background_work_nobody() {
    let edge = Edge::selling(&[product("LAMP", 1_999)]).await;
    let token = edge.customer("anna");
    edge.ask(
        Some(&token),
        "{ viewer { purchases { nodes { id } } } }",
        json!({}),
    )
    .await;
    let purchases = edge.around.purchase_manager.received_requests().await.unwrap();
    let [asked] = purchases.as_slice() else {
        panic!("purchase-manager is asked once: {purchases:?}")
    };
    let anna = Acting {
        subject: "anna".to_owned(),
        role: "customer".to_owned(),
    };
    assert_eq!(acting(asked), Some(anna));
    let compared = edge.around.product_admin.received_requests().await.unwrap();
    assert!(!compared.is_empty() && compared.iter().all(|request| acting(request).is_none()));
    edge.stop().await;
}

#[tokio::test]
async fn batched_reads_name_the_viewer_too() {
    let lamp = product("LAMP", 1_999);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let query = "query ($id: ID!) { product(id: $id) { inventory { onHand } } }";
    edge.ask(Some(&operator), query, json!({ "id": product_id(&lamp) }))
        .await;
    let asked = edge.around.product_admin.received_requests().await.unwrap();
    let inventory = asked
        .iter()
        .find(|request| request.url.path() == "/inventory")
        .unwrap();
    let acting = acting(inventory).unwrap();
    assert_eq!(
        (acting.subject.as_str(), acting.role.as_str()),
        ("olga", "operator")
    );
    edge.stop().await;
}
