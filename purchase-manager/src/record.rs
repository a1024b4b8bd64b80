//! One saga in memory: the engine's state with the times around it, and its view for the customer.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use contracts::{
    ids::{CustomerId, PurchaseId},
    purchase_manager::{PurchaseFailureView, PurchaseStepView, PurchaseUpdated},
};
use saga::{Cancellation, Cause, Direction, Effect, Standing, State, StepViewState, TimerKey};
use serde::{Deserialize, Serialize};

use crate::{
    definitions::PurchaseSaga,
    exchange::{Command, Reply},
    purchase::Purchase,
};

/// A saga as its row has it.
#[derive(Debug, Clone)]
pub struct Record {
    /// The purchase.
    pub id: PurchaseId,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// Counts the visible changes.
    pub version: i32,
    /// The engine's state; none while only a cancellation is known.
    pub state: Option<State<Purchase>>,
    /// A cancellation that came before the submission.
    pub early_cancel: Option<Cancellation>,
    /// When commands were sent and settled.
    pub timings: Timings,
    /// Rows in the log.
    pub log_length: i32,
    /// By PostgreSQL's clock.
    pub created_at: DateTime<Utc>,
    /// By PostgreSQL's clock.
    pub updated_at: DateTime<Utc>,
}

/// Times of each command, by step and direction. Only for show: no decision reads them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timings(BTreeMap<String, Times>);

/// Microseconds since 1970 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Times {
    started_at: Option<i64>,
    finished_at: Option<i64>,
    next_retry_at: Option<i64>,
}

impl Timings {
    /// Takes down what an effect says about time.
    pub fn note(&mut self, effect: &Effect<Purchase, Command, Reply>, now: DateTime<Utc>) {
        let micros = now.timestamp_micros();
        match effect {
            Effect::Send(sent) => {
                let times = self.0.entry(key(sent.step.as_str(), sent.direction)).or_default();
                times.started_at.get_or_insert(micros);
                times.finished_at = None;
            }
            Effect::SetTimer { timer, after } => {
                let times = self
                    .0
                    .entry(key(timer.step.as_str(), timer.direction))
                    .or_default();
                times.next_retry_at = Some(micros.saturating_add(as_micros(*after)));
            }
            Effect::ClearTimer(TimerKey { step, direction }) => {
                let times = self.0.entry(key(step.as_str(), *direction)).or_default();
                times.next_retry_at = None;
                times.finished_at = Some(micros);
            }
            Effect::Log(_) | Effect::Changed => {}
        }
    }

    fn of(&self, step: &str, direction: Direction) -> Times {
        self.0.get(&key(step, direction)).cloned().unwrap_or_default()
    }
}

fn key(step: &str, direction: Direction) -> String {
    format!("{step}/{direction}")
}

fn as_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Record {
    /// What the customer sees, in one word of the GraphQL schema.
    #[must_use]
    pub fn standing(&self) -> &'static str {
        match &self.state {
            None => "CANCELLED",
            Some(state) => word(state.standing()),
        }
    }

    /// What the customer sees; none while only a cancellation is known. Without its definition, as when the version of a purchase
    /// that ended long ago has left the program, it has no steps.
    #[must_use]
    pub fn view(&self, definition: Option<&PurchaseSaga>) -> Option<PurchaseUpdated> {
        let state = self.state.as_ref()?;
        let purchase = state.data();
        let steps = definition.map_or_else(Vec::new, |definition| saga::view(definition, state));
        let steps = steps.into_iter().map(|step| {
            let times = self.timings.of(step.step.as_str(), step.direction);
            PurchaseStepView {
                name: step.step.as_str().to_owned(),
                participant: step.participant.as_str().to_owned(),
                direction: direction_word(step.direction).to_owned(),
                state: step_word(step.state).to_owned(),
                attempt: i32::try_from(step.attempt).unwrap_or(i32::MAX),
                max_attempts: i32::try_from(step.max_attempts).unwrap_or(i32::MAX),
                started_at: times.started_at,
                finished_at: times.finished_at,
                next_retry_at: times.next_retry_at,
            }
        });
        Some(PurchaseUpdated {
            purchase_id: self.id,
            customer_id: self.customer_id.clone(),
            reference: purchase.reference.clone(),
            version: self.version,
            state: self.standing().to_owned(),
            lines: purchase.lines.clone(),
            currency: purchase.currency,
            total_minor: purchase.total_minor,
            home_delivery: purchase.home_delivery,
            steps: steps.collect(),
            failure: failure(state),
            created_at: self.created_at.timestamp_micros(),
            updated_at: self.updated_at.timestamp_micros(),
        })
    }
}

/// Why the purchase turned back, as the customer may be told.
fn failure(state: &State<Purchase>) -> Option<PurchaseFailureView> {
    if let Some(failure) = state.failure() {
        return Some(PurchaseFailureView {
            code: failure.code,
            message: failure.message,
            step: Some(failure.step.as_str().to_owned()),
        });
    }
    let message = match state.status().cause()? {
        Cause::Cancelled { .. } => "You cancelled this purchase.",
        Cause::Operator { .. } => "This purchase was cancelled by our staff.",
        Cause::Refused { .. } | Cause::BudgetSpent { .. } => return None,
    };
    Some(PurchaseFailureView {
        code: "CANCELLED".to_owned(),
        message: message.to_owned(),
        step: None,
    })
}

pub(crate) fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Pending => "PENDING",
        Standing::Running => "RUNNING",
        Standing::Compensating => "COMPENSATING",
        Standing::Completed => "COMPLETED",
        Standing::Rejected => "REJECTED",
        Standing::Cancelled => "CANCELLED",
        Standing::Stuck => "STUCK",
    }
}

pub(crate) fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "FORWARD",
        Direction::Compensation => "COMPENSATION",
    }
}

fn step_word(state: StepViewState) -> &'static str {
    match state {
        StepViewState::Pending => "PENDING",
        StepViewState::Running => "RUNNING",
        StepViewState::Succeeded => "SUCCEEDED",
        StepViewState::Retrying => "RETRYING",
        StepViewState::Failed => "FAILED",
        StepViewState::Skipped => "SKIPPED",
    }
}
