//! Goal: what asks for too much is refused with its documented code, and a viewer sees what is left.
//! Method: requests just over each limit, on an edge whose limits are set by flags.

use serde_json::{Value, json};

use crate::edge::{Around, Edge, code};

async fn edge(flags: &[&'static str]) -> Edge {
    let mut around = Around::new().await.with_products(&[]).await;
    around.flags.extend(flags);
    around.start().await
}

#[tokio::test]
async fn a_request_over_a_limit_is_refused_with_its_code() {
    let edge = edge(&[
        "--max-depth=4",
        "--max-fields=30",
        "--max-root-fields=3",
        "--max-aliases=5",
        "--max-directives=2",
    ])
    .await;
    let aliased: String = (0..6).map(|n| format!("a{n}: id ")).collect();
    let directives = "@skip(if: false) ".repeat(3);
    for (what, query, words) in [
        (
            "depth",
            "{ products { edges { node { price { amount } } } } }".to_owned(),
            "deeper than 4",
        ),
        (
            "fields",
            format!("{{ products {{ nodes {{ {} }} }} }}", "sku ".repeat(30)),
            "more than 30 fields",
        ),
        (
            "root fields",
            "{ a: __typename b: __typename c: __typename d: __typename }".to_owned(),
            "at its root",
        ),
        (
            "aliases",
            format!("{{ products {{ nodes {{ {aliased} }} }} }}"),
            "another name",
        ),
        (
            "directives",
            format!("{{ products {directives} {{ nodes {{ id }} }} }}"),
            "directives",
        ),
    ] {
        let answer = edge.ask(None, &query, json!({})).await;
        assert_eq!(code(&answer), "COST_EXCEEDED", "{what}");
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(words), "{what}: {message}");
    }
    let within = edge
        .ask(None, "{ products { nodes { a: sku } } }", json!({}))
        .await;
    assert_eq!(within["errors"], Value::Null);
    edge.stop().await;
}

#[tokio::test]
async fn a_page_costs_as_often_as_it_is_long() {
    let edge = edge(&[]).await;
    // Each page within its limit, together over that of a request.
    let pages: String = (0..20)
        .map(|n| format!("p{n}: products(first: 100) {{ nodes {{ id sku name }} }} "))
        .collect();
    let answer = edge.ask(None, &format!("{{ {pages} }}"), json!({})).await;
    assert_eq!(code(&answer), "COST_EXCEEDED");
    for first in [0, 101, -1] {
        let query = format!("{{ products(first: {first}) {{ nodes {{ id }} }} }}");
        assert_eq!(code(&edge.ask(None, &query, json!({})).await), "BAD_USER_INPUT");
    }
    edge.stop().await;
}

#[tokio::test]
async fn a_viewer_who_asks_for_too_much_has_to_wait_and_nobody_else() {
    let edge = edge(&["--viewer-cost-limit=100", "--viewer-cost-per-second=1"]).await;
    let anna = edge.customer("anna");
    let standing = "{ viewer { rateLimit { limit remaining cost resetAt } } }";
    let answer = edge.ask_whole(Some(&anna), standing, json!({})).await;
    let limit = &answer["data"]["viewer"]["rateLimit"];
    let cost = limit["cost"].as_i64().unwrap();
    assert_eq!((limit["limit"].as_i64(), cost > 0), (Some(100), true), "{answer}");
    assert_eq!(limit["remaining"].as_i64(), Some(100 - cost));
    let told = &answer["extensions"]["cost"];
    assert_eq!(told["requestedQueryCost"].as_i64(), Some(cost));
    let throttle = json!({ "maximumAvailable": 100, "currentlyAvailable": 100 - cost, "restoreRate": 1 });
    assert_eq!(told["throttleStatus"], throttle);

    let page = "{ products(first: 30) { nodes { id sku } } }";
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(edge.ask(Some(&anna), page, json!({})).await);
    }
    let refused = answers.last().unwrap();
    assert_eq!(code(refused), "RATE_LIMITED");
    let extensions = &refused["errors"][0]["extensions"];
    assert!(
        extensions["retryAfterMs"].as_u64().is_some_and(|wait| wait > 0),
        "{refused}"
    );
    assert_eq!(extensions["cost"]["throttleStatus"]["restoreRate"], 1);
    // Others, and who has no token, are not affected.
    for token in [Some(edge.customer("ben")), None] {
        let answer = edge.ask(token.as_deref(), page, json!({})).await;
        assert_eq!(answer["errors"], Value::Null);
    }
    edge.stop().await;
}
