//! How the services are, as they tell it themselves; one that is away is told to be, and takes nobody along.

use serde_json::{Value, json};

use crate::edge::{Edge, answer, code, down};

const SERVICES: &str = "{ services { name health version instances detail } }";
const GROUPS: &str = "{ consumerGroups { name topic members lag oldestUnprocessedSeconds } }";

fn report(service: &str, troubles: &[&str]) -> Value {
    json!({ "service": service, "version": "9.9.9", "instances": 2, "troubles": troubles, "groups": [{
        "group": format!("belay.{service}"), "topic": format!("{service}.commands.v1"), "members": 2,
        "lag": 9_007_199_254_740_993_i64, "oldest_seconds": 3,
    }] })
}

#[tokio::test]
async fn every_service_is_told_of_and_one_that_is_away_is_down() {
    let edge = Edge::selling(&[]).await;
    let around = &edge.around;
    answer(&around.orders, "/report", report("orders", &[])).await;
    answer(
        &around.payments,
        "/report",
        report("payments", &["1 message waits for an operator"]),
    )
    .await;
    down(&around.purchase_manager).await;
    down(&around.product_admin).await;
    let operator = around.issuer.token("olga", &["operator"]);
    let told = edge.ask(Some(&operator), SERVICES, json!({})).await;
    let services = told["data"]["services"]
        .as_array()
        .unwrap_or_else(|| panic!("{told}"));
    let named = |name: &str| services.iter().find(|service| service["name"] == name).unwrap();
    let names: Vec<_> = services
        .iter()
        .map(|service| service["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(
        *named("orders"),
        json!({ "name": "orders", "health": "UP", "version": "9.9.9", "instances": 2, "detail": null })
    );
    assert_eq!(named("payments")["health"], "DEGRADED");
    assert_eq!(named("payments")["detail"], "1 message waits for an operator");
    assert_eq!(
        *named("purchase-manager"),
        json!({ "name": "purchase-manager", "health": "DOWN", "version": "", "instances": 0,
                "detail": "it does not answer" })
    );
    assert_eq!(named("bff")["health"], "UP", "the edge tells of itself");

    let told = edge.ask(Some(&operator), GROUPS, json!({})).await;
    let groups = told["data"]["consumerGroups"]
        .as_array()
        .unwrap_or_else(|| panic!("{told}"));
    let orders = groups
        .iter()
        .find(|group| group["name"] == "belay.orders")
        .unwrap();
    assert_eq!(
        *orders,
        json!({ "name": "belay.orders", "topic": "orders.commands.v1", "members": 2, "lag": "9007199254740993",
                "oldestUnprocessedSeconds": 3 })
    );
    for query in [SERVICES, GROUPS] {
        assert_eq!(
            code(&edge.ask(Some(&edge.customer("anna")), query, json!({})).await),
            "FORBIDDEN"
        );
    }
    edge.stop().await;
}
