//! Purchases as their customers see them.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use super::{
    authorization::{Requires, auth},
    failure::Failure,
    ids,
    operator::{self, AuditEntryObject},
    order::{OrderObject, PaymentObject},
    product::ProductObject,
    reader::Reader,
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
        self.0.steps.iter().cloned().map(StepObject).collect()
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
        let order = ctx.data_unchecked::<Arc<Reader>>().order(&self.0).await?;
        Ok(order
            .map(|order| OrderObject::of(order, self.clone()))
            .transpose()?)
    }

    /// Attempts to take money; null while the payments cannot be asked.
    async fn payments(&self, ctx: &Context<'_>) -> Result<Option<Vec<PaymentObject>>, Failure> {
        let payments = ctx.data_unchecked::<Arc<Reader>>().payments(&self.0).await?;
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
        Some(CustomerObject {
            id: ids::customer(&self.0.customer),
        })
    }
}

/// Who bought.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Customer")]
pub(crate) struct CustomerObject {
    /// Opaque.
    id: ID,
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
pub(crate) struct StepObject(Step);

/// One step of a purchase.
#[Object(name = "PurchaseStep")]
impl StepObject {
    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn direction(&self) -> StepDirection {
        self.0.direction
    }

    async fn state(&self) -> StepState {
        self.0.state
    }

    async fn started_at(&self) -> Option<DateTime<Utc>> {
        self.0.started_at
    }

    async fn finished_at(&self) -> Option<DateTime<Utc>> {
        self.0.finished_at
    }

    /// From start to finish, in milliseconds.
    async fn duration_ms(&self) -> Option<i32> {
        let taken = self
            .0
            .finished_at?
            .signed_duration_since(self.0.started_at?)
            .num_milliseconds();
        Some(i32::try_from(taken).unwrap_or(i32::MAX))
    }

    async fn attempt(&self) -> i32 {
        self.0.attempt
    }

    async fn max_attempts(&self) -> i32 {
        self.0.max_attempts
    }

    async fn next_retry_at(&self) -> Option<DateTime<Utc>> {
        self.0.next_retry_at
    }

    /// The service that carries it out.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn service(&self) -> Option<&str> {
        Some(&self.0.service)
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
