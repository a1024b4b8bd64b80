//! What operators do with a purchase, and what they are told of it: HTTP of purchase-manager.
//!
//! | request | answer |
//! |---|---|
//! | `POST /purchases/{id}/retry`, `…/compensate`, `…/resolve` with [`SagaAction`] | [`SagaActed`] or 422 [`crate::http::Refused`] |
//! | `GET /operator/purchases?ids=a,b` | [`OperatorViews`]; unknown ids are absent |
//! | `GET /operator/stuck?before=ID&limit=N` | [`StuckPurchases`] |

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ids::PurchaseId, purchase_manager::PurchaseUpdated};

/// What an operator wants to happen to a purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SagaAction {
    pub idempotency_key: Uuid,
    /// The version that the operator looked at; another one is refused with `VERSION_CONFLICT`.
    pub expected_version: i32,
    /// Who: an id, not a name.
    pub actor: String,
    pub reason: String,
    /// Says what would happen, and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The end that is declared; for `resolve` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ResolveOutcome>,
}

/// The end that an operator declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ResolveOutcome {
    /// Everything was done, if need be by hand.
    MarkCompleted,
    /// Everything was undone, if need be by hand.
    MarkCancelled,
}

/// What was done, or with a dry run would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SagaActed {
    /// As it is now; a dry run leaves it as it was.
    pub purchase: Option<PurchaseUpdated>,
    /// The effects, in words.
    pub effects: Vec<String>,
}

/// Answer to a read for operators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorViews {
    pub purchases: Vec<OperatorView>,
}

/// What operators see of a purchase beside what its customer sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorView {
    pub purchase_id: PurchaseId,
    pub version: i32,
    /// `RETRY`, `COMPENSATE` and `RESOLVE`, as far as they are possible now.
    pub allowed_actions: Vec<String>,
    /// What went wrong, by step.
    pub errors: Vec<StepError>,
    /// What people did, oldest first.
    pub audit: Vec<AuditEntry>,
}

/// What went wrong with a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    pub step: String,
    /// `FORWARD` or `COMPENSATION`.
    pub direction: String,
    pub error: String,
}

/// Something that a person did, or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Such as `compensate`, or `compensate, refused`.
    pub action: String,
    pub actor: String,
    pub reason: String,
    /// Microseconds since 1970 in UTC.
    pub at: i64,
}

/// Purchases that do not go on by themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StuckPurchases {
    /// Those that wait for an operator (`STUCK`), newest first.
    pub purchases: Vec<PurchaseUpdated>,
    /// Those that should go on and have nothing due: no timer, no message on its way out, none parked. Always empty, or there is a
    /// fault in the program.
    pub forgotten: Vec<PurchaseId>,
}
