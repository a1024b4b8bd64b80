//! Goal: operators find purchases by what they are, and read the messages of one without what pays. Method: the routes on
//! real PostgreSQL, with messages as they arrive.

use contracts::{
    http::Purchases,
    operator::{Counted, OperatorViews, SagaMessages},
};
use serde_json::json;

use crate::{
    operator::get,
    orchestrator::{Bench, bench},
    purchase::tents,
};

async fn found(bench: &Bench, query: &str) -> Vec<uuid::Uuid> {
    let found: Purchases =
        serde_json::from_value(get(bench, &format!("/operator/search?{query}")).await).unwrap();
    let counted: Counted =
        serde_json::from_value(get(bench, &format!("/operator/count?{query}")).await).unwrap();
    if !query.contains("limit") && !query.contains("before") {
        assert_eq!(counted.total, Some(i64::try_from(found.purchases.len()).unwrap()));
    }
    found
        .purchases
        .into_iter()
        .map(|purchase| purchase.purchase_id.0)
        .collect()
}

#[tokio::test]
async fn purchases_are_found_by_what_they_are() {
    let bench = bench().await;
    let (first, mut second) = (tents(), tents());
    second.customer_id.0 = "bob & co".to_owned();
    second.lines[0].sku = "TENT-3".to_owned();
    for purchase in [&first, &second] {
        bench.handle(&[bench.submit(purchase).await]).await.unwrap();
    }
    bench.handle(&[bench.validated(&first).await]).await.unwrap();
    let (one, two) = (first.purchase_id.0, second.purchase_id.0);

    assert_eq!(found(&bench, "").await, [two, one], "newest first");
    assert_eq!(found(&bench, "limit=1").await, [two]);
    assert_eq!(found(&bench, &format!("before={two}")).await, [one]);
    assert_eq!(found(&bench, "customer=bob%20%26%20co").await, [two]);
    assert_eq!(found(&bench, "sku=TENT-2").await, [one]);
    assert_eq!(
        found(&bench, &format!("reference={}", second.reference)).await,
        [two]
    );
    assert_eq!(found(&bench, "step=validate-inventory").await, [two]);
    assert_eq!(found(&bench, "step=reserve-products").await, [one]);
    assert!(found(&bench, "step=nonsense").await.is_empty());
    assert_eq!(found(&bench, "states=RUNNING,STUCK").await, [one]);
    assert_eq!(found(&bench, "states=PENDING,RUNNING").await, [two, one]);
    assert!(found(&bench, "states=COMPLETED").await.is_empty());
    sqlx::query(
        "update saga set created_at = created_at - interval '1 hour', updated_at = updated_at - interval '1 minute'
         where id = $1",
    )
    .bind(one)
    .execute(&bench.pool())
    .await
    .unwrap();
    let now: i64 =
        sqlx::query_scalar("select (extract(epoch from now() - interval '30 minutes') * 1000000)::bigint")
            .fetch_one(&bench.pool())
            .await
            .unwrap();
    assert_eq!(found(&bench, &format!("created_after={now}")).await, [two]);
    assert_eq!(found(&bench, &format!("created_before={now}")).await, [one]);
    assert_eq!(found(&bench, "stuck_for_seconds=50").await, [one]);
    assert!(found(&bench, "stuck_for_seconds=5000").await.is_empty());
}

#[tokio::test]
async fn the_messages_of_a_saga_are_read_page_by_page_without_what_pays() {
    let bench = bench().await;
    let mut purchase = tents();
    purchase.note = Some("leave it with Mrs Miller".to_owned());
    let id = purchase.purchase_id;
    let mut submitted = bench.submit(&purchase).await;
    (submitted.partition, submitted.offset) = (3, 17);
    submitted.envelope.trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        .parse()
        .ok();
    let schema = i32::try_from(submitted.schema_id).unwrap();
    bench.handle(&[submitted]).await.unwrap();
    bench.handle(&[bench.validated(&purchase).await]).await.unwrap();

    let read = async |query: &str| {
        let path = format!("/operator/purchases/{id}/messages?{query}");
        let page: SagaMessages = serde_json::from_value(get(&bench, &path).await).unwrap();
        page.messages
    };
    let all = read("limit=100").await;
    let types: Vec<_> = all.iter().map(|message| message.message_type.as_str()).collect();
    assert_eq!(
        types,
        [
            "SubmitPurchase",
            "ValidateInventory",
            "PurchaseUpdated",
            "InventoryValidated",
            "ReserveProducts",
            "PurchaseUpdated",
        ]
    );
    let first = &all[0];
    assert_eq!(
        (
            first.topic.as_str(),
            first.partition,
            first.offset,
            first.schema_id
        ),
        ("purchase.commands.v1", Some(3), Some(17), Some(schema))
    );
    let content = first.payload.as_ref().unwrap();
    assert_eq!(content["payment_method_token"], "[redacted]");
    assert_eq!(content["note"], "[redacted]");
    assert_eq!(content["total_minor"], 59_900);
    let sent = &all[1];
    assert_eq!((sent.partition, sent.offset, sent.schema_id), (None, None, None));
    assert_eq!(sent.step.as_deref(), Some("validate-inventory"));
    assert_eq!(
        (sent.topic.as_str(), &all[2].payload),
        ("consolidator.commands.v1", &None)
    );

    let mut paged = Vec::new();
    let mut after = 0;
    loop {
        let page = read(&format!("limit=2&after={after}")).await;
        let Some(last) = page.last() else { break };
        after = last.place;
        paged.extend(page);
    }
    assert_eq!(paged, all);

    let views: OperatorViews =
        serde_json::from_value(get(&bench, &format!("/operator/purchases?ids={id}")).await).unwrap();
    assert_eq!(
        views.purchases[0].trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    let unknown = get(
        &bench,
        &format!("/operator/purchases/{}/messages", uuid::Uuid::nil()),
    )
    .await;
    assert_eq!(unknown, json!({ "messages": [] }));
}
