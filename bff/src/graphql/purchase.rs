//! Purchases as their customers see them.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use contracts::{ids::PurchaseId, operator::StepError};

use super::{
    authorization::{Requires, auth},
    customer::CustomerObject,
    failure::Failure,
    ids,
    operator::{self, AuditEntryObject},
    order::{OrderObject, PaymentObject},
    paging::{self, Page},
    product::ProductObject,
    reader::Reader,
    saga_message::{self, SagaMessageObject},
    scalars::MoneyObject,
};
use crate::{
    auth::{Role, Viewer},
    domain::{
        purchase::{Failure as PurchaseFailure, Line, Purchase, Step},
        words::{PurchaseAction, PurchaseState, StepDirection, StepState, UserErrorCode},
    },
};

/// Customer-visible projection of one saga.
#[derive(Debug, Clone)]
pub(crate) struct PurchaseObject(pub Arc<Purchase>);

/// Customer-visible projection of one saga.
#[Object(name = "Purchase")]
impl PurchaseObject {
    /// Opaque.
    pub(crate) async fn id(&self) -> ID {
        ids::purchase(self.0.id)
    }

    /// Short human code for support, e.g. P-7F3K2QX.
    async fn reference(&self) -> &str {
        &self.0.reference
    }

    async fn state(&self) -> PurchaseState {
        self.0.state
    }

    /// Monotonic; clients drop any update whose version is not newer.
    async fn version(&self) -> i32 {
        self.0.version
    }

    async fn lines(&self) -> Vec<LineObject> {
        self.0.lines.iter().cloned().map(LineObject).collect()
    }

    async fn total(&self) -> MoneyObject {
        self.0.total.into()
    }

    /// Home deliveries overtake store pick-ups when a backlog builds.
    async fn home_delivery(&self) -> bool {
        self.0.home_delivery
    }

    async fn steps(&self) -> Vec<StepObject> {
        let purchase = self.0.id;
        let steps = self.0.steps.iter().cloned();
        steps.map(|step| StepObject { purchase, step }).collect()
    }

    /// Why it was rejected or cancelled, in words a shopper understands.
    async fn failure(&self) -> Option<FailureObject> {
        self.0.failure.clone().map(FailureObject::from)
    }

    /// What this viewer may do now; drives the buttons.
    async fn allowed_actions(&self, ctx: &Context<'_>) -> Vec<PurchaseAction> {
        let viewer = ctx.data_unchecked::<Viewer>();
        let own = viewer.owns(&self.0.customer);
        let cancel = (own && self.0.can_be_cancelled()).then_some(PurchaseAction::Cancel);
        let staff = operator::allowed_actions(ctx, viewer, &self.0).await;
        cancel.into_iter().chain(staff).collect()
    }

    /// What people did with it, oldest first; null while purchase-manager does not know it.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn audit(&self, ctx: &Context<'_>) -> Result<Option<Vec<AuditEntryObject>>, Failure> {
        let view = ctx
            .data_unchecked::<Arc<Reader>>()
            .operator_view(self.0.id)
            .await?;
        Ok(view.map(|view| view.audit.into_iter().map(AuditEntryObject::from).collect()))
    }

    async fn order(&self, ctx: &Context<'_>) -> Result<Option<OrderObject>, Failure> {
        let order = ctx.data_unchecked::<Arc<Reader>>().order(self.0.id).await?;
        Ok(order.map(OrderObject::try_from).transpose()?)
    }

    /// Attempts to take money; null while the payments cannot be asked.
    async fn payments(&self, ctx: &Context<'_>) -> Result<Option<Vec<PaymentObject>>, Failure> {
        let payments = ctx.data_unchecked::<Arc<Reader>>().payments(self.0.id).await?;
        let payments = payments
            .into_iter()
            .map(PaymentObject::try_from)
            .collect::<Result<_, _>>()?;
        Ok(Some(payments))
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }

    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn customer(&self) -> Option<CustomerObject> {
        Some(CustomerObject(self.0.customer.clone()))
    }

    /// The trace in which it was submitted, as the collector of traces knows it; null while purchase-manager does not know the
    /// purchase, and when the trace was not told.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn trace_id(&self, ctx: &Context<'_>) -> Result<Option<String>, Failure> {
        let view = ctx
            .data_unchecked::<Arc<Reader>>()
            .operator_view(self.0.id)
            .await?;
        Ok(view.and_then(|view| view.trace_id))
    }

    /// By then it has ended or waits for an operator, whatever is away; null once it does.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn deadline_at(&self) -> Option<DateTime<Utc>> {
        self.0.deadline()
    }

    /// The commands, replies and events of its saga, oldest first; null while they cannot be asked for.
    #[graphql(
        guard = "Requires(Role::Operator)",
        directive = auth::apply(Role::Operator),
        complexity = "paging::cost(first, child_complexity)"
    )]
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Page<SagaMessageObject>>, Failure> {
        saga_message::page(ctx, self.0.id, first, after).await.map(Some)
    }
}

/// One product of a purchase, as it was when it was submitted.
#[derive(Debug)]
pub(crate) struct LineObject(Line);

/// One product of a purchase, as it was when it was submitted.
#[Object(name = "PurchaseLine")]
impl LineObject {
    /// The product as it is now; null when it is no longer on sale.
    async fn product(&self, ctx: &Context<'_>) -> Result<Option<ProductObject>, Failure> {
        Ok(ctx
            .data_unchecked::<Arc<Reader>>()
            .product(self.0.product)
            .await?
            .map(ProductObject))
    }

    async fn sku(&self) -> &str {
        &self.0.sku
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn quantity(&self) -> i32 {
        self.0.quantity
    }

    async fn unit_price(&self) -> MoneyObject {
        self.0.unit_price.into()
    }

    async fn total(&self) -> MoneyObject {
        self.0.total.into()
    }
}

/// One step of a purchase.
#[derive(Debug)]
pub(crate) struct StepObject {
    purchase: PurchaseId,
    step: Step,
}

/// One step of a purchase.
#[Object(name = "PurchaseStep")]
impl StepObject {
    async fn name(&self) -> &str {
        &self.step.name
    }

    async fn direction(&self) -> StepDirection {
        self.step.direction
    }

    async fn state(&self) -> StepState {
        self.step.state
    }

    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.step.started_at
    }

    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.step.finished_at
    }

    /// From start to finish, in milliseconds.
    async fn duration_ms(&self) -> Option<i32> {
        let taken = self
            .step
            .finished_at?
            .signed_duration_since(self.step.started_at?)
            .num_milliseconds();
        Some(i32::try_from(taken).unwrap_or(i32::MAX))
    }

    async fn attempt(&self) -> i32 {
        self.step.attempt
    }

    async fn max_attempts(&self) -> i32 {
        self.step.max_attempts
    }

    async fn next_retry_at(&self) -> Option<DateTime<Utc>> {
        self.step.next_retry_at
    }

    /// What went wrong with it, in the words of the machine.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn error(&self, ctx: &Context<'_>) -> Result<Option<String>, Failure> {
        let view = ctx
            .data_unchecked::<Arc<Reader>>()
            .operator_view(self.purchase)
            .await?;
        let of_this = |error: &StepError| {
            error.step == self.step.name && error.direction == self.step.direction.as_str()
        };
        Ok(view.and_then(|view| view.errors.into_iter().find(of_this).map(|found| found.error)))
    }

    /// The service that carries it out.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn service(&self) -> Option<&str> {
        Some(&self.step.service)
    }
}

/// Why a purchase was rejected or cancelled.
#[derive(Debug, SimpleObject)]
#[graphql(name = "PurchaseFailure")]
pub(crate) struct FailureObject {
    code: UserErrorCode,
    /// In words that a shopper understands.
    message: String,
    /// The step that said no.
    step: Option<String>,
}

impl From<PurchaseFailure> for FailureObject {
    fn from(failure: PurchaseFailure) -> Self {
        let PurchaseFailure { code, message, step } = failure;
        Self { code, message, step }
    }
}
