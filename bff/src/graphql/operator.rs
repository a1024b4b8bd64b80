//! What operators do with purchases, and what they see of it. Purchase-manager decides; here is only who may ask.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, SimpleObject};
use chrono::{DateTime, Utc};
use contracts::operator::{AuditEntry, ResolveOutcome as Ending, SagaAction};
use uuid::Uuid;

use super::{
    failure::Failure,
    ids,
    mutation::{not_an_id, signed_in, unreachable_or_broken},
    payload::{PurchasePayload, user_errors},
    purchase::PurchaseObject,
    reader::Reader,
};
use crate::{
    app::App,
    auth::{Role, Viewer},
    domain::{
        Refusal,
        pricing::MAX_NOTE_CHARACTERS,
        purchase::Purchase,
        words::{PurchaseAction, PurchaseState, UserErrorCode},
    },
};

/// What an operator wants to happen to a purchase.
#[derive(Debug, InputObject)]
pub(crate) struct SagaActionInput {
    idempotency_key: Uuid,
    purchase_id: ID,
    /// The version that the operator looked at; another one is refused with VERSION_CONFLICT.
    expected_version: i32,
    /// Kept in the purchase's audit.
    reason: String,
    /// Say what would happen; change nothing.
    #[graphql(default)]
    dry_run: bool,
}

/// How a purchase is to be declared ended.
#[derive(Debug, InputObject)]
pub(crate) struct ResolvePurchaseInput {
    idempotency_key: Uuid,
    purchase_id: ID,
    /// The version that was looked at; another one is refused with VERSION_CONFLICT.
    expected_version: i32,
    outcome: ResolveOutcome,
    /// Kept in the purchase's audit.
    reason: String,
    /// Say what would happen; change nothing.
    #[graphql(default)]
    dry_run: bool,
}

/// The end that is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum ResolveOutcome {
    /// Everything was done, if need be by hand.
    MarkCompleted,
    /// Everything was undone, if need be by hand.
    MarkCancelled,
}

/// Something that a person did, or tried.
#[derive(Debug, SimpleObject)]
#[graphql(name = "AuditEntry")]
pub(crate) struct AuditEntryObject {
    action: String,
    /// The stable id of who did it.
    actor: String,
    reason: String,
    at: DateTime<Utc>,
}

impl From<AuditEntry> for AuditEntryObject {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry {
            action,
            actor,
            reason,
            at,
        } = entry;
        Self {
            action,
            actor,
            reason,
            at: DateTime::from_timestamp_micros(at).unwrap_or_default(),
        }
    }
}

/// One action, whichever.
pub(super) struct Act {
    purchase: ID,
    key: Uuid,
    expected_version: i32,
    reason: String,
    dry_run: bool,
    outcome: Option<Ending>,
}

impl From<SagaActionInput> for Act {
    fn from(input: SagaActionInput) -> Self {
        Self {
            purchase: input.purchase_id,
            key: input.idempotency_key,
            expected_version: input.expected_version,
            reason: input.reason,
            dry_run: input.dry_run,
            outcome: None,
        }
    }
}

impl From<ResolvePurchaseInput> for Act {
    fn from(input: ResolvePurchaseInput) -> Self {
        Self {
            purchase: input.purchase_id,
            key: input.idempotency_key,
            expected_version: input.expected_version,
            reason: input.reason,
            dry_run: input.dry_run,
            outcome: Some(match input.outcome {
                ResolveOutcome::MarkCompleted => Ending::MarkCompleted,
                ResolveOutcome::MarkCancelled => Ending::MarkCancelled,
            }),
        }
    }
}

/// Has purchase-manager do it. The guard of the field has let the viewer pass.
pub(super) async fn act(ctx: &Context<'_>, verb: &str, act: Act) -> Result<PurchasePayload, Failure> {
    let refused = |refusals: Vec<Refusal>| PurchasePayload {
        purchase: None,
        effects: Vec::new(),
        user_errors: user_errors(refusals),
    };
    let Some(id) = ids::as_purchase(&act.purchase) else {
        return Ok(refused(vec![not_an_id("purchase", "purchaseId")]));
    };
    if act.reason.trim().is_empty() || act.reason.chars().count() > MAX_NOTE_CHARACTERS {
        let message = format!("Say why, in at most {MAX_NOTE_CHARACTERS} characters.");
        let refusal = Refusal::new(UserErrorCode::Invalid, message).at(["reason"]);
        return Ok(refused(vec![refusal]));
    }
    let action = SagaAction {
        idempotency_key: act.key,
        expected_version: act.expected_version,
        actor: signed_in(ctx)?.subject.0.clone(),
        reason: act.reason,
        dry_run: act.dry_run,
        outcome: act.outcome,
    };
    let answer = ctx
        .data_unchecked::<Arc<App>>()
        .clients
        .act(id, verb, &action)
        .await;
    Ok(match answer {
        Ok(Ok(acted)) => PurchasePayload {
            purchase: acted
                .purchase
                .map(Purchase::try_from)
                .transpose()?
                .map(|purchase| PurchaseObject(Arc::new(purchase))),
            effects: acted.effects,
            user_errors: Vec::new(),
        },
        Ok(Err(refusals)) => refused(refusals),
        Err(error) => refused(vec![unreachable_or_broken(error)?]),
    })
}

/// What the viewer may do with a purchase as staff. Nothing while nobody can say: the buttons come back with purchase-manager.
pub(super) async fn allowed_actions(
    ctx: &Context<'_>,
    viewer: &Viewer,
    purchase: &Purchase,
) -> Vec<PurchaseAction> {
    match purchase.state {
        PurchaseState::Completed | PurchaseState::Cancelled | PurchaseState::Rejected => return Vec::new(),
        PurchaseState::Pending
        | PurchaseState::Running
        | PurchaseState::Compensating
        | PurchaseState::Stuck => {}
    }
    let reader = ctx.data_unchecked::<Arc<Reader>>();
    let Ok(Some(view)) = reader.operator_view(purchase.id).await else {
        return Vec::new();
    };
    let may = |action: &PurchaseAction| match action {
        PurchaseAction::Resolve => viewer.role() >= Role::Admin,
        PurchaseAction::Cancel | PurchaseAction::Retry | PurchaseAction::Compensate => true,
    };
    let known = view.allowed_actions.iter().filter_map(|word| word.parse().ok());
    known.filter(may).collect()
}
