use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::edge::{Around, Edge, code, product, product_id};

const PRODUCTS: &str = "{ products { nodes { id } } }";

async fn edge() -> Edge {
    Around::new().await.with_products(&[]).await.start().await
}

fn post(edge: &Edge, body: &Value) -> RequestBuilder {
    edge.http.post(edge.url("/graphql")).json(body)
}

async fn sent(request: RequestBuilder) -> (u16, String, Value) {
    let response: Response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (status, kind, response.json().await.unwrap())
}

#[tokio::test]
async fn nothing_that_a_foreign_pages_form_can_send_is_taken() {
    let lamp = product("LAMP", 1_000);
    let edge = Edge::selling(std::slice::from_ref(&lamp)).await;
    // Complete and allowed: only the way in which it comes is wrong.
    let buy = format!(
        "mutation {{ submitPurchase(input: {{ idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", lines: [{{ productId: {:?}, quantity: 1 }}], paymentMethodToken: \"tok_ok\" }}) {{ deduplicated }} }}",
        product_id(&lamp)
    );
    let token = edge.customer("anna");
    let body = json!({ "query": buy }).to_string();
    let part =
        format!("--x\r\ncontent-disposition: form-data; name=\"operations\"\r\n\r\n{body}\r\n--x--\r\n");
    let form = reqwest::Url::parse_with_params("http://localhost/", [("query", &buy)]).unwrap();
    let form = form.query().unwrap().to_owned();
    for at in ["/graphql", "/graphql/stream"] {
        for (kind, body) in [
            (Some("text/plain"), &body),
            (Some("text/plain; application/json"), &body),
            (Some("application/x-www-form-urlencoded"), &form),
            (Some("multipart/form-data; boundary=x"), &part),
            (Some("application/graphql"), &buy),
            (None, &body),
        ] {
            let request = edge
                .http
                .post(edge.url(at))
                .bearer_auth(&token)
                .body(body.clone());
            let request = match kind {
                Some(kind) => request.header("content-type", kind),
                None => request,
            };
            let (status, _, answer) = sent(request).await;
            assert_eq!(status, 415, "{at} {kind:?}: {answer}");
        }
        let by_get = edge
            .http
            .get(edge.url(at))
            .query_pairs(&[("query", &buy)])
            .bearer_auth(&token);
        let response = by_get.send().await.unwrap();
        assert_eq!(response.status(), 405, "{at}");
        assert_eq!(response.headers()["allow"], "POST");
    }
    let count = "select count(*) from submission";
    let bought: i64 = sqlx::query_scalar(count).fetch_one(&edge.pool()).await.unwrap();
    assert_eq!(bought, 0);
    let good = sent(post(&edge, &json!({ "query": buy })).bearer_auth(&token)).await;
    assert_eq!(
        good.2["data"]["submitPurchase"]["deduplicated"], false,
        "{}",
        good.2
    );
    edge.stop().await;
}

#[tokio::test]
async fn variables_that_cannot_be_coerced_make_no_well_formed_request() {
    let edge = edge().await;
    let page = "query ($n: Int!) { a: __typename products(first: $n) { nodes { id } } }";
    let buy = "mutation ($input: SubmitPurchaseInput!) { submitPurchase(input: $input) { deduplicated } }";
    let input =
        |key: &str| json!({ "input": { "idempotencyKey": key, "lines": [], "paymentMethodToken": "t" } });
    for (query, variables) in [
        (page, json!({})),
        (page, json!({ "n": null })),
        (page, json!({ "n": "1" })),
        (page, json!({ "n": 2_147_483_648_u64 })),
        (buy, input("no UUID")),
        (buy, json!({ "input": {} })),
        (
            "query ($s: [ProductStatus!]) { products(filter: { status: $s }) { nodes { id } } }",
            json!({ "s": ["GONE"] }),
        ),
    ] {
        let body = json!({ "query": query, "variables": variables });
        for (accept, expected) in [
            ("application/graphql-response+json", 400),
            ("application/json", 200),
        ] {
            let (status, _, answer) = sent(post(&edge, &body).header("accept", accept)).await;
            assert_eq!(
                (status, code(&answer)),
                (expected, "BAD_USER_INPUT"),
                "{body}: {answer}"
            );
            assert!(answer.get("data").is_none(), "{body}: {answer}");
        }
    }
    // What only the field can judge is the field's to refuse: it was carried out.
    let judged = json!({ "query": page, "variables": { "n": 0 } });
    let (status, _, answer) =
        sent(post(&edge, &judged).header("accept", "application/graphql-response+json")).await;
    assert_eq!((status, code(&answer)), (200, "BAD_USER_INPUT"), "{answer}");
    edge.stop().await;
}

#[tokio::test]
async fn one_request_at_a_time_in_the_agreed_form() {
    let edge = edge().await;
    let (status, _, answer) = sent(post(&edge, &json!([{ "query": PRODUCTS }]))).await;
    assert_eq!((status, code(&answer)), (400, "BAD_USER_INPUT"));
    for wrong in [
        json!({}),
        json!({ "query": 7 }),
        json!({ "query": PRODUCTS, "variables": "x" }),
        json!({ "query": PRODUCTS, "operationName": [] }),
        json!({ "query": PRODUCTS, "extensions": 1 }),
        json!("text"),
    ] {
        assert_eq!(sent(post(&edge, &wrong)).await.0, 400, "{wrong}");
    }
    let empty = json!({ "query": PRODUCTS, "variables": null, "operationName": null, "extensions": null });
    assert_eq!(sent(post(&edge, &empty)).await.0, 200);
    let not_json = edge
        .http
        .post(edge.url("/graphql"))
        .header("content-type", "application/json")
        .body("{");
    assert_eq!(sent(not_json).await.0, 400);
    let long = json!({ "query": PRODUCTS, "variables": { "a": "x".repeat(300_000) } });
    assert_eq!(sent(post(&edge, &long)).await.0, 413);
    let put = edge
        .http
        .request(Method::PUT, edge.url("/graphql"))
        .json(&json!({ "query": PRODUCTS }));
    assert_eq!(sent(put).await.0, 405);
    edge.stop().await;
}

#[tokio::test]
async fn queries_come_by_get_too() {
    let edge = edge().await;
    let request = edge.http.get(edge.url("/graphql")).query_pairs(&[
        (
            "query",
            "query ($n: Int) { products(first: $n) { nodes { id } } }",
        ),
        ("variables", "{\"n\": 3}"),
    ]);
    let (status, kind, answer) = sent(request).await;
    assert_eq!((status, kind.as_str()), (200, "application/json; charset=utf-8"));
    assert_eq!(answer["data"]["products"]["nodes"], json!([]));
    assert_eq!(sent(edge.http.get(edge.url("/graphql"))).await.0, 400);
    let wrong = edge
        .http
        .get(edge.url("/graphql"))
        .query_pairs(&[("query", PRODUCTS), ("variables", "x")]);
    assert_eq!(sent(wrong).await.0, 400);
    edge.stop().await;
}

#[tokio::test]
async fn the_media_type_is_the_clients_choice_and_decides_the_status() {
    let edge = edge().await;
    let new = "application/graphql-response+json";
    for (accept, kind, wrong_status) in [
        (new, "application/graphql-response+json; charset=utf-8", 400),
        ("application/json", "application/json; charset=utf-8", 200),
        ("*/*", "application/json; charset=utf-8", 200),
    ] {
        let good = sent(post(&edge, &json!({ "query": PRODUCTS })).header("accept", accept)).await;
        assert_eq!((good.0, good.1.as_str()), (200, kind));
        for wrong in [
            "{",
            "{ nothing }",
            "query a { __typename } query b { __typename }",
        ] {
            let (status, answered, answer) =
                sent(post(&edge, &json!({ "query": wrong })).header("accept", accept)).await;
            assert_eq!(
                (status, answered.as_str()),
                (wrong_status, kind),
                "{wrong}: {answer}"
            );
            assert_eq!(code(&answer), "BAD_USER_INPUT");
            assert!(answer.get("data").is_none(), "{answer}");
        }
        // A field that fails is no malformed request.
        let partly =
            sent(post(&edge, &json!({ "query": "{ viewer { id } }" })).header("accept", accept)).await;
        assert_eq!((partly.0, &partly.2["data"]), (200, &json!({ "viewer": null })));
    }
    let picky = post(&edge, &json!({ "query": PRODUCTS })).header("accept", "text/html");
    assert_eq!(sent(picky).await.0, 406);
    edge.stop().await;
}

#[tokio::test]
async fn a_request_that_asks_for_too_much_is_refused_before_it_is_carried_out() {
    let edge = edge().await;
    let aliases: String = (0..21)
        .map(|n| format!("a{n}: products {{ nodes {{ id }} }} "))
        .collect();
    let pages: String = (0..9)
        .map(|n| format!("a{n}: id b{n}: sku c{n}: name d{n}: version e{n}: status f{n}: availability "))
        .collect();
    let costly = format!("{{ products(first: 100) {{ nodes {{ {pages} }} }} }}");
    for query in [format!("{{ {aliases} }}"), costly] {
        assert_eq!(
            code(&edge.ask(None, &query, json!({})).await),
            "COST_EXCEEDED",
            "{query}"
        );
    }
    let answer = edge.ask(None, "{ __schema { types { fields { type { ofType { ofType { ofType { ofType { ofType { ofType { ofType { ofType { name } } } } } } } } } } } } }", json!({})).await;
    assert!(
        answer["errors"].is_null(),
        "introspection is not too deep: {answer}"
    );
    edge.stop().await;
}

#[tokio::test]
async fn the_playground_may_load_nothing_from_elsewhere() {
    let edge = edge().await;
    for page in [
        "/playground",
        "/playground/plain",
        "/playground/plain.js",
        "/playground/plain.css",
    ] {
        let response = edge.http.get(edge.url(page)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let text = response.text().await.unwrap();
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("src=\"//"),
            "{page}"
        );
    }
    for probe in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(
            edge.http.get(edge.url(probe)).send().await.unwrap().status(),
            200,
            "{probe}"
        );
    }
    edge.stop().await;
}

trait QueryPairs {
    fn query_pairs(self, pairs: &[(&str, &str)]) -> Self;
}

impl QueryPairs for RequestBuilder {
    fn query_pairs(self, pairs: &[(&str, &str)]) -> Self {
        let (client, request) = self.build_split();
        let mut request = request.unwrap();
        request.url_mut().query_pairs_mut().extend_pairs(pairs);
        RequestBuilder::from_parts(client, request)
    }
}

#[tokio::test]
async fn a_character_that_no_text_can_hold_is_refused_before_anything_is_done() {
    let edge = edge().await;
    let search = "query($text: String) { products(filter: { text: $text }) { nodes { id } } }";
    let cursor = "{ products(after: \"MQA\") { nodes { id } } }";
    for body in [
        json!({ "query": search, "variables": { "text": "rope\0" } }),
        json!({ "query": "{ product(sku: \"a\\u0000\") { id } }" }),
        json!({ "query": cursor }),
    ] {
        let (_, _, answer) = sent(post(&edge, &body)).await;
        assert_eq!(code(&answer), "BAD_USER_INPUT", "{body}: {answer}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn a_refusal_does_not_quote_the_whole_request() {
    let edge = edge().await;
    let deep = "{ a ".repeat(40_000);
    let (status, _, answer) = sent(post(&edge, &json!({ "query": deep }))).await;
    assert_eq!((status, code(&answer)), (200, "BAD_USER_INPUT"));
    assert!(
        answer.to_string().len() < 4_000,
        "{} bytes",
        answer.to_string().len()
    );
    edge.stop().await;
}

#[tokio::test]
async fn by_default_the_schema_is_shown_to_operators_alone() {
    let mut around = Around::new().await.with_products(&[]).await;
    around.flags.clear();
    let edge = around.start().await;
    let operator = edge.around.issuer.token("olga", &["operator"]);
    let schema = "{ __schema { queryType { name } } }";
    let shown = edge.ask(Some(&operator), schema, json!({})).await;
    assert_eq!(shown["data"]["__schema"]["queryType"]["name"], "Query");
    for token in [None, Some(edge.customer("anna"))] {
        let denied = edge.ask(token.as_deref(), schema, json!({})).await;
        assert_eq!(code(&denied), "FORBIDDEN");
        let guessed = edge.ask(token.as_deref(), "{ product { nam } }", json!({})).await;
        assert!(!guessed.to_string().contains("Did you mean"), "{guessed}");
    }
    let playground = edge.http.get(edge.url("/playground")).send().await.unwrap();
    assert_eq!(playground.status().as_u16(), 404);
    edge.stop().await;
}
