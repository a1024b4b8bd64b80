//! The products that a load buys. It makes its own, so that it empties nobody's shelves and finds enough on them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use contracts::money::{Currency, Money};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    api::{self, User},
    target::Target,
};
use crate::token::Role;

/// Products with enough stock: so many that purchases seldom wait for the same row.
const PLENTIFUL: u32 = 32;

/// Products of which there is never enough.
const SCARCE: u32 = 2;

/// Units of a plentiful product: enough for the most purchases that a run makes, at the most units that each takes.
const PLENTY: i32 = 100_000_000;

/// Units of a scarce product. Nobody gets one, because everybody wants more.
pub(super) const FEW: i32 = 5;

/// How long making a product may take.
const CREATE_LIMIT: Duration = Duration::from_secs(30);

/// How long the catalogue may take to know the products: it hears of them by an event, or within a minute by itself.
const CATALOGUE_LIMIT: Duration = Duration::from_secs(90);

const CREATE: &str = "mutation($input: CreateProductInput!) {
    createProduct(input: $input) { product { id } userErrors { code message } } }";

const LOOK: &str = "query($id: ID!) { product(id: $id) { id } }";

/// The products, by their ids at the edge.
#[derive(Debug, Clone, Default)]
pub(super) struct Shop {
    /// Enough for everybody.
    pub plentiful: Vec<String>,
    /// Too few for anybody.
    pub scarce: Vec<String>,
}

/// Makes the products and waits until the catalogue knows them.
///
/// # Errors
/// When a product is refused, or the catalogue does not hear of it in time.
pub(super) async fn open(target: &Arc<Target>, run: &str) -> anyhow::Result<Shop> {
    let admin = User::new(target, &api::client()?, Role::Admin, format!("load-{run}-admin"));
    let mut shop = Shop::default();
    for number in 0..PLENTIFUL {
        // From 1.00 to 32.00: whatever is bought stays far below the payment limit of 1000.00.
        let price = Money::new(i64::from(100 * (number + 1)), Currency::EUR);
        shop.plentiful
            .push(create(&admin, &format!("LOAD-{run}-{number}"), price, PLENTY).await?);
    }
    for number in 0..SCARCE {
        let price = Money::new(100, Currency::EUR);
        shop.scarce
            .push(create(&admin, &format!("LOAD-{run}-FEW-{number}"), price, FEW).await?);
    }
    let deadline = Instant::now() + CATALOGUE_LIMIT;
    for id in shop.plentiful.iter().chain(&shop.scarce) {
        appears(&admin, id, deadline).await?;
    }
    Ok(shop)
}

async fn create(admin: &User, sku: &str, price: Money, stock: i32) -> anyhow::Result<String> {
    let input = json!({
        "idempotencyKey": contracts::ids::fresh(),
        "sku": sku,
        "name": format!("Load test {sku}"),
        "price": { "amount": price.decimal(), "currency": price.currency },
        "initialStock": stock,
    });
    let deadline = Instant::now() + CREATE_LIMIT;
    let answer = admin.ask(CREATE, &json!({ "input": input }), deadline).await;
    let answer = answer.context("the products for the load cannot be made")?;
    let payload = &answer.data["createProduct"];
    if let Some(error) = api::user_error(payload) {
        bail!("the product {sku} for the load is refused: {error}");
    }
    let id = payload["product"]["id"]
        .as_str()
        .context("a new product has no id")?;
    Ok(id.to_owned())
}

async fn appears(admin: &User, id: &str, deadline: Instant) -> anyhow::Result<()> {
    loop {
        let answer = admin.ask(LOOK, &json!({ "id": id }), deadline).await?;
        if !answer.data["product"].is_null() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!(
                "the catalogue has not heard of a new product for {} s",
                CATALOGUE_LIMIT.as_secs()
            );
        }
        sleep(Duration::from_millis(50)).await;
    }
}
