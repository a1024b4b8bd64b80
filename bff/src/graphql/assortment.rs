//! What staff do to products and their stock. Product-admin decides, and does it once for each key.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, MaybeUndefined};
use contracts::{
    http::{AdjustInventory, CreateProduct, ProductWritten, Restock, UpdateProduct},
    ids::ProductId,
    money::Money,
};
use uuid::Uuid;

use super::{
    failure::Failure,
    ids,
    mutation::{not_an_id, signed_in, unreachable_or_broken},
    payload::{ProductPayload, user_errors},
    product::ProductObject,
    scalars::MoneyInput,
};
use crate::{
    app::App,
    clients::ServiceError,
    domain::{Refusal, product::Product, words::ProductStatus},
    store::catalogue,
};

/// A new product.
#[derive(Debug, InputObject)]
pub(crate) struct CreateProductInput {
    idempotency_key: Uuid,
    /// Unique in any case: `lamp` is taken when there is `LAMP`.
    sku: String,
    name: String,
    description: Option<String>,
    price: MoneyInput,
    #[graphql(default)]
    initial_stock: i32,
}

/// Changes of a product. What is left out stays as it is.
#[derive(Debug, InputObject)]
pub(crate) struct UpdateProductInput {
    idempotency_key: Uuid,
    product_id: ID,
    /// The product's version that was looked at; another one is refused with VERSION_CONFLICT.
    expected_version: Option<i32>,
    name: Option<String>,
    /// Null takes the description away.
    description: MaybeUndefined<String>,
    price: Option<MoneyInput>,
    status: Option<ProductStatus>,
}

/// More units of a product.
#[derive(Debug, InputObject)]
pub(crate) struct RestockInput {
    idempotency_key: Uuid,
    product_id: ID,
    quantity: i32,
    reason: String,
}

/// A correction of a product's stock: what was counted is not what the books say.
#[derive(Debug, InputObject)]
pub(crate) struct AdjustInventoryInput {
    idempotency_key: Uuid,
    product_id: ID,
    /// Units to add or, below zero, to take away; not zero.
    delta: i32,
    /// The version of the inventory that was looked at; another one is refused with VERSION_CONFLICT.
    expected_version: i32,
    /// Kept with the movement.
    reason: String,
}

/// Makes a product.
pub(super) async fn create(ctx: &Context<'_>, input: CreateProductInput) -> Result<ProductPayload, Failure> {
    let app = ctx.data_unchecked::<Arc<App>>();
    let price = match price(app, input.price) {
        Ok(price) => price,
        Err(refusal) => return Ok(refused(vec![refusal])),
    };
    let request = CreateProduct {
        idempotency_key: input.idempotency_key,
        actor: signed_in(ctx)?.subject.0.clone(),
        sku: input.sku,
        name: input.name,
        description: input.description,
        price_minor: price.minor,
        currency: price.currency,
        initial_stock: input.initial_stock,
    };
    written(app, app.clients.create_product(&request).await).await
}

/// Changes a product.
pub(super) async fn update(ctx: &Context<'_>, input: UpdateProductInput) -> Result<ProductPayload, Failure> {
    let app = ctx.data_unchecked::<Arc<App>>();
    let product = match product(&input.product_id) {
        Ok(product) => product,
        Err(refusal) => return Ok(refused(vec![refusal])),
    };
    let price = match input.price.map(|wanted| price(app, wanted)).transpose() {
        Ok(price) => price,
        Err(refusal) => return Ok(refused(vec![refusal])),
    };
    let request = UpdateProduct {
        idempotency_key: input.idempotency_key,
        actor: signed_in(ctx)?.subject.0.clone(),
        expected_version: input.expected_version,
        name: input.name,
        description: match input.description {
            MaybeUndefined::Undefined => None,
            // Product-admin takes an empty one for none.
            MaybeUndefined::Null => Some(String::new()),
            MaybeUndefined::Value(text) => Some(text),
        },
        price,
        status: input.status.map(|status| status.as_str().to_owned()),
    };
    written(app, app.clients.update_product(product, &request).await).await
}

/// Adds units.
pub(super) async fn restock(ctx: &Context<'_>, input: RestockInput) -> Result<ProductPayload, Failure> {
    let app = ctx.data_unchecked::<Arc<App>>();
    let product = match product(&input.product_id) {
        Ok(product) => product,
        Err(refusal) => return Ok(refused(vec![refusal])),
    };
    let request = Restock {
        idempotency_key: input.idempotency_key,
        actor: signed_in(ctx)?.subject.0.clone(),
        quantity: input.quantity,
        reason: input.reason,
    };
    written(app, app.clients.restock(product, &request).await).await
}

/// Corrects the stock.
pub(super) async fn adjust(
    ctx: &Context<'_>,
    input: AdjustInventoryInput,
) -> Result<ProductPayload, Failure> {
    let app = ctx.data_unchecked::<Arc<App>>();
    let product = match product(&input.product_id) {
        Ok(product) => product,
        Err(refusal) => return Ok(refused(vec![refusal])),
    };
    let request = AdjustInventory {
        idempotency_key: input.idempotency_key,
        actor: signed_in(ctx)?.subject.0.clone(),
        delta: input.delta,
        expected_version: input.expected_version,
        reason: input.reason,
    };
    written(app, app.clients.adjust_inventory(product, &request).await).await
}

fn product(id: &ID) -> Result<ProductId, Refusal> {
    ids::as_product(id).ok_or_else(|| not_an_id("product", "productId"))
}

fn price(app: &App, wanted: MoneyInput) -> Result<Money, Refusal> {
    let currency = wanted.currency.0;
    let minor = app.shop.price(wanted.amount.0, currency)?;
    Ok(Money::new(minor, currency))
}

fn refused(refusals: Vec<Refusal>) -> ProductPayload {
    ProductPayload {
        product: None,
        user_errors: user_errors(refusals),
    }
}

/// The answer to a change of a product, which goes into the catalogue at once, so that who made it also reads it.
async fn written(
    app: &App,
    answer: Result<Result<ProductWritten, Vec<Refusal>>, ServiceError>,
) -> Result<ProductPayload, Failure> {
    let written = match answer {
        Ok(Ok(written)) => written,
        Ok(Err(refusals)) => return Ok(refused(refusals)),
        Err(error) => return Ok(refused(vec![unreachable_or_broken(error)?])),
    };
    let product = Product::try_from(written.product)?;
    let mut connection = app.pool.acquire().await?;
    catalogue::keep_newer(&mut connection, std::slice::from_ref(&product)).await?;
    Ok(ProductPayload {
        product: Some(ProductObject(product)),
        user_errors: Vec::new(),
    })
}
