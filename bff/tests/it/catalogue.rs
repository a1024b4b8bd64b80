use contracts::{product_admin::ProductChanged, topics::PRODUCT_EVENTS};
use serde_json::{Value, json};
use testkit::eventually;

use crate::edge::{Around, Edge, SOON, code, down, product, product_id};

fn changed(product: &ProductChanged, version: i32, price_minor: i64) -> ProductChanged {
    ProductChanged {
        version,
        price_minor,
        ..product.clone()
    }
}

async fn price(edge: &Edge, product: &ProductChanged) -> Value {
    let query = "query ($id: ID!) { product(id: $id) { version price { amount } } }";
    let answer = edge.ask(None, query, json!({ "id": product_id(product) })).await;
    answer["data"]["product"].clone()
}

async fn skus(edge: &Edge, token: Option<&str>, filter: Value) -> Value {
    let query = "query ($filter: ProductFilter) { products(first: 100, filter: $filter) { nodes { sku } } }";
    let answer = edge.ask(token, query, json!({ "filter": filter })).await;
    let nodes = answer["data"]["products"]["nodes"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    nodes.iter().map(|node| node["sku"].clone()).collect()
}

#[tokio::test]
async fn the_catalogue_keeps_only_newer_versions_and_serves_while_product_admin_is_away() {
    let around = Around::new().await;
    down(&around.product_admin).await;
    let edge = around.start().await;
    let lamp = product("LAMP", 100);
    let id = lamp.product_id.0;
    edge.publish(PRODUCT_EVENTS, id, &changed(&lamp, 2, 200)).await;
    edge.publish(PRODUCT_EVENTS, id, &changed(&lamp, 1, 100)).await;
    edge.publish(PRODUCT_EVENTS, id, &changed(&lamp, 4, 400)).await;
    edge.publish(PRODUCT_EVENTS, id, &changed(&lamp, 3, 300)).await;
    let last = product("ZEBRA", 1);
    // Of the same key, so that it comes after the others.
    edge.publish(PRODUCT_EVENTS, id, &last).await;
    edge.catalogue_has(2).await;
    assert_eq!(
        price(&edge, &lamp).await,
        json!({ "version": 4, "price": { "amount": "4.00" } })
    );
    edge.stop().await;
}

#[tokio::test]
async fn the_catalogue_is_compared_with_its_owner_at_start_page_by_page() {
    let products: Vec<_> = (0..250)
        .map(|n| ProductChanged {
            updated_at: 1_700_000_000_000_000 + n,
            ..product(&format!("P{n:03}"), n + 1)
        })
        .collect();
    let around = Around::new().await;
    // Twice no answer, then two pages.
    let unwell = wiremock::Mock::given(wiremock::matchers::path("/products/changes"))
        .respond_with(wiremock::ResponseTemplate::new(503))
        .up_to_n_times(2);
    unwell.mount(&around.product_admin).await;
    let page = |after: Option<&ProductChanged>, body: &[ProductChanged]| {
        let mock = wiremock::Mock::given(wiremock::matchers::path("/products/changes"));
        let mock = match after {
            Some(last) => mock
                .and(wiremock::matchers::query_param(
                    "since",
                    last.updated_at.to_string(),
                ))
                .and(wiremock::matchers::query_param(
                    "after",
                    last.product_id.to_string(),
                )),
            None => mock.and(wiremock::matchers::query_param("since", "0")),
        };
        mock.respond_with(wiremock::ResponseTemplate::new(200).set_body_json(json!({ "products": body })))
    };
    page(None, &products[..200]).mount(&around.product_admin).await;
    page(Some(&products[199]), &products[200..])
        .mount(&around.product_admin)
        .await;
    let edge = around.start().await;
    edge.catalogue_has(250).await;
    edge.stop().await;
}

#[tokio::test]
async fn a_product_that_is_not_understood_holds_up_no_other() {
    let mut haunted = product("HAUNTED", 100);
    haunted.status = "HAUNTED".to_owned();
    let lamp = product("LAMP", 100);
    let around = Around::new().await.with_products(&[haunted, lamp]).await;
    let edge = around.start().await;
    edge.catalogue_has(1).await;
    assert_eq!(skus(&edge, None, json!({})).await, json!(["LAMP"]));
    edge.stop().await;
}

#[tokio::test]
async fn only_operators_see_what_is_not_on_sale() {
    let mut draft = product("DRAFT", 100);
    draft.status = "DRAFT".to_owned();
    let mut empty = product("EMPTY", 100);
    empty.availability = "OUT_OF_STOCK".to_owned();
    empty.description = None;
    let lamp = product("LAMP", 100);
    let edge = Edge::selling(&[draft.clone(), empty, lamp]).await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    assert_eq!(skus(&edge, None, json!({})).await, json!(["EMPTY", "LAMP"]));
    assert_eq!(skus(&edge, None, json!({ "status": ["DRAFT"] })).await, json!([]));
    assert_eq!(
        skus(&edge, Some(&operator), json!({})).await,
        json!(["DRAFT", "EMPTY", "LAMP"])
    );
    assert_eq!(
        skus(&edge, Some(&operator), json!({ "status": ["DRAFT"] })).await,
        json!(["DRAFT"])
    );
    assert_eq!(
        skus(&edge, None, json!({ "availability": ["OUT_OF_STOCK"] })).await,
        json!(["EMPTY"])
    );
    assert_eq!(skus(&edge, None, json!({ "text": "lAm" })).await, json!(["LAMP"]));
    assert_eq!(
        skus(&edge, None, json!({ "text": "useful" })).await,
        json!(["LAMP"])
    );
    assert_eq!(skus(&edge, None, json!({ "text": "%" })).await, json!([]));
    assert_eq!(price(&edge, &draft).await, Value::Null);
    let by_sku = edge
        .ask(None, "{ product(sku: \"LAMP\") { name } }", json!({}))
        .await;
    assert_eq!(by_sku["data"]["product"]["name"], "The LAMP");
    let neither = edge.ask(None, "{ product { name } }", json!({})).await;
    assert_eq!(code(&neither), "BAD_USER_INPUT");
    edge.stop().await;
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let products: Vec<_> = (0..7).map(|n| product(&format!("P{n}"), 100)).collect();
    let edge = Edge::selling(&products).await;
    let query = "query ($after: String) { products(first: 3, after: $after) {
        nodes { sku } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let mut seen = Vec::new();
    let mut after = Value::Null;
    loop {
        let answer = edge.ask(None, query, json!({ "after": after })).await;
        let page = &answer["data"]["products"];
        assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(!seen.is_empty()));
        seen.extend(
            page["nodes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|node| node["sku"].as_str().unwrap().to_owned()),
        );
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(seen, ["P0", "P1", "P2", "P3", "P4", "P5", "P6"]);
    for wrong in [
        "{ products(first: 0) { nodes { id } } }",
        "{ products(first: 101) { nodes { id } } }",
        "{ products(after: \"x\") { nodes { id } } }",
    ] {
        assert_eq!(
            code(&edge.ask(None, wrong, json!({})).await),
            "BAD_USER_INPUT",
            "{wrong}"
        );
    }
    edge.stop().await;
}

#[tokio::test]
async fn a_poison_message_is_parked_and_the_others_go_on() {
    let edge = Around::new().await.with_products(&[]).await.start().await;
    let mut poison = product("POISON", 1);
    poison.status = "HAUNTED".to_owned();
    edge.publish(PRODUCT_EVENTS, poison.product_id.0, &poison).await;
    let lamp = product("LAMP", 1);
    edge.publish(PRODUCT_EVENTS, lamp.product_id.0, &lamp).await;
    edge.catalogue_has(1).await;
    let pool = edge.pool();
    let error: String = eventually("the message is parked", SOON, async || {
        sqlx::query_scalar("select error from parked")
            .fetch_optional(&pool)
            .await
            .unwrap()
    })
    .await;
    assert!(error.contains("HAUNTED"), "{error}");
    edge.stop().await;
}
