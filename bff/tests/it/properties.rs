//! Whatever is asked, in the schema's words or against them, is answered as the specification and the schema say.
//!
//! Method: operations drawn from the SDL are sent as different viewers, to an edge whose services know a little, and are
//! away for the rest. Each is also spoilt in one place. Bounded by the number of cases. `BELAY_PROPERTY_SEED` chooses the
//! first case, `BELAY_PROPERTY_CASES` how many there are; a failure names the seed of its case.

use std::time::Duration;

use contracts::{
    http::{InventoryLevel, Movement, Order, Payment},
    ids::{CustomerId, OrderId, PaymentId, PurchaseId},
    money::Currency,
    product_admin::ProductChanged,
    purchase_manager::{PurchaseFailureView, PurchaseStepView, PurchaseUpdated},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method, path_regex},
};

use crate::{
    documents::{Draw, Operation, Schema},
    edge::{Edge, SOON, product, product_id, purchase, purchase_id},
};

const SEED: u64 = 0x00be_1a00;
const CASES: u64 = 300;
const AT: i64 = 1_700_000_000_000_000;

/// What may be in `extensions.code`. `INTERNAL` would be our own fault.
const CODES: [&str; 7] = [
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "BAD_USER_INPUT",
    "COST_EXCEEDED",
    "RATE_LIMITED",
    "TIMEOUT",
    "UNAVAILABLE",
];

fn number(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}"))
    })
}

/// What was wrong, each with how to have it again.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    /// Looks at one answer. What is wrong is kept, so that one run tells of all.
    fn look(&mut self, seed: u64, asked: &Value, status: u16, answer: &Value, check: impl FnOnce()) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err() {
            let again = format!("BELAY_PROPERTY_SEED={seed} BELAY_PROPERTY_CASES=1");
            self.0
                .push(format!("{again} asks again:\n{asked}\n{status} {answer}"));
        }
    }
}

/// Sends a request and gives status and answer, which is never a failure of the server.
async fn send(edge: &Edge, viewer: Option<&str>, body: &Value) -> (u16, Value) {
    let request = edge.http.post(edge.url("/graphql")).json(body);
    let request = request.header("accept", "application/graphql-response+json");
    let request = match viewer {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert!(status < 500, "{status}: {:?}", response.text().await);
    (status, response.json().await.unwrap())
}

/// How long a live stream may have nothing to tell before the next case is tried. It decides how much is looked at, not what is right.
const SILENCE: Duration = Duration::from_millis(250);

/// The results of a subscription, as far as they come at once; the refusal of one that does not begin.
async fn results(edge: &Edge, viewer: Option<&str>, body: &Value) -> Vec<(u16, Value)> {
    let request = edge.http.post(edge.url("/graphql/stream")).json(body);
    let request = match viewer {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let mut response = tokio::time::timeout(SOON, request.send())
        .await
        .expect("an answer")
        .unwrap();
    let status = response.status().as_u16();
    assert!(status < 500, "{status}");
    let mut text = Vec::new();
    // Some end by themselves, because the only purchase has ended; others go on as long as somebody listens.
    while let Ok(Some(more)) = tokio::time::timeout(SILENCE, response.chunk())
        .await
        .unwrap_or(Ok(None))
    {
        text.extend(more);
    }
    let text = String::from_utf8(text).unwrap();
    if let Ok(refused) = serde_json::from_str(&text) {
        return vec![(status, refused)];
    }
    assert_eq!(status, 200, "{text}");
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.filter_map(|line| serde_json::from_str(line.trim()).ok())
        .map(|answer| (200, answer))
        .collect()
}

async fn knows(server: &MockServer, at: &str, body: Value) {
    Mock::given(method("GET"))
        .and(path_regex(format!("^{at}$")))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(server)
        .await;
}

fn told(id: PurchaseId) -> PurchaseUpdated {
    PurchaseUpdated {
        steps: vec![PurchaseStepView {
            name: "reserve-products".to_owned(),
            participant: "product-admin".to_owned(),
            direction: "FORWARD".to_owned(),
            state: "FAILED".to_owned(),
            attempt: 1,
            max_attempts: 8,
            started_at: Some(AT),
            finished_at: Some(AT + 5_000),
            next_retry_at: None,
        }],
        failure: Some(PurchaseFailureView {
            code: "INSUFFICIENT_STOCK".to_owned(),
            message: "There is too little of it.".to_owned(),
            step: None,
        }),
        ..purchase(id, "anna", 3, "REJECTED")
    }
}

/// An edge that knows these products and this purchase, with everything that belongs to it.
pub async fn edge(products: &[ProductChanged], id: PurchaseId) -> Edge {
    let edge = Edge::selling(products).await;
    let around = &edge.around;
    for server in [
        &around.purchase_manager,
        &around.product_admin,
        &around.orders,
        &around.payments,
    ] {
        server.reset().await;
    }
    let customer = CustomerId("anna".to_owned());
    let order = Order {
        order_id: OrderId(id.0),
        purchase_id: id,
        customer_id: customer.clone(),
        number: "O-1".to_owned(),
        state: "PLACED".to_owned(),
        total_minor: 2_000,
        currency: Currency::EUR,
        placed_at: AT,
    };
    let payment = Payment {
        payment_id: PaymentId(id.0),
        purchase_id: id,
        customer_id: customer,
        state: "DECLINED".to_owned(),
        amount_minor: 2_000,
        currency: Currency::EUR,
        method_label: "Visa".to_owned(),
        decline_message: Some("No.".to_owned()),
        updated_at: AT,
    };
    let level = |product: &ProductChanged| InventoryLevel {
        product_id: product.product_id,
        on_hand: 5,
        reserved: 2,
        available: 3,
        version: 4,
        updated_at: AT,
    };
    let movement = Movement {
        movement_id: id.0,
        delta: -1,
        reason: "lost".to_owned(),
        actor: "olga".to_owned(),
        purchase_id: Some(id),
        at: AT,
    };
    let view = json!({ "purchase_id": id, "version": 3, "allowed_actions": ["COMPENSATE"], "errors": [],
        "audit": [{ "action": "retry", "actor": "olga", "reason": "why not", "at": AT }] });
    let inventory: Vec<_> = products.iter().map(level).collect();
    knows(
        &around.purchase_manager,
        "/purchases",
        json!({ "purchases": [told(id)] }),
    )
    .await;
    knows(
        &around.purchase_manager,
        "/operator/purchases",
        json!({ "purchases": [view] }),
    )
    .await;
    knows(
        &around.product_admin,
        "/products/changes",
        json!({ "products": products }),
    )
    .await;
    knows(
        &around.product_admin,
        "/inventory",
        json!({ "inventory": inventory }),
    )
    .await;
    knows(
        &around.product_admin,
        "/products/[^/]+/movements",
        json!({ "movements": [movement] }),
    )
    .await;
    knows(&around.orders, "/orders", json!({ "orders": [order] })).await;
    knows(&around.payments, "/payments", json!({ "payments": [payment] })).await;
    for server in [
        &around.purchase_manager,
        &around.product_admin,
        &around.orders,
        &around.payments,
    ] {
        knows(server, "/parked", json!({ "parked": [], "more": false })).await;
        // For everything else they are away.
        Mock::given(any())
            .respond_with(ResponseTemplate::new(503))
            .mount(server)
            .await;
    }
    edge
}

/// The `errors` of an answer, each checked: a code, a text, and a null or nothing where it says.
fn check_errors(answer: &Value) {
    let Some(errors) = answer.get("errors") else {
        return;
    };
    let errors = errors.as_array().expect("errors are a list");
    assert!(!errors.is_empty(), "errors that are there are some");
    for error in errors {
        let code = error["extensions"]["code"].as_str().unwrap_or_default();
        assert!(CODES.contains(&code), "the code of {error}");
        assert!(
            error["message"].as_str().is_some_and(|text| !text.is_empty()),
            "the message of {error}"
        );
        let mut at = &answer["data"];
        for step in error["path"].as_array().into_iter().flatten() {
            at = match step {
                Value::String(key) => &at[key],
                index => &at[usize::try_from(index.as_u64().expect("an index")).unwrap()],
            };
            if at.is_null() {
                break;
            }
        }
        assert!(at.is_null(), "a field failed and is {at}: {error}");
    }
}

/// What an operation of the schema must be answered.
fn check_good(schema: &Schema, root: &str, operation: &Operation, status: u16, answer: &Value) {
    check_errors(answer);
    if answer.get("data").is_none() {
        // Whoever draws may draw too much, at once or in the long run.
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        assert!(matches!(code, Some("COST_EXCEEDED" | "RATE_LIMITED")), "{code:?}");
        assert!((400..500).contains(&status), "{status}");
        return;
    }
    assert_eq!(status, 200);
    let data = answer.get("data").expect("what is carried out has data");
    if data.is_null() {
        assert!(answer.get("errors").is_some(), "no data and no errors");
        return;
    }
    let breach = schema.breach_of_object(data, root, &operation.picked, "data");
    assert_eq!(breach, None);
}

/// An operation that no schema takes, made of a good one.
fn spoilt(random: &mut StdRng, good: &Operation) -> Value {
    let document = &good.document;
    let mut body = json!({ "query": document, "variables": good.variables });
    let last = document.rfind('}').expect("a selection");
    let with = |text: &str| format!("{}{text} }}", &document[..last]);
    let query = match random.gen_range(0..13) {
        0 => with("noSuchField"),
        1 => with("__schema { types(no: 1) { name } }"),
        2 => with("__schema { types { name { deeper } } }"),
        3 => with("...nowhere"),
        4 => with("... on NoSuchType { __typename }"),
        5 => with("__typename @nonsense"),
        11 => with("__typename { deeper }"),
        12 => with("__typename(no: 1)"),
        6 => document[..last].to_owned(),
        7 => document.replacen("Drawn", "Drawn Drawn", 1),
        8 => format!("{document} query Drawn {{ __typename }}"),
        9 => format!("{document} fragment unused on Query {{ __typename }}"),
        _ => {
            body["operationName"] = json!("Another");
            document.clone()
        }
    };
    body["query"] = query.into();
    body
}

#[tokio::test]
async fn whatever_is_asked_is_answered_as_the_schema_says() {
    let products = [product("LAMP", 1_000), product("ROPE-1", 2_500)];
    let id = PurchaseId(uuid::Uuid::from_u128(0x0192_f0c4_0000_7000_8000_0000_0000_0001));
    let edge = edge(&products, id).await;
    let schema = Schema::of(&bff::sdl());
    let ids: Vec<String> = products
        .iter()
        .map(product_id)
        .chain([purchase_id(id), "eA".to_owned()])
        .collect();
    let token = |name: &str, role: &str| Some(edge.around.issuer.token(name, &[role]));
    let viewers = [
        None,
        token("anna", "customer"),
        token("olga", "operator"),
        token("ada", "admin"),
    ];
    let first = number("BELAY_PROPERTY_SEED", SEED);
    let mut carried_out = 0;
    let mut failures = Failures::default();
    for seed in first..first + number("BELAY_PROPERTY_CASES", CASES) {
        let random = &mut StdRng::seed_from_u64(seed);
        let viewer = viewers[random.gen_range(0..viewers.len())].as_deref();
        let (keyword, root) = match random.gen_range(0..10) {
            0..=6 => ("query", "Query"),
            7 | 8 => ("mutation", "Mutation"),
            _ => ("subscription", "Subscription"),
        };
        let good = Draw::new(&schema, random, &ids).operation(keyword, root);
        let body = json!({ "query": good.document, "variables": good.variables });
        let answers = if keyword == "subscription" {
            results(&edge, viewer, &body).await
        } else {
            vec![send(&edge, viewer, &body).await]
        };
        for (status, answer) in answers {
            let check = || check_good(&schema, root, &good, status, &answer);
            failures.look(seed, &body, status, &answer, check);
            carried_out += u32::from(answer.get("data").is_some_and(Value::is_object));
        }
        let bad = spoilt(random, &good);
        let (status, answer) = send(&edge, viewer, &bad).await;
        let check = || {
            check_errors(&answer);
            assert!((400..500).contains(&status), "{status}");
            assert!(answer.get("errors").is_some() && answer.get("data").is_none());
        };
        failures.look(seed, &bad, status, &answer, check);
    }
    let Failures(failures) = failures;
    assert!(
        failures.is_empty(),
        "{} failures, the first ones:\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n")
    );
    assert!(carried_out > 0, "nothing was carried out");
    edge.stop().await;
}
