//! What operators do with a purchase, and what they are told of it: HTTP of purchase-manager.
//!
//! | request | answer |
//! |---|---|
//! | `POST /purchases/{id}/retry`, `…/compensate`, `…/resolve` with [`SagaAction`] | [`SagaActed`] or 422 [`crate::http::Refused`] |
//! | `GET /operator/purchases?ids=a,b` | [`OperatorViews`]; unknown ids are absent |
//! | `GET /operator/stuck?before=ID&limit=N` | [`StuckPurchases`] |
//! | `GET /operator/search?…` with the fields of [`PurchaseSearch`] | [`crate::http::Purchases`], newest first |
//! | `GET /operator/count?…` with the same, but for its page | [`Counted`] |
//! | `GET /operator/purchases/{id}/messages?after=PLACE&limit=N` | [`SagaMessages`], oldest first |
//! | `GET /operator/definitions` | [`DefinitionViews`] |
//! | `POST /operator/definitions/{name}/activate` with [`ActivateVersion`] | [`VersionActivated`] or 422 [`crate::http::Refused`] |

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    ids::{CustomerId, PurchaseId},
    purchase_manager::PurchaseUpdated,
};

/// Within so many seconds of its submission every purchase has ended or waits for an operator: the bound of invariant I3,
/// which the audit checks.
pub const BOUND_SECONDS: i64 = 600;
/// Purchases are counted up to so many: a count must not read the whole table.
pub const MAX_COUNTED: i64 = 10_000;

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
    /// The trace in which it was submitted: 32 hexadecimal digits.
    #[serde(default)]
    pub trace_id: Option<String>,
}

/// Which purchases operators look for. What is none excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PurchaseSearch {
    /// Words of `PurchaseState`, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<String>,
    /// The step that they wait for, forward or backward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Of one of the lines, as it was bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// Microseconds since 1970 in UTC, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_after: Option<i64>,
    /// Microseconds since 1970 in UTC, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_before: Option<i64>,
    /// Open, and without a visible change for at least so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck_for_seconds: Option<i32>,
    /// Older than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<PurchaseId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// How many purchases there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// None when there are more than [`MAX_COUNTED`].
    pub total: Option<i64>,
}

/// The messages of a saga.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SagaMessages {
    pub messages: Vec<SagaMessage>,
}

/// A command that was sent, a message that was received, or an event that was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SagaMessage {
    /// Where it stands among the saga's messages; grows.
    pub place: i64,
    /// The record's name, such as `ReserveProducts`.
    pub message_type: String,
    pub topic: String,
    /// Where it was read; none for what was sent.
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    /// The id of the schema that it was written with; none for what was sent.
    pub schema_id: Option<i32>,
    /// The step that it belongs to.
    pub step: Option<String>,
    /// Microseconds since 1970 in UTC.
    pub at: i64,
    /// The content without what pays and without what people wrote; none for events, which are not kept.
    pub payload: Option<Value>,
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

/// The definitions that new purchases can follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DefinitionViews {
    pub definitions: Vec<DefinitionView>,
}

/// A definition, who can run which version of it, and which one new purchases follow. Times are microseconds since 1970 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DefinitionView {
    pub name: String,
    /// The version that new purchases follow.
    pub active: i32,
    /// The versions with open purchases.
    pub open: Vec<OpenVersion>,
    /// The instances at work.
    pub instances: Vec<InstanceView>,
    /// The last activations, newest first.
    pub activations: Vec<ActivationView>,
}

/// How many open purchases follow a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenVersion {
    pub version: i32,
    pub purchases: i64,
}

/// An instance at work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    pub id: Uuid,
    /// The versions that it has.
    pub versions: Vec<i32>,
    pub started_at: i64,
    pub seen_at: i64,
}

/// Who had new purchases follow which version, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActivationView {
    pub version: i32,
    /// The version before; none for the first one.
    pub replaced: Option<i32>,
    pub actor: String,
    pub reason: String,
    pub at: i64,
}

/// Which version new purchases are to follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActivateVersion {
    pub idempotency_key: Uuid,
    pub version: i32,
    /// Who: an id, not a name.
    pub actor: String,
    pub reason: String,
    /// Says what would happen, and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was done, or with a dry run would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionActivated {
    /// The effects, in words.
    pub effects: Vec<String>,
}
