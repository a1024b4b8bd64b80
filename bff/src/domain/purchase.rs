//! A purchase as its customer sees it.

use chrono::{DateTime, Utc};
use contracts::{
    ids::{CustomerId, ProductId, PurchaseId},
    money::Money,
    operator::BOUND_SECONDS,
    purchase_manager::{PurchaseFailureView, PurchaseLine, PurchaseStepView, PurchaseUpdated},
};

use super::{
    NotUnderstood, time,
    words::{PurchaseState, StepDirection, StepState, UserErrorCode},
};

/// The pivot of the saga: once it is commanded, there is no way back.
const PIVOT: &str = "create-order";

/// A purchase, from purchase-manager or, before that knows it, from its submission.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Purchase {
    pub id: PurchaseId,
    pub customer: CustomerId,
    pub reference: String,
    /// 0 before purchase-manager has told of it; grows with every visible change.
    pub version: i32,
    pub state: PurchaseState,
    pub lines: Vec<Line>,
    pub total: Money,
    pub home_delivery: bool,
    pub steps: Vec<Step>,
    pub failure: Option<Failure>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// One product of a purchase.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub product: ProductId,
    pub sku: String,
    pub name: String,
    pub quantity: i32,
    pub unit_price: Money,
    pub total: Money,
}

/// One step of the saga.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub name: String,
    /// The service that carries it out.
    pub service: String,
    pub direction: StepDirection,
    pub state: StepState,
    pub attempt: i32,
    pub max_attempts: i32,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub next_retry_at: Option<DateTime<Utc>>,
}

/// Why a purchase was rejected or cancelled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub code: UserErrorCode,
    pub message: String,
    pub step: Option<String>,
}

impl Purchase {
    /// Whether its customer may still have it taken back: until the pivot is commanded.
    pub fn can_be_cancelled(&self) -> bool {
        match self.state {
            PurchaseState::Pending => true,
            PurchaseState::Running => !self
                .steps
                .iter()
                .any(|step| step.name == PIVOT && step.is_commanded()),
            PurchaseState::Completed
            | PurchaseState::Compensating
            | PurchaseState::Cancelled
            | PurchaseState::Rejected
            | PurchaseState::Stuck => false,
        }
    }
}

impl Purchase {
    /// Whether it waits for the step, forward or backward.
    pub fn waits_for(&self, step: &str) -> bool {
        self.steps
            .iter()
            .any(|one| one.name == step && one.is_under_way())
    }

    /// When it has ended or waits for an operator at the latest (invariant I3); none once it does.
    pub fn deadline(&self) -> Option<DateTime<Utc>> {
        match self.state {
            PurchaseState::Completed
            | PurchaseState::Cancelled
            | PurchaseState::Rejected
            | PurchaseState::Stuck => None,
            PurchaseState::Pending | PurchaseState::Running | PurchaseState::Compensating => self
                .created_at
                .checked_add_signed(chrono::TimeDelta::seconds(BOUND_SECONDS)),
        }
    }
}

impl Step {
    fn is_under_way(&self) -> bool {
        match self.state {
            StepState::Running | StepState::Retrying => true,
            StepState::Pending | StepState::Succeeded | StepState::Failed | StepState::Skipped => false,
        }
    }

    fn is_commanded(&self) -> bool {
        match self.state {
            StepState::Running | StepState::Succeeded | StepState::Retrying | StepState::Failed => true,
            StepState::Pending | StepState::Skipped => false,
        }
    }
}

impl Line {
    /// A line with its total.
    ///
    /// # Errors
    /// When the total leaves 64 bits.
    pub fn of(line: PurchaseLine, currency: contracts::money::Currency) -> Result<Self, NotUnderstood> {
        let unit_price = Money::new(line.unit_price_minor, currency);
        Ok(Self {
            product: line.product_id,
            sku: line.sku,
            name: line.name,
            quantity: line.quantity,
            unit_price,
            total: unit_price.times(line.quantity)?,
        })
    }
}

impl TryFrom<PurchaseUpdated> for Purchase {
    type Error = NotUnderstood;
    fn try_from(told: PurchaseUpdated) -> Result<Self, Self::Error> {
        let currency = told.currency;
        Ok(Self {
            id: told.purchase_id,
            customer: told.customer_id,
            reference: told.reference,
            version: told.version,
            state: told.state.parse()?,
            lines: told
                .lines
                .into_iter()
                .map(|line| Line::of(line, currency))
                .collect::<Result<_, _>>()?,
            total: Money::new(told.total_minor, currency),
            home_delivery: told.home_delivery,
            steps: told
                .steps
                .into_iter()
                .map(Step::try_from)
                .collect::<Result<_, _>>()?,
            failure: told.failure.map(Failure::try_from).transpose()?,
            created_at: time(told.created_at)?,
            updated_at: time(told.updated_at)?,
        })
    }
}

impl TryFrom<PurchaseStepView> for Step {
    type Error = NotUnderstood;
    fn try_from(told: PurchaseStepView) -> Result<Self, Self::Error> {
        Ok(Self {
            name: told.name,
            service: told.participant,
            direction: told.direction.parse()?,
            state: told.state.parse()?,
            attempt: told.attempt,
            max_attempts: told.max_attempts,
            started_at: told.started_at.map(time).transpose()?,
            finished_at: told.finished_at.map(time).transpose()?,
            next_retry_at: told.next_retry_at.map(time).transpose()?,
        })
    }
}

impl TryFrom<PurchaseFailureView> for Failure {
    type Error = NotUnderstood;
    fn try_from(told: PurchaseFailureView) -> Result<Self, Self::Error> {
        Ok(Self {
            code: told.code.parse()?,
            message: told.message,
            step: told.step,
        })
    }
}

#[cfg(test)]
mod tests {
    use contracts::money::Currency;

    use super::*;

    fn purchase(state: PurchaseState, pivot: Option<StepState>) -> Purchase {
        let step = |state| Step {
            name: PIVOT.to_owned(),
            service: "orders".to_owned(),
            direction: StepDirection::Forward,
            state,
            attempt: 1,
            max_attempts: 8,
            started_at: None,
            finished_at: None,
            next_retry_at: None,
        };
        Purchase {
            id: PurchaseId::fresh(),
            customer: CustomerId("customer-1".to_owned()),
            reference: String::new(),
            version: 1,
            state,
            lines: Vec::new(),
            total: Money::new(0, Currency::EUR),
            home_delivery: false,
            steps: pivot.map(step).into_iter().collect(),
            failure: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_purchase_has_a_deadline_until_it_ends_or_waits_for_somebody() {
        let deadline = |state| purchase(state, None).deadline();
        let after = deadline(PurchaseState::Running).unwrap() - DateTime::UNIX_EPOCH;
        assert_eq!(after.num_seconds(), BOUND_SECONDS);
        assert_eq!(deadline(PurchaseState::Stuck), None);
        assert_eq!(deadline(PurchaseState::Completed), None);
    }

    #[test]
    fn a_purchase_can_be_cancelled_until_its_order_is_commanded() {
        assert!(purchase(PurchaseState::Pending, None).can_be_cancelled());
        assert!(purchase(PurchaseState::Running, None).can_be_cancelled());
        assert!(purchase(PurchaseState::Running, Some(StepState::Pending)).can_be_cancelled());
        for commanded in [
            StepState::Running,
            StepState::Retrying,
            StepState::Succeeded,
            StepState::Failed,
        ] {
            assert!(
                !purchase(PurchaseState::Running, Some(commanded)).can_be_cancelled(),
                "{commanded:?}"
            );
        }
        for over in [
            PurchaseState::Completed,
            PurchaseState::Compensating,
            PurchaseState::Rejected,
        ] {
            assert!(!purchase(over, None).can_be_cancelled(), "{over:?}");
        }
    }
}
