//! What the edge promises: one purchase per key, live updates, nobody else's purchases.

use contracts::ids::fresh;
use e2e::World;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_purchase_and_other_content_is_refused() {
    let world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    let key = fresh();
    let lines = [(rope.as_str(), 1)];
    let (first, second) = tokio::join!(
        alice.submit_with(key, &lines, "tok_ok"),
        alice.submit_with(key, &lines, "tok_ok")
    );
    assert_eq!(
        first["purchase"]["id"], second["purchase"]["id"],
        "twice at once gives one purchase"
    );
    let flags = [&first["deduplicated"], &second["deduplicated"]];
    assert!(
        flags.contains(&&json!(true)) && flags.contains(&&json!(false)),
        "{flags:?}"
    );
    let id = first["purchase"]["id"].as_str().unwrap();
    assert_eq!(alice.ended(id).await["state"], "COMPLETED");
    let later = alice.submit_with(key, &lines, "tok_ok").await;
    assert_eq!(later["purchase"]["id"], first["purchase"]["id"]);
    assert_eq!(
        later["purchase"]["state"], "COMPLETED",
        "the same key answers the current state"
    );
    let other = alice.submit_with(key, &[(&rope, 2)], "tok_ok").await;
    assert_eq!(other["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    // The key is the customer's own: another's same key is another purchase.
    let bob = world.customer("bob").submit_with(key, &lines, "tok_ok").await;
    assert_ne!(bob["purchase"]["id"], first["purchase"]["id"]);
    world
        .customer("bob")
        .ended(bob["purchase"]["id"].as_str().unwrap())
        .await;
    assert_eq!(
        world.count("purchase-manager", "select count(*) from saga").await,
        2
    );
    world.audit_is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_begins_with_the_current_state_and_ends_at_a_terminal_one() {
    let mut world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    world.system().stop_service("orders").await.unwrap();
    let id = alice.submit(&[(&rope, 1)], "tok_ok").await;
    let mut updates = alice.watch(&id).await;
    world.system().start_service("orders").await.unwrap();
    let mut versions = Vec::new();
    let mut last = json!(null);
    while let Some(data) = updates.next().await {
        versions.push(data["purchaseUpdated"]["version"].as_i64().unwrap());
        last = data["purchaseUpdated"]["state"].clone();
    }
    assert_eq!(last, "COMPLETED");
    assert!(
        versions.is_sorted_by(|a, b| a < b),
        "each version once and newer than the one before: {versions:?}"
    );
    // One that comes late gets the end at once.
    let mut late = alice.watch(&id).await;
    assert_eq!(
        late.next().await.unwrap()["purchaseUpdated"]["state"],
        "COMPLETED"
    );
    assert_eq!(late.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_customers_purchase_is_like_an_unknown_one() {
    let world = World::start().await;
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    let id = world.customer("alice").submit(&[(&rope, 1)], "tok_ok").await;
    let bob = world.customer("bob");
    assert_eq!(bob.purchase(&id).await, json!(null));
    assert_eq!(bob.cancel(&id).await["userErrors"][0]["code"], "NOT_FOUND");
    assert_eq!(
        world.someone("olga", "operator").ended(&id).await["state"],
        "COMPLETED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_sees_their_purchases_newest_first() {
    let world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(alice.submit(&[(&rope, 1)], "tok_ok").await);
    }
    for id in &ids {
        alice.ended(id).await;
    }
    let query = "query($after: String) { viewer { purchases(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } } }";
    let page = alice.data(query, json!({})).await["viewer"]["purchases"].clone();
    assert_eq!(page["nodes"], json!([{ "id": ids[2] }, { "id": ids[1] }]));
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    let rest = alice
        .data(query, json!({ "after": page["pageInfo"]["endCursor"] }))
        .await;
    assert_eq!(rest["viewer"]["purchases"]["nodes"], json!([{ "id": ids[0] }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_all_of_it_and_what_was_told_to_whom() {
    let world = World::start().await;
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    let alice = world.customer("alice");
    let olga = world.someone("olga", "operator");
    let query = "subscription { myPurchasesUpdated { id state } }";
    let mut own = alice.follow(query, json!({})).await;
    let id = alice.submit(&[(&rope, 1)], "tok_ok").await;
    let mut last = json!(null);
    while last != "COMPLETED" {
        let update = own.next().await.unwrap()["myPurchasesUpdated"].clone();
        assert_eq!(update["id"], id.as_str());
        last = update["state"].clone();
    }
    let query = "query($filter: PurchaseFilter) { purchases(first: 2, filter: $filter) { totalCount nodes {
        id traceId customer { id } messages(first: 100) { nodes { type topic offset } } } } }";
    let found = olga
        .data(query, json!({ "filter": { "states": ["COMPLETED"] } }))
        .await["purchases"]
        .clone();
    assert_eq!(found["totalCount"], 1, "{found}");
    let purchase = &found["nodes"][0];
    assert_eq!(purchase["id"], id.as_str());
    let messages = purchase["messages"]["nodes"].as_array().unwrap();
    let of = |name: &str| messages.iter().filter(|message| message["type"] == name).count();
    assert_eq!(
        (of("SubmitPurchase"), of("CreateOrder"), of("OrderCreated")),
        (1, 1, 1)
    );
    assert!(of("PurchaseUpdated") >= 2, "{messages:?}");
    assert!(messages[0]["offset"].is_string(), "it was received");

    let orders = alice
        .data(
            "{ viewer { orders { nodes { id number purchase { id } } } } }",
            json!({}),
        )
        .await["viewer"]["orders"]["nodes"]
        .clone();
    assert_eq!(orders[0]["purchase"]["id"], id.as_str(), "{orders}");
    let one = "query($id: ID!) { order(id: $id) { number } }";
    let variables = json!({ "id": orders[0]["id"] });
    assert_eq!(
        alice.data(one, variables.clone()).await["order"]["number"],
        orders[0]["number"]
    );
    assert_eq!(
        world.customer("bob").data(one, variables).await["order"],
        json!(null)
    );

    let services = olga.data("{ services { name health detail } }", json!({})).await["services"].clone();
    let services = services.as_array().unwrap();
    assert_eq!(services.len(), 7, "{services:?}");
    assert!(
        services.iter().all(|service| service["health"] == "UP"),
        "{services:?}"
    );
    let groups = olga.data("{ consumerGroups { name topic } }", json!({})).await["consumerGroups"].clone();
    let told: std::collections::BTreeSet<(String, String)> = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            let word = |field: &str| group[field].as_str().unwrap().to_owned();
            (word("name"), word("topic"))
        })
        .collect();
    let declared = contracts::traffic::TRAFFIC
        .iter()
        .flat_map(|traffic| traffic.reads)
        .filter(|reading| reading.keeps_offsets)
        .flat_map(|reading| {
            let topics = reading.topics.iter();
            topics.map(|topic| (reading.group.to_owned(), (*topic).to_owned()))
        })
        .collect();
    assert_eq!(told, declared);
    let letters = olga
        .data("{ deadLetters { nodes { id } unavailable } }", json!({}))
        .await;
    assert_eq!(letters["deadLetters"], json!({ "nodes": [], "unavailable": [] }));
}
