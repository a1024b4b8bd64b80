//! The playground in a browser. Goal: it works as it is served, under its own policy, and asks nobody else for anything.
//! Method: a real Chromium does what a person would, and everything that it asks for or complains about is looked at.

use contracts::{ids::ProductId, product_admin::ProductChanged, topics::PURCHASE_EVENTS};
use serde_json::{Value, json};

use crate::{
    browser::Page,
    edge::{Edge, answer, decoded, product, product_id, purchase},
};

/// The product that the example buys, as the seed has it.
const BOUGHT: &str = "be1a0000-0000-4000-8000-000000000015";

const ANSWER: &str = "document.querySelector('.graphiql-response .CodeMirror').CodeMirror.getValue()";

fn examples() -> Vec<(String, Value)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/playground/examples");
    let files = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut documents: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|kind| kind == "graphql"))
        .collect();
    documents.sort();
    let read = |file: std::path::PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        let variables =
            std::fs::read_to_string(file.with_extension("json")).unwrap_or_else(|_| "{}".to_owned());
        (text, serde_json::from_str(&variables).unwrap())
    };
    documents.into_iter().map(read).collect()
}

fn lamp() -> ProductChanged {
    ProductChanged {
        product_id: ProductId(BOUGHT.parse().unwrap()),
        ..product("LAMP-450", 2_490)
    }
}

#[tokio::test]
async fn every_example_is_a_request_that_the_schema_takes() {
    let edge = Edge::selling(&[lamp()]).await;
    let admin = edge.around.issuer.token("ada", &["admin"]);
    let examples = examples();
    assert!(examples.len() > 5);
    for (query, variables) in examples {
        assert!(query.starts_with("# "), "the first line is the name: {query}");
        if query.contains("\nsubscription ") {
            let asked = edge.http.post(edge.url("/graphql/stream")).bearer_auth(&admin);
            let body = json!({ "query": query, "variables": variables });
            let told = asked.json(&body).send().await.unwrap().text().await.unwrap();
            assert!(told.contains("\"path\":[\"purchaseUpdated\"]"), "{query}: {told}");
            continue;
        }
        // Carried out, whatever became of it: what the schema does not take has no data.
        let answer = edge.ask(Some(&admin), &query, variables).await;
        assert!(answer.get("data").is_some(), "{query}: {answer}");
    }
    edge.stop().await;
}

/// Clicks the example of this name.
async fn take(page: &mut Page, name: &str) {
    let button = format!(
        "[...document.querySelectorAll('.belay-examples button')].find((one) => one.textContent === {name:?})"
    );
    page.click(&button).await;
    page.sees(
        "document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.getValue()",
        name,
    )
    .await;
}

async fn run(page: &mut Page) {
    page.click("document.querySelector('.graphiql-execute-button')")
        .await;
}

/// All that the page asked for is the edge's, and it complained about nothing.
fn at_peace(page: &Page, edge: &Edge) {
    let own = [edge.url("/"), edge.url("/").replace("http", "ws")];
    for asked in &page.asked {
        let good = asked.starts_with("data:") || own.iter().any(|origin| asked.starts_with(origin));
        assert!(good, "the page asked for {asked}");
    }
    assert_eq!(page.complaints, [""; 0]);
}

#[tokio::test]
#[ignore = "needs Chromium, and GraphiQL built in: `make test` runs it where both are (scripts/test)"]
async fn a_person_browses_buys_and_watches_in_graphiql() {
    let edge = Edge::selling(&[lamp()]).await;
    let mut page = Page::new().await;
    page.open(&edge.url("/playground")).await;
    page.sees("document.body.innerText", "Browse the catalogue").await;
    run(&mut page).await;
    page.sees(ANSWER, "The LAMP-450").await;
    // The schema came, and with it the documentation.
    page.click("document.querySelector('[aria-label=\"Show Documentation Explorer\"]')")
        .await;
    page.sees(
        "document.querySelector('.graphiql-plugin').innerText",
        "Subscription",
    )
    .await;
    page.click("document.querySelector('[aria-label=\"Show Examples\"]')")
        .await;

    take(&mut page, "My purchases").await;
    run(&mut page).await;
    page.sees(ANSWER, "UNAUTHENTICATED").await;
    page.click("document.querySelector('#token')").await;
    page.types(&edge.customer("anna")).await;
    take(&mut page, "Buy something").await;
    run(&mut page).await;
    let bought: Value = serde_json::from_str(&page.sees(ANSWER, "PENDING").await).unwrap();
    let id = &bought["data"]["submitPurchase"]["purchase"]["id"];

    let told = |version, state| purchase(decoded(id), "anna", version, state);
    let known = json!({ "purchases": [told(2, "RUNNING")] });
    answer(&edge.around.purchase_manager, "/purchases", known).await;
    take(&mut page, "Watch a purchase").await;
    let variables = json!({ "id": id }).to_string();
    page.value(&format!(
        "document.querySelector('.graphiql-editor-tool .CodeMirror').CodeMirror.setValue({variables:?})"
    ))
    .await;
    run(&mut page).await;
    page.sees(ANSWER, "RUNNING").await;
    edge.publish(PURCHASE_EVENTS, decoded(id).0, &told(3, "COMPLETED"))
        .await;
    page.sees(ANSWER, "COMPLETED").await;
    let picture = page.picture("playground").await;
    // What opens above the page keeps to the policy too.
    page.click("document.querySelector('[aria-label=\"Open settings dialog\"]')")
        .await;
    page.sees("document.querySelector('.graphiql-dialog').innerText", "Theme")
        .await;
    page.picture("settings").await;
    at_peace(&page, &edge);
    assert!(page.asked.iter().any(|asked| asked.starts_with("ws://")));
    let stored = page
        .value("JSON.stringify({ ...localStorage, ...sessionStorage })")
        .await;
    assert!(
        !stored.as_str().unwrap().contains("eyJ"),
        "the token is stored: {stored}"
    );
    assert!(picture.metadata().unwrap().len() > 10_000);
    edge.stop().await;
}

#[tokio::test]
#[ignore = "needs Chromium: `make test` runs it where it is (scripts/test)"]
async fn a_person_asks_and_follows_on_the_plain_page() {
    let edge = Edge::selling(&[lamp()]).await;
    let token = edge.customer("anna");
    let key = uuid::Uuid::from_u128(7);
    let line = json!([{ "productId": product_id(&lamp()), "quantity": 1 }]);
    let id = edge.submit(&token, key, line).await["purchase"]["id"].clone();
    let known = json!({ "purchases": [purchase(decoded(&id), "anna", 2, "COMPLETED")] });
    answer(&edge.around.purchase_manager, "/purchases", known).await;

    let mut page = Page::new().await;
    page.open(&edge.url("/playground/plain")).await;
    page.click("document.querySelector('button[type=submit]')").await;
    let shown = "document.querySelector('#answer').textContent";
    page.sees(shown, "The LAMP-450").await;
    page.click("document.querySelector('#token')").await;
    page.types(&token).await;
    let follow = format!("subscription {{ purchaseUpdated(id: {id}) {{ state }} }}");
    page.value(&format!("document.querySelector('#query').value = {follow:?}"))
        .await;
    page.click("document.querySelector('button[type=submit]')").await;
    page.sees(shown, "COMPLETED").await;
    page.picture("plain").await;
    at_peace(&page, &edge);
    edge.stop().await;
}
