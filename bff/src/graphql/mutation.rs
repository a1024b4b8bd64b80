//! What can be changed.
//!
//! Every mutation has an idempotency key. What the edge owns is deduplicated here ([`crate::submit`]); otherwise the key
//! is handed on to the service that makes the change.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object};
use contracts::http::CancelPurchase;
use mailbox::parked::settle::Action;
use uuid::Uuid;

use super::{
    RequestTrace,
    assortment::{self, AdjustInventoryInput, CreateProductInput, RestockInput, UpdateProductInput},
    authorization::{Requires, auth},
    dead_letter::{self, DeadLettersInput},
    failure::Failure,
    ids,
    operator::{self, ResolvePurchaseInput, SagaActionInput},
    payload::{DeadLettersPayload, ProductPayload, PurchasePayload, SubmitPurchasePayload, user_errors},
    purchase::PurchaseObject,
    reader::Reader,
    scalars::MoneyInput,
};
use crate::{
    app::App,
    auth::{Identity, Role, Viewer},
    clients::ServiceError,
    domain::{
        Refusal,
        pricing::{ExpectedPrice, LineRequest, MAX_NOTE_CHARACTERS, PurchaseRequest},
        purchase::Purchase,
        words::UserErrorCode,
    },
    store::submission::Submission,
    submit::{Submitted, submit},
};

/// One product to buy.
#[derive(Debug, InputObject)]
pub(crate) struct PurchaseLineInput {
    product_id: ID,
    /// Between 1 and 10000.
    quantity: i32,
    /// Refused with PRICE_CHANGED if the catalogue moved.
    expected_unit_price: Option<MoneyInput>,
}

/// What to buy.
#[derive(Debug, InputObject)]
pub(crate) struct SubmitPurchaseInput {
    /// Draw a new one for a new purchase; send the same one again when no answer came.
    idempotency_key: Uuid,
    /// Between 1 and 50, each with another product.
    lines: Vec<PurchaseLineInput>,
    #[graphql(secret)]
    payment_method_token: String,
    #[graphql(default)]
    home_delivery: bool,
    note: Option<String>,
}

/// What to take back.
#[derive(Debug, InputObject)]
pub(crate) struct CancelPurchaseInput {
    idempotency_key: Uuid,
    purchase_id: ID,
    reason: Option<String>,
}

/// A purchase that was submitted before, as it is now; none while nobody can say, when it is told as it was submitted.
async fn current(ctx: &Context<'_>, submission: &Submission) -> Option<Arc<Purchase>> {
    ctx.data_unchecked::<Arc<Reader>>()
        .purchase(submission.purchase)
        .await
        .ok()
        .flatten()
}

/// The root of mutations.
#[derive(Debug)]
pub(crate) struct Mutation;

/// What can be changed. Each change has an idempotency key, which is kept for 24 hours.
#[Object]
impl Mutation {
    /// Accepts and returns at once in PENDING; follow with purchaseUpdated or purchase(id).
    #[graphql(guard = "Requires(Role::Customer)", directive = auth::apply(Role::Customer))]
    async fn submit_purchase(
        &self,
        ctx: &Context<'_>,
        input: SubmitPurchaseInput,
    ) -> Result<Option<SubmitPurchasePayload>, Failure> {
        let app = ctx.data_unchecked::<Arc<App>>();
        let RequestTrace(trace) = *ctx.data_unchecked::<RequestTrace>();
        let key = input.idempotency_key;
        let submitted = submit(app, signed_in(ctx)?, key, input.into(), trace).await?;
        Ok(Some(match submitted {
            Submitted::Accepted {
                submission,
                deduplicated,
            } => {
                let current = if deduplicated {
                    current(ctx, &submission).await
                } else {
                    None
                };
                let purchase = match current {
                    Some(purchase) => purchase,
                    None => Arc::new(submission.pending()?),
                };
                SubmitPurchasePayload {
                    purchase: Some(PurchaseObject(purchase)),
                    deduplicated,
                    user_errors: Vec::new(),
                }
            }
            Submitted::Refused(refusals) => SubmitPurchasePayload {
                purchase: None,
                deduplicated: false,
                user_errors: user_errors(refusals),
            },
        }))
    }

    /// Takes an own purchase back, until its order is made.
    #[graphql(guard = "Requires(Role::Customer)", directive = auth::apply(Role::Customer))]
    async fn cancel_purchase(
        &self,
        ctx: &Context<'_>,
        input: CancelPurchaseInput,
    ) -> Result<Option<PurchasePayload>, Failure> {
        let outcome = cancel(ctx, input).await?;
        Ok(Some(match outcome {
            Ok((purchase, effects)) => PurchasePayload {
                purchase: purchase.map(|purchase| PurchaseObject(Arc::new(purchase))),
                effects,
                user_errors: Vec::new(),
            },
            Err(refusals) => PurchasePayload {
                purchase: None,
                effects: Vec::new(),
                user_errors: user_errors(refusals),
            },
        }))
    }

    /// Sends what a purchase in STUCK waits for again.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn retry_saga(
        &self,
        ctx: &Context<'_>,
        input: SagaActionInput,
    ) -> Result<Option<PurchasePayload>, Failure> {
        operator::act(ctx, "retry", input.into()).await.map(Some)
    }

    /// Rolls everything back, the order included.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn compensate_saga(
        &self,
        ctx: &Context<'_>,
        input: SagaActionInput,
    ) -> Result<Option<PurchasePayload>, Failure> {
        operator::act(ctx, "compensate", input.into()).await.map(Some)
    }

    /// Declares a purchase in STUCK ended, after things were put right by hand.
    #[graphql(guard = "Requires(Role::Admin)", directive = auth::apply(Role::Admin))]
    async fn resolve_saga(
        &self,
        ctx: &Context<'_>,
        input: ResolvePurchaseInput,
    ) -> Result<Option<PurchasePayload>, Failure> {
        operator::act(ctx, "resolve", input.into()).await.map(Some)
    }

    /// Has parked messages handled again, each with all that waits behind it, first come first. Soon, not at once: see `replaying`.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn replay_dead_letters(
        &self,
        ctx: &Context<'_>,
        input: DeadLettersInput,
    ) -> Result<Option<DeadLettersPayload>, Failure> {
        dead_letter::settle(ctx, Action::Replay, input).await.map(Some)
    }

    /// Has parked messages never handled. What merely waited behind them is handled.
    #[graphql(guard = "Requires(Role::Admin)", directive = auth::apply(Role::Admin))]
    async fn discard_dead_letters(
        &self,
        ctx: &Context<'_>,
        input: DeadLettersInput,
    ) -> Result<Option<DeadLettersPayload>, Failure> {
        dead_letter::settle(ctx, Action::Discard, input).await.map(Some)
    }

    /// Makes a product and puts it on sale.
    #[graphql(guard = "Requires(Role::Admin)", directive = auth::apply(Role::Admin))]
    async fn create_product(
        &self,
        ctx: &Context<'_>,
        input: CreateProductInput,
    ) -> Result<Option<ProductPayload>, Failure> {
        assortment::create(ctx, input).await.map(Some)
    }

    /// Changes a product's words, price or status. What is left out stays as it is.
    #[graphql(guard = "Requires(Role::Admin)", directive = auth::apply(Role::Admin))]
    async fn update_product(
        &self,
        ctx: &Context<'_>,
        input: UpdateProductInput,
    ) -> Result<Option<ProductPayload>, Failure> {
        assortment::update(ctx, input).await.map(Some)
    }

    /// Adds units to a product's stock.
    #[graphql(guard = "Requires(Role::Admin)", directive = auth::apply(Role::Admin))]
    async fn restock_product(
        &self,
        ctx: &Context<'_>,
        input: RestockInput,
    ) -> Result<Option<ProductPayload>, Failure> {
        assortment::restock(ctx, input).await.map(Some)
    }

    /// Corrects a product's stock after a count. Units that are promised to purchases cannot be taken away.
    #[graphql(guard = "Requires(Role::Admin)", directive = auth::apply(Role::Admin))]
    async fn adjust_inventory(
        &self,
        ctx: &Context<'_>,
        input: AdjustInventoryInput,
    ) -> Result<Option<ProductPayload>, Failure> {
        assortment::adjust(ctx, input).await.map(Some)
    }
}

impl From<SubmitPurchaseInput> for PurchaseRequest {
    fn from(input: SubmitPurchaseInput) -> Self {
        let line = |line: PurchaseLineInput| LineRequest {
            product: ids::as_product(&line.product_id),
            quantity: line.quantity,
            expected: line.expected_unit_price.map(|money| ExpectedPrice {
                amount: money.amount.0,
                currency: money.currency.0,
            }),
        };
        Self {
            lines: input.lines.into_iter().map(line).collect(),
            payment_method_token: input.payment_method_token,
            home_delivery: input.home_delivery,
            note: input.note,
        }
    }
}

async fn cancel(
    ctx: &Context<'_>,
    input: CancelPurchaseInput,
) -> Result<Result<(Option<Purchase>, Vec<String>), Vec<Refusal>>, Failure> {
    let Some(id) = ids::as_purchase(&input.purchase_id) else {
        return Ok(Err(vec![not_an_id("purchase", "purchaseId")]));
    };
    if input
        .reason
        .as_ref()
        .is_some_and(|reason| reason.chars().count() > MAX_NOTE_CHARACTERS)
    {
        let message = format!("A reason has at most {MAX_NOTE_CHARACTERS} characters. Shorten it.");
        return Ok(Err(vec![
            Refusal::new(UserErrorCode::Invalid, message).at(["reason"]),
        ]));
    }
    let reader = ctx.data_unchecked::<Arc<Reader>>();
    match reader.owns_purchase(id).await {
        Ok(true) => {}
        Ok(false) => {
            let refusal =
                Refusal::new(UserErrorCode::NotFound, "There is no such purchase.").at(["purchaseId"]);
            return Ok(Err(vec![refusal]));
        }
        Err(Failure::Unavailable(_)) => return Ok(Err(vec![cannot_be_reached()])),
        Err(failure) => return Err(failure),
    }
    let request = CancelPurchase {
        idempotency_key: input.idempotency_key,
        customer_id: signed_in(ctx)?.subject.clone(),
        reason: input.reason,
    };
    let cancelled = match ctx
        .data_unchecked::<Arc<App>>()
        .clients
        .cancel(id, &request)
        .await
    {
        Ok(Ok(cancelled)) => cancelled,
        Ok(Err(refusals)) => return Ok(Err(refusals)),
        Err(error) => return unreachable_or_broken(error).map(|refusal| Err(vec![refusal])),
    };
    let purchase = match cancelled.purchase {
        Some(told) => Some(Purchase::try_from(told)?),
        // Its submission is still on the way there, where the cancellation waits for it.
        None => reader
            .submission(id)
            .await?
            .map(|submission| submission.pending())
            .transpose()?,
    };
    Ok(Ok((purchase, cancelled.effects)))
}

pub(super) fn signed_in<'a>(ctx: &Context<'a>) -> Result<&'a Identity, Failure> {
    ctx.data_unchecked::<Viewer>()
        .identity()
        .ok_or_else(|| Failure::Internal(anyhow::anyhow!("a guard let a viewer without identity pass")))
}

pub(super) fn unreachable_or_broken(error: ServiceError) -> Result<Refusal, Failure> {
    match Failure::from(error) {
        Failure::Unavailable(_) => Ok(cannot_be_reached()),
        other => Err(other),
    }
}

fn cannot_be_reached() -> Refusal {
    Refusal::unavailable(
        "The service that does this does not answer. Try again with the same idempotency key.",
    )
}

pub(super) fn not_an_id(kind: &str, field: &str) -> Refusal {
    Refusal::new(UserErrorCode::Invalid, ids::no_id_text(kind)).at([field])
}
