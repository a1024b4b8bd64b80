//! What operators do with a purchase: retry, compensate, resolve, each with a dry run; and what they are told.
//!
//! Every action goes through the orchestrator like any other input, so it is logged with actor and reason in the saga's own log:
//! that is the audit.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    response::Response,
    routing::{get, post},
};
use contracts::{
    http::MAX_PAGE,
    ids::PurchaseId,
    operator::{
        AuditEntry, OperatorView, OperatorViews, ResolveOutcome, SagaActed, SagaAction, StepError,
        StuckPurchases,
    },
};
use mailbox::{
    Fault,
    request::{self, Claim},
    retention::WORKED_ON_DAYS,
};
use saga::{ActionRefused, Effect, Input, LogEntry, OperatorAction, OperatorNote, Outcome, Resolution};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    definitions::PurchaseSaga,
    exchange::{Command, Reply},
    http::{Failure, key_reused, parse_ids, refusal_body, stored, view},
    orchestrator::{Event, Orchestrator, What},
    purchase::Purchase,
    record::{Record, direction_word, word},
    store,
};

/// The routes.
pub(crate) fn routes(orchestrator: Arc<Orchestrator>) -> Router {
    Router::new()
        .route("/purchases/{id}/retry", post(retry))
        .route("/purchases/{id}/compensate", post(compensate))
        .route("/purchases/{id}/resolve", post(resolve))
        .route("/operator/purchases", get(purchases))
        .route("/operator/stuck", get(stuck))
        .with_state(orchestrator)
}

async fn retry(
    State(orchestrator): State<Arc<Orchestrator>>,
    Path(id): Path<Uuid>,
    Json(body): Json<SagaAction>,
) -> Result<Response, Failure> {
    act(&orchestrator, id, OperatorAction::Retry, &body).await
}

async fn compensate(
    State(orchestrator): State<Arc<Orchestrator>>,
    Path(id): Path<Uuid>,
    Json(body): Json<SagaAction>,
) -> Result<Response, Failure> {
    act(&orchestrator, id, OperatorAction::Compensate, &body).await
}

async fn resolve(
    State(orchestrator): State<Arc<Orchestrator>>,
    Path(id): Path<Uuid>,
    Json(body): Json<SagaAction>,
) -> Result<Response, Failure> {
    let resolution = match body.outcome {
        Some(ResolveOutcome::MarkCompleted) => Resolution::Completed,
        Some(ResolveOutcome::MarkCancelled) => Resolution::Cancelled,
        None => {
            return Err(Failure::BadRequest(
                "say with `outcome` how it ends: MARK_COMPLETED or MARK_CANCELLED".to_owned(),
            ));
        }
    };
    act(&orchestrator, id, OperatorAction::Resolve(resolution), &body).await
}

async fn act(
    orchestrator: &Orchestrator,
    id: Uuid,
    action: OperatorAction,
    body: &SagaAction,
) -> Result<Response, Failure> {
    if body.actor.trim().is_empty() || body.reason.trim().is_empty() {
        return Err(Failure::BadRequest("say who asks for it, and why".to_owned()));
    }
    let mut tx = orchestrator.pool().begin().await.map_err(Fault::from)?;
    let scope = format!("saga-action:{}", body.actor);
    if !body.dry_run {
        let hash = request::hash(&(id, action, body))
            .map_err(|error| Failure::Fault(Fault::deterministic(error)))?;
        match request::claim(&mut tx, &scope, body.idempotency_key, &hash)
            .await
            .map_err(Fault::from)?
        {
            Claim::Fresh => {}
            Claim::Repeated(response) => return Ok(stored(&response)),
            Claim::Reused => return Ok(key_reused()),
        }
    }
    let locked = store::lock(&mut tx, &[id]).await?;
    let note = OperatorNote {
        actor: body.actor.clone(),
        reason: body.reason.clone(),
    };
    let plan = if commands(action) && store::is_past_work(&mut tx, id).await? {
        Plan::Refused {
            body: refusal_body("TOO_OLD", &past_work())?,
            logged: false,
        }
    } else {
        plan(orchestrator, locked.first(), body.expected_version, action, &note)?
    };
    if body.dry_run {
        let response = match plan {
            Plan::Refused { body, .. } => body,
            Plan::Foretold { effects } => {
                let purchase = locked.first().and_then(|record| view(orchestrator, record));
                accepted(purchase, effects)?
            }
        };
        return Ok(stored(&response));
    }
    let event = Event {
        purchase_id: PurchaseId(id),
        what: What::Input(Input::Operator { action, note }),
        cause: None,
    };
    let (response, outgoing) = match plan {
        Plan::Foretold { effects } => {
            let worked = orchestrator.work(&mut tx, vec![event]).await?;
            let purchase = worked
                .records
                .get(&id)
                .and_then(|record| view(orchestrator, record));
            (accepted(purchase, effects)?, worked.outgoing)
        }
        Plan::Refused { body, logged: true } => {
            (body, orchestrator.work(&mut tx, vec![event]).await?.outgoing)
        }
        Plan::Refused { body, logged: false } => (body, Vec::new()),
    };
    request::answer(&mut tx, &scope, body.idempotency_key, &response)
        .await
        .map_err(Fault::from)?;
    orchestrator.outbox().append(&mut tx, &outgoing).await?;
    tx.commit().await.map_err(Fault::from)?;
    orchestrator.outbox().wake_relay();
    Ok(stored(&response))
}

/// Whether an action has participants do something.
fn commands(action: OperatorAction) -> bool {
    match action {
        OperatorAction::Retry | OperatorAction::Compensate => true,
        OperatorAction::Resolve(_) => false,
    }
}

/// Why nothing is commanded for an old purchase (test `nothing_is_commanded_for_a_purchase_that_participants_may_have_forgotten`).
pub(crate) fn past_work() -> String {
    format!(
        "This purchase is older than {WORKED_ON_DAYS} days: the participants need not remember any more what they did for it, so \
         nothing is commanded. Put things right by hand and resolve it."
    )
}

/// What an action comes to, before anything is written.
enum Plan {
    /// It is possible; these would be its effects, in words.
    Foretold { effects: Vec<String> },
    /// It is not. What the engine itself refuses is logged when it is no dry run: somebody tried.
    Refused { body: Value, logged: bool },
}

fn plan(
    orchestrator: &Orchestrator,
    record: Option<&Record>,
    expected_version: i32,
    action: OperatorAction,
    note: &OperatorNote,
) -> Result<Plan, Failure> {
    let refuse = |code: &str, message: &str, logged: bool| {
        let body = refusal_body(code, message)?;
        Ok(Plan::Refused { body, logged })
    };
    let Some((record, state)) = record.and_then(|record| Some((record, record.state.clone()?))) else {
        return refuse("NOT_FOUND", "There is no such purchase.", false);
    };
    if record.version != expected_version {
        let message = format!(
            "The purchase is at version {} by now, not {expected_version}: look at it again.",
            record.version
        );
        return refuse("VERSION_CONFLICT", &message, false);
    }
    let definition = definition(orchestrator, &state)?;
    let before = word(state.standing());
    let input: Input<Reply> = Input::Operator {
        action,
        note: note.clone(),
    };
    let decision = saga::decide(definition, record.id.0, state, input);
    match &decision.outcome {
        Outcome::Applied => {
            let after = word(decision.state.standing());
            let first = if before == after {
                format!("the purchase stays {after}")
            } else {
                format!("the purchase goes from {before} to {after}")
            };
            let effects = decision.effects.iter().filter_map(in_words);
            Ok(Plan::Foretold {
                effects: std::iter::once(first).chain(effects).collect(),
            })
        }
        Outcome::ActionRefused(why) => {
            let message = match why {
                ActionRefused::NotParked => {
                    "This purchase does not wait for an operator: it goes on by itself."
                }
                ActionRefused::AlreadyEnded => "This purchase has ended already.",
                ActionRefused::AlreadyRollingBack => "This purchase is being rolled back already.",
            };
            refuse("STATE_CONFLICT", message, true)
        }
        other @ (Outcome::StaleTimer
        | Outcome::LateReply
        | Outcome::UnexpectedReply
        | Outcome::CancelRefused(_)
        | Outcome::Hold(_)
        | Outcome::Incompatible(_)) => Err(Failure::Fault(Fault::deterministic(anyhow::anyhow!(
            "an operator's action cannot come to {other:?}"
        )))),
    }
}

/// An effect as an operator is told it. The log is no effect on anybody.
fn in_words(effect: &Effect<Purchase, Command, Reply>) -> Option<String> {
    match effect {
        Effect::Send(_) | Effect::SetTimer { .. } | Effect::ClearTimer(_) => Some(effect.to_string()),
        Effect::Changed => Some("tell the customer of the change".to_owned()),
        Effect::Log(_) => None,
    }
}

fn definition<'a>(
    orchestrator: &'a Orchestrator,
    state: &saga::State<Purchase>,
) -> Result<&'a PurchaseSaga, Failure> {
    let version = i32::from(state.version());
    orchestrator.definitions().of(version).ok_or_else(|| {
        let lacks = anyhow::anyhow!("this program lacks version {version} of the purchase saga");
        Failure::Fault(Fault::transient(lacks))
    })
}

fn accepted(
    purchase: Option<contracts::purchase_manager::PurchaseUpdated>,
    effects: Vec<String>,
) -> Result<Value, Fault> {
    let acted = serde_json::to_value(SagaActed { purchase, effects }).map_err(Fault::deterministic)?;
    Ok(serde_json::json!({ "ok": acted }))
}

#[derive(Debug, Deserialize)]
struct IdsQuery {
    ids: String,
}

async fn purchases(
    State(orchestrator): State<Arc<Orchestrator>>,
    Query(query): Query<IdsQuery>,
) -> Result<Json<OperatorViews>, Failure> {
    let ids = parse_ids(&query.ids)?;
    let records = store::read(orchestrator.pool(), &ids).await?;
    let mut audits = audits(&orchestrator, &ids).await?;
    let mut traces: HashMap<Uuid, String> = store::search::traces(orchestrator.pool(), &ids)
        .await?
        .into_iter()
        .collect();
    let mut views = Vec::with_capacity(records.len());
    for record in records {
        let (allowed_actions, errors) = match &record.state {
            Some(state) => (allowed(state), errors(definition(&orchestrator, state)?, state)),
            None => (Vec::new(), Vec::new()),
        };
        views.push(OperatorView {
            purchase_id: record.id,
            version: record.version,
            allowed_actions,
            errors,
            audit: audits.remove(&record.id.0).unwrap_or_default(),
            trace_id: traces
                .remove(&record.id.0)
                .and_then(|traceparent| traceparent.split('-').nth(1).map(str::to_owned)),
        });
    }
    Ok(Json(OperatorViews { purchases: views }))
}

fn allowed(state: &saga::State<Purchase>) -> Vec<String> {
    let resolve = [Resolution::Completed, Resolution::Cancelled].map(OperatorAction::Resolve);
    let actions: [(&str, &[OperatorAction]); 3] = [
        ("RETRY", &[OperatorAction::Retry]),
        ("COMPENSATE", &[OperatorAction::Compensate]),
        ("RESOLVE", &resolve),
    ];
    actions
        .iter()
        .filter(|(_, any)| any.iter().any(|action| saga::may_act(state, *action).is_ok()))
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

fn errors(definition: &PurchaseSaga, state: &saga::State<Purchase>) -> Vec<StepError> {
    saga::view(definition, state)
        .into_iter()
        .filter_map(|step| {
            Some(StepError {
                step: step.step.as_str().to_owned(),
                direction: direction_word(step.direction).to_owned(),
                error: step.error?,
            })
        })
        .collect()
}

async fn audits(orchestrator: &Orchestrator, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<AuditEntry>>, Fault> {
    let mut audits: HashMap<Uuid, Vec<AuditEntry>> = HashMap::new();
    for row in store::log::deeds(orchestrator.pool(), ids).await? {
        // What people do names no purchase, command or reply, so those may be anything.
        let entry: LogEntry<Value, Value, Value> =
            serde_json::from_value(row.body).map_err(Fault::deterministic)?;
        let (action, actor, reason) = match entry {
            LogEntry::OperatorActed { action, note } => {
                (action_word(action).to_owned(), note.actor, note.reason)
            }
            LogEntry::OperatorRefused { action, note, .. } => (
                format!("{}, refused", action_word(action)),
                note.actor,
                note.reason,
            ),
            LogEntry::CancelAccepted(cancellation) => (
                "cancel".to_owned(),
                cancellation.by,
                cancellation.reason.unwrap_or_default(),
            ),
            LogEntry::CancelRefused { cancellation, .. } => (
                "cancel, refused".to_owned(),
                cancellation.by,
                cancellation.reason.unwrap_or_default(),
            ),
            other @ (LogEntry::Submitted { .. }
            | LogEntry::SubmittedCancelled { .. }
            | LogEntry::CommandSent(_)
            | LogEntry::ReplyAccepted { .. }
            | LogEntry::ReplyRefused { .. }
            | LogEntry::RollbackAcknowledged { .. }
            | LogEntry::ReplyLate { .. }
            | LogEntry::ReplyUnexpected { .. }
            | LogEntry::TimedOut(_)
            | LogEntry::HoldExpired { .. }
            | LogEntry::StatusChanged(_)) => {
                let kind = other.kind();
                return Err(Fault::deterministic(anyhow::anyhow!("a {kind} is nobody's deed")));
            }
        };
        audits.entry(row.saga_id).or_default().push(AuditEntry {
            action,
            actor,
            reason,
            at: row.at.timestamp_micros(),
        });
    }
    Ok(audits)
}

fn action_word(action: OperatorAction) -> &'static str {
    match action {
        OperatorAction::Retry => "retry",
        OperatorAction::Compensate => "compensate",
        OperatorAction::Resolve(Resolution::Completed) => "resolve as completed",
        OperatorAction::Resolve(Resolution::Cancelled) => "resolve as cancelled",
    }
}

#[derive(Debug, Deserialize)]
struct StuckQuery {
    before: Option<Uuid>,
    limit: Option<i64>,
}

async fn stuck(
    State(orchestrator): State<Arc<Orchestrator>>,
    Query(query): Query<StuckQuery>,
) -> Result<Json<StuckPurchases>, Failure> {
    let limit = query.limit.unwrap_or(20).clamp(1, MAX_PAGE);
    let records = store::stuck(orchestrator.pool(), query.before, limit).await?;
    let mut connection = orchestrator.pool().acquire().await.map_err(Fault::from)?;
    let forgotten = store::forgotten(&mut connection).await?;
    Ok(Json(StuckPurchases {
        purchases: records
            .iter()
            .filter_map(|record| view(&orchestrator, record))
            .collect(),
        forgotten: forgotten.into_iter().map(PurchaseId).collect(),
    }))
}
