use std::collections::BTreeSet;

use serde_json::json;

use crate::edge::{Around, code};

/// The schema's text is committed, so that every change of it is seen in review. To renew it, run this test with
/// `BLESS=1`.
#[test]
fn the_committed_schema_is_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    let current = bff::sdl();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == current,
        "schema.graphql is not what the program serves; run this test with BLESS=1 and look at the difference"
    );
}

/// `Type.field` of every guarded field.
fn guarded() -> BTreeSet<String> {
    let mut holder = String::new();
    let mut found = BTreeSet::new();
    for line in bff::sdl().lines() {
        if let Some(rest) = line.strip_prefix("type ") {
            holder = rest.split([' ', '{']).next().unwrap().to_owned();
        }
        if line.contains("@auth(requires:") && !line.starts_with("directive") {
            let field = line.trim().split(['(', ':']).next().unwrap();
            found.insert(format!("{holder}.{field}"));
        }
    }
    found
}

#[tokio::test]
async fn whatever_shows_a_guard_has_one() {
    let roots = [
        ("Query.viewer", "{ viewer { id } }"),
        ("Query.purchase", "{ purchase(id: \"x\") { id } }"),
        (
            "Mutation.submitPurchase",
            "mutation { submitPurchase(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", lines: [], paymentMethodToken: \"t\" }) { deduplicated } }",
        ),
        (
            "Mutation.cancelPurchase",
            "mutation { cancelPurchase(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", purchaseId: \"x\" }) { effects } }",
        ),
        (
            "Mutation.createProduct",
            "mutation { createProduct(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", sku: \"s\", name: \"n\", price: { amount: \"1\", currency: \"EUR\" } }) { product { id } } }",
        ),
        (
            "Mutation.restockProduct",
            "mutation { restockProduct(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", productId: \"x\", quantity: 1, reason: \"r\" }) { product { id } } }",
        ),
        (
            "Mutation.updateProduct",
            "mutation { updateProduct(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", productId: \"x\", name: \"n\" }) { product { id } } }",
        ),
        (
            "Mutation.adjustInventory",
            "mutation { adjustInventory(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", productId: \"x\", delta: 1, expectedVersion: 1, reason: \"r\" }) { product { id } } }",
        ),
        ("Query.order", "{ order(id: \"x\") { id } }"),
        ("Query.purchases", "{ purchases { nodes { id } } }"),
        ("Query.services", "{ services { name } }"),
        ("Query.consumerGroups", "{ consumerGroups { name } }"),
        ("Query.deadLetters", "{ deadLetters { nodes { id } } }"),
        (
            "Mutation.retrySaga",
            "mutation { retrySaga(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", purchaseId: \"x\", expectedVersion: 1, reason: \"r\" }) { effects } }",
        ),
        (
            "Mutation.compensateSaga",
            "mutation { compensateSaga(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", purchaseId: \"x\", expectedVersion: 1, reason: \"r\" }) { effects } }",
        ),
        (
            "Mutation.resolveSaga",
            "mutation { resolveSaga(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", purchaseId: \"x\", expectedVersion: 1, reason: \"r\", outcome: MARK_CANCELLED }) { effects } }",
        ),
        (
            "Mutation.replayDeadLetters",
            "mutation { replayDeadLetters(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", ids: [], reason: \"r\" }) { deadLetters { id } } }",
        ),
        (
            "Mutation.discardDeadLetters",
            "mutation { discardDeadLetters(input: { idempotencyKey: \"0192f0c4-0000-7000-8000-000000000001\", ids: [], reason: \"r\" }) { deadLetters { id } } }",
        ),
    ];
    // Held by the tests of purchases, operators, products and the WebSocket.
    let elsewhere = [
        "Product.inventory",
        "Purchase.audit",
        "Purchase.customer",
        "Purchase.deadlineAt",
        "Purchase.messages",
        "Purchase.traceId",
        "PurchaseConnection.totalCount",
        "PurchaseStep.error",
        "SagaMessage.payload",
        "DeadLetter.payload",
        "PurchaseStep.service",
        "Subscription.deadLetterAdded",
        "Subscription.myPurchasesUpdated",
        "Subscription.purchaseUpdated",
        "Subscription.purchasesUpdated",
    ];
    let known: BTreeSet<String> = roots
        .iter()
        .map(|(name, _)| *name)
        .chain(elsewhere)
        .map(str::to_owned)
        .collect();
    assert_eq!(guarded(), known);

    let edge = Around::new().await.with_products(&[]).await.start().await;
    for (name, query) in roots {
        assert_eq!(
            code(&edge.ask(None, query, json!({})).await),
            "UNAUTHENTICATED",
            "{name}"
        );
    }
    edge.stop().await;
}
