//! One trace through the whole system, received as a trace store would.
//!
//! A program of its own, because the subscriber of traces is the process's: whoever shared it would be in the trace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod receiver;
mod tree;

use contracts::trace::TraceContext;
use e2e::{World, world::PATIENCE};
use host::telemetry::{self, Export, LogFormat, Telemetry};
use testkit::eventually;

use receiver::{Receiver, Span};
use tree::Tree;

/// Steps of the saga, each with its participant.
const STEPS: [(&str, &str); 6] = [
    ("consolidator", "validate-inventory"),
    ("product-admin", "reserve-products"),
    ("payments", "authorize-payment"),
    ("orders", "create-order"),
    ("product-admin", "confirm-reservation"),
    ("payments", "capture-payment"),
];

/// Who the customer is, which no span may tell.
const CUSTOMER: &str = "zenobia";

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_request_through_every_service() {
    let receiver = Receiver::start().await;
    let telemetry = telemetry::init(
        LogFormat::Json,
        "warn,librdkafka=off,rdkafka=off",
        Some(Export::to(receiver.url())),
    )
    .unwrap();
    let mut world = World::start().await;
    let admin = world.someone("ada", "admin");
    let rope = admin.create_product("Rope 60 m", "159.90", 5).await;
    let customer = world.customer(CUSTOMER);

    let bought = caller(1);
    let id = customer
        .clone()
        .within(&bought.to_string())
        .submit(&[(&rope, 2)], "tok_ok")
        .await;
    let purchase = customer.ended(&id).await;
    assert_eq!(purchase["state"], "COMPLETED", "{purchase}");
    let services: Vec<String> = world.info().services.keys().cloned().collect();
    let tree = arrived(&receiver, &telemetry, bought, |tree| missing(tree, &services)).await;
    a_trace_is_whole(&tree);
    the_way_is_unbroken(&tree);

    let looked = caller(2);
    let reader = customer.clone().within(&looked.to_string());
    reader.purchase(&id).await;
    let reads = ["GET /purchases", "GET /orders", "GET /payments"];
    let asked = arrived(&receiver, &telemetry, looked, |tree| {
        let read = |name: &&str| tree.spans().iter().filter(|span| span.name == **name).count() < 2;
        reads
            .iter()
            .filter(|name| read(name))
            .map(|name| (*name).to_owned())
            .collect()
    })
    .await;
    a_trace_is_whole(&asked);
    every_server_continues_a_client(&asked);

    world.stop().await;
    no_span_tells_who_the_customer_is(&receiver.spans());
    if let Some(path) = std::env::var_os("BELAY_TRACE_LISTING") {
        std::fs::write(path, tree.listing()).unwrap();
    }
    telemetry.flush().await;
}

/// A span of the client's, who traces too. Its ids are told apart by `number`.
fn caller(number: u64) -> TraceContext {
    TraceContext::new(contracts::ids::fresh().as_u128(), number, true).unwrap()
}

/// Waits until nothing is missing from the trace and nothing in it lacks its parent.
async fn arrived(
    receiver: &Receiver,
    telemetry: &Telemetry,
    caller: TraceContext,
    missing: impl Fn(&Tree) -> Vec<String>,
) -> Tree {
    let look = || {
        tokio::task::block_in_place(|| telemetry.flush_now()).unwrap();
        Tree::of(receiver.spans(), &caller.trace_id(), &caller.span_id())
    };
    let found = tokio::time::timeout(PATIENCE / 2, async {
        eventually("the trace arrives", PATIENCE, async || {
            let tree = look();
            (missing(&tree).is_empty() && tree.orphans().is_empty()).then_some(tree)
        })
        .await
    });
    match found.await {
        Ok(tree) => tree,
        Err(_) => {
            let tree = look();
            panic!(
                "missing: {:?}\norphans: {:#?}\n{}",
                missing(&tree),
                tree.orphans(),
                tree.listing()
            )
        }
    }
}

/// What a completed purchase leaves, by service and name, as far as it is not there.
fn missing(tree: &Tree, services: &[String]) -> Vec<String> {
    let mut expected = vec![
        ("bff", "POST /graphql", 1),
        ("bff", "mutation", 1),
        ("bff", "send purchase.commands.v1", 1),
        ("purchase-manager", "process purchase.commands.v1", 1),
        ("purchase-manager", "saga submitted", 1),
        ("purchase-manager", "saga reply_accepted", 6),
        ("purchase-manager", "process purchase.replies.v1", 6),
        ("bff", "process purchase.events.v1", 1),
        ("notifications", "process purchase.events.v1", 1),
        ("notifications", "send e-mail", 1),
    ];
    let topic = |kind: &str, service: &str| format!("{kind} {service}.commands.v1");
    let steps: Vec<(&str, String, String, String)> = STEPS
        .iter()
        .map(|(service, step)| {
            let step = format!("{step} forward");
            (*service, step, topic("send", service), topic("process", service))
        })
        .collect();
    for (service, step, send, process) in &steps {
        let commands = STEPS.iter().filter(|(other, _)| other == service).count();
        expected.push((service, step, 1));
        expected.push(("purchase-manager", send, commands));
        expected.push((service, process, commands));
        expected.push((service, "send purchase.replies.v1", commands));
        expected.push((service, "transaction", 1));
    }
    let mut missing: Vec<String> = expected
        .iter()
        .filter(|(service, name, least)| tree.count(service, name) < *least)
        .map(|(service, name, least)| format!("{least} × {name} of {service}"))
        .collect();
    let silent = |service: &&String| !tree.spans().iter().any(|span| span.service == **service);
    missing.extend(services.iter().filter(silent).cloned());
    missing
}

/// One root, which continues the caller; every span has its parent, and ends after it began.
fn a_trace_is_whole(tree: &Tree) {
    let roots: Vec<&Span> = tree
        .spans()
        .iter()
        .filter(|span| tree.parent(span).is_none())
        .collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert_eq!(roots[0].name, "POST /graphql");
    for span in tree.spans() {
        assert!(span.end_nanos >= span.start_nanos, "{span:?}");
        assert!(!span.failed, "{span:?}");
    }
}

/// From each message at its consumer one comes back to the request, over a send of the service that wrote it.
fn the_way_is_unbroken(tree: &Tree) {
    for span in tree
        .spans()
        .iter()
        .filter(|span| span.name.starts_with("process "))
    {
        let sent = tree.parent(span).expect("a message was sent");
        assert_eq!(sent.name, span.name.replacen("process", "send", 1));
        assert_eq!(
            sent.attribute("messaging.message.id"),
            span.attribute("messaging.message.id")
        );
        assert_eq!(
            sent.attribute("messaging.kafka.offset"),
            span.attribute("messaging.kafka.offset")
        );
        let written_in = tree.parent(sent).expect("a row was written in a span");
        assert_eq!(written_in.service, sent.service);
        let mut at = span;
        let mut hops = 0;
        while let Some(parent) = tree.parent(at) {
            at = parent;
            hops += 1;
            assert!(hops < 200, "the way back to the request has no end");
        }
        assert_eq!(at.service, "bff");
    }
    for (service, step) in STEPS {
        let name = format!("{step} forward");
        let done = tree
            .spans()
            .iter()
            .find(|span| span.service == service && span.name == name)
            .expect("the step was carried out");
        assert_eq!(done.attribute("belay.outcome"), "done");
        assert!(!done.attribute("belay.purchase.id").is_empty());
    }
}

fn every_server_continues_a_client(tree: &Tree) {
    let servers = tree.spans().iter().filter(|span| span.service != "bff");
    for server in servers.filter(|span| span.name.starts_with("GET ")) {
        let client = tree.parent(server).expect("somebody asked");
        assert_eq!((client.service.as_str(), &client.name), ("bff", &server.name));
        assert_eq!(server.attribute("http.response.status_code"), "200");
    }
}

fn no_span_tells_who_the_customer_is(spans: &[Span]) {
    for span in spans {
        for (name, value) in &span.attributes {
            assert!(!value.contains(CUSTOMER), "{name} of {span:?}");
            assert!(!value.contains("tok_ok"), "{name} of {span:?}");
        }
    }
}
