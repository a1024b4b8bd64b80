//! Reads of purchases, and the customer's cancellation. The requests and answers are those of `contracts::http`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::DateTime;
use contracts::{
    http::{CancelPurchase, Cancelled, MAX_IDS, MAX_PAGE, Purchases, Refusal, Refused},
    ids::PurchaseId,
};
use mailbox::{
    Fault,
    request::{self, Claim},
};
use saga::{CancelRefused, Cancellation, Outcome};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    console, operator,
    orchestrator::{Answer, Event, Orchestrator, What, Worked},
    record::Record,
    rollout, store,
};

/// The routes.
pub fn routes(orchestrator: Arc<Orchestrator>) -> Router {
    Router::new()
        .route("/purchases", get(purchases))
        .route("/purchases/ended", get(ended))
        .route("/purchases/{id}/cancel", post(cancel))
        .with_state(orchestrator.clone())
        .merge(operator::routes(orchestrator.clone()))
        .merge(console::routes(orchestrator.clone()))
        .merge(rollout::routes(orchestrator))
}

#[derive(Debug, Deserialize)]
struct PurchasesQuery {
    ids: Option<String>,
    customer: Option<String>,
    before: Option<Uuid>,
    limit: Option<i64>,
    states: Option<String>,
}

async fn purchases(
    State(orchestrator): State<Arc<Orchestrator>>,
    Query(query): Query<PurchasesQuery>,
) -> Result<Json<Purchases>, Failure> {
    let records = match (&query.ids, &query.customer) {
        (Some(ids), None) => store::read(orchestrator.pool(), &parse_ids(ids)?).await?,
        (None, Some(customer)) => {
            let states: Option<Vec<String>> = query
                .states
                .as_ref()
                .map(|s| s.split(',').map(str::to_owned).collect());
            let limit = query.limit.unwrap_or(20).clamp(1, MAX_PAGE);
            store::of_customer(
                orchestrator.pool(),
                customer,
                query.before,
                states.as_deref(),
                limit,
            )
            .await?
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Failure::BadRequest(
                "ask with either ?ids=a,b or ?customer=subject".to_owned(),
            ));
        }
    };
    let purchases = records
        .iter()
        .filter_map(|record| view(&orchestrator, record))
        .collect();
    Ok(Json(Purchases { purchases }))
}

#[derive(Debug, Deserialize)]
struct EndedQuery {
    since: Option<i64>,
    after: Option<Uuid>,
    limit: Option<i64>,
}

/// The change feed of what has ended: events are hints, and who must not miss one compares with it.
async fn ended(
    State(orchestrator): State<Arc<Orchestrator>>,
    Query(query): Query<EndedQuery>,
) -> Result<Json<Purchases>, Failure> {
    let since = DateTime::from_timestamp_micros(query.since.unwrap_or(0))
        .filter(|since| since.timestamp() >= 0)
        .ok_or_else(|| Failure::BadRequest("since must be microseconds since 1970".to_owned()))?;
    let limit = query.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let records = store::ended(orchestrator.pool(), since, query.after, limit).await?;
    let purchases = records
        .iter()
        .filter_map(|record| view(&orchestrator, record))
        .collect();
    Ok(Json(Purchases { purchases }))
}

pub(crate) fn parse_ids(text: &str) -> Result<Vec<Uuid>, Failure> {
    let ids: Vec<Uuid> = text
        .split(',')
        .map(|id| Uuid::parse_str(id.trim()))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::BadRequest(format!("ids must be UUIDs separated by commas: {error}")))?;
    if ids.len() > MAX_IDS {
        return Err(Failure::BadRequest(format!(
            "{} ids are too many: ask for {MAX_IDS} at most",
            ids.len()
        )));
    }
    Ok(ids)
}

pub(crate) fn view(
    orchestrator: &Orchestrator,
    record: &Record,
) -> Option<contracts::purchase_manager::PurchaseUpdated> {
    let version = record.state.as_ref()?.version();
    record.view(orchestrator.definitions().of(i32::from(version)))
}

/// A cancellation and the submission that it meets may insert the same saga at once. The loser of that race finds the
/// winner's row at its next try, so a second one is enough but for further races.
const CANCEL_TRIES: usize = 4;

async fn cancel(
    State(orchestrator): State<Arc<Orchestrator>>,
    Path(id): Path<Uuid>,
    Json(body): Json<CancelPurchase>,
) -> Result<Response, Failure> {
    let mut tries = 1;
    loop {
        match try_cancel(&orchestrator, id, &body).await {
            Err(Failure::Fault(fault)) if fault.is_transient() && tries < CANCEL_TRIES => {
                tracing::debug!(purchase.id = %id, "a cancellation is tried again: {fault}");
                tries += 1;
            }
            settled => return settled,
        }
    }
}

async fn try_cancel(
    orchestrator: &Orchestrator,
    id: Uuid,
    body: &CancelPurchase,
) -> Result<Response, Failure> {
    let scope = format!("cancel-purchase:{}", body.customer_id);
    // The purchase is part of what is hashed: the same key for another purchase is another request.
    let hash = request::hash(&(id, body)).map_err(|error| Failure::Fault(Fault::deterministic(error)))?;
    let mut tx = orchestrator.pool().begin().await.map_err(Fault::from)?;
    match request::claim(&mut tx, &scope, body.idempotency_key, &hash)
        .await
        .map_err(Fault::from)?
    {
        Claim::Fresh => {}
        Claim::Repeated(response) => {
            drop(tx);
            return Ok(stored(&current(orchestrator, id, response).await?));
        }
        Claim::Reused => {
            return Ok(key_reused());
        }
    }
    if store::is_past_work(&mut tx, id).await? {
        let message = "This purchase is too old to be cancelled by itself: ask our staff.";
        return Ok(stored(&refusal_body("STATE_CONFLICT", message)?));
    }
    let cancellation = Cancellation {
        by: body.customer_id.0.clone(),
        reason: body.reason.clone(),
    };
    let event = Event {
        purchase_id: PurchaseId(id),
        what: What::Cancel {
            customer_id: body.customer_id.clone(),
            cancellation,
        },
        cause: None,
    };
    let worked = orchestrator.work(&mut tx, vec![event]).await?;
    let response = answer(orchestrator, id, &worked)?;
    request::answer(&mut tx, &scope, body.idempotency_key, &response)
        .await
        .map_err(Fault::from)?;
    orchestrator.outbox().append(&mut tx, &worked.outgoing).await?;
    tx.commit().await.map_err(Fault::from)?;
    orchestrator.outbox().wake_relay();
    Ok(stored(&response))
}

/// The answer as it is kept for a repetition: `{"ok": …}` or `{"refused": …}`.
fn answer(orchestrator: &Orchestrator, id: Uuid, worked: &Worked) -> Result<Value, Fault> {
    let refuse = |code: &str, message: &str| {
        let refused = Refused {
            errors: vec![refusal(code, message)],
        };
        serde_json::to_value(refused).map(|body| serde_json::json!({ "refused": body }))
    };
    let accept = |effects: &[&str]| {
        let purchase = worked
            .records
            .get(&id)
            .and_then(|record| view(orchestrator, record));
        let effects = effects.iter().map(|text| (*text).to_owned()).collect();
        serde_json::to_value(Cancelled { purchase, effects }).map(|body| serde_json::json!({ "ok": body }))
    };
    let response = match worked.answers.first() {
        Some(Answer::Decided(Outcome::Applied) | Answer::Repeated) => {
            accept(&["What was done for the purchase so far is rolled back."])
        }
        Some(Answer::CancelKept) => accept(&["The purchase is cancelled before anything was done for it."]),
        Some(Answer::Decided(Outcome::CancelRefused(CancelRefused::PastPointOfNoReturn))) => refuse(
            "PAST_POINT_OF_NO_RETURN",
            "The order is being placed, so this purchase can no longer be cancelled.",
        ),
        Some(Answer::Decided(Outcome::CancelRefused(CancelRefused::AlreadyEnded))) => {
            refuse("STATE_CONFLICT", "This purchase has ended already.")
        }
        Some(Answer::Decided(Outcome::CancelRefused(CancelRefused::AlreadyRollingBack))) => {
            refuse("STATE_CONFLICT", "This purchase is being rolled back already.")
        }
        Some(Answer::Foreign | Answer::Unknown) => refuse("NOT_FOUND", "There is no such purchase."),
        Some(Answer::Decided(
            outcome @ (Outcome::StaleTimer
            | Outcome::LateReply
            | Outcome::UnexpectedReply
            | Outcome::ActionRefused(_)
            | Outcome::Hold(_)
            | Outcome::Incompatible(_)),
        )) => {
            return Err(Fault::deterministic(anyhow::anyhow!(
                "a cancellation cannot come to {outcome:?}"
            )));
        }
        None => return Err(Fault::deterministic(anyhow::anyhow!("one event has one answer"))),
    };
    response.map_err(Fault::deterministic)
}

pub(crate) fn stored(response: &Value) -> Response {
    match (response.get("ok"), response.get("refused")) {
        (Some(body), _) => Json(body.clone()).into_response(),
        (None, Some(body)) => (StatusCode::UNPROCESSABLE_ENTITY, Json(body.clone())).into_response(),
        (None, None) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A kept answer, with the purchase as it is now: what was done is told as it was, how it came out as it is.
async fn current(orchestrator: &Orchestrator, id: Uuid, mut response: Value) -> Result<Value, Fault> {
    if let Some(kept) = response.pointer_mut("/ok/purchase") {
        let records = store::read(orchestrator.pool(), &[id]).await?;
        if let Some(now) = records.first().and_then(|record| view(orchestrator, record)) {
            *kept = serde_json::to_value(now).map_err(Fault::deterministic)?;
        }
    }
    Ok(response)
}

pub(crate) fn key_reused() -> Response {
    let message = "This idempotency key was used for another request. Draw a new one for a new request.";
    let errors = vec![Refusal {
        field: Some(vec!["idempotencyKey".to_owned()]),
        ..refusal("IDEMPOTENCY_KEY_REUSED", message)
    }];
    (StatusCode::UNPROCESSABLE_ENTITY, Json(Refused { errors })).into_response()
}

/// A refusal as it is kept for a repetition.
pub(crate) fn refusal_body(code: &str, message: &str) -> Result<Value, Fault> {
    let refused = Refused {
        errors: vec![refusal(code, message)],
    };
    let body = serde_json::to_value(refused).map_err(Fault::deterministic)?;
    Ok(serde_json::json!({ "refused": body }))
}

fn refusal(code: &str, message: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        message: message.to_owned(),
        field: None,
        retryable: false,
    }
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    BadRequest(String),
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, text).into_response(),
            Self::Fault(fault) if fault.is_transient() => {
                tracing::warn!("a request found the database away: {fault}");
                (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment\n").into_response()
            }
            Self::Fault(fault) => {
                tracing::error!("a request failed: {fault}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
