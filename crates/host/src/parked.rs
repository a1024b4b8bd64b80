//! The routes with which operators look at parked messages and settle them: the same for every service, see
//! `contracts::parked`.

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use contracts::{
    http::{Refusal, Refused},
    parked::{ParkedPage, SettleParked},
};
use mailbox::{
    Codec, Fault, Outbox,
    parked::{
        list::{self, Filter},
        settle::{self, Action, Answer},
    },
};
use sqlx::PgPool;
use uuid::Uuid;

/// What the routes need.
#[derive(Debug, Clone)]
struct Desk {
    service: &'static str,
    pool: PgPool,
    codec: Codec,
    outbox: Outbox,
}

/// The routes for the messages that `service` has parked.
pub(crate) fn routes(service: &'static str, pool: PgPool, codec: Codec, outbox: Outbox) -> Router {
    Router::new()
        .route("/parked", get(page))
        .route("/parked/{id}", get(show))
        .route("/parked/replay", post(replay))
        .route("/parked/discard", post(discard))
        .with_state(Desk {
            service,
            pool,
            codec,
            outbox,
        })
}

async fn page(State(desk): State<Desk>, Query(filter): Query<Filter>) -> Result<Json<ParkedPage>, Failure> {
    Ok(Json(list::list(&desk.pool, desk.service, &filter).await?))
}

async fn show(State(desk): State<Desk>, Path(id): Path<Uuid>) -> Result<Response, Failure> {
    Ok(
        match list::show(&desk.pool, &desk.codec, desk.service, id).await? {
            Some(message) => Json(message).into_response(),
            None => (StatusCode::NOT_FOUND, "no such message is parked here\n").into_response(),
        },
    )
}

async fn replay(State(desk): State<Desk>, Json(request): Json<SettleParked>) -> Result<Response, Failure> {
    settle(&desk, Action::Replay, &request).await
}

async fn discard(State(desk): State<Desk>, Json(request): Json<SettleParked>) -> Result<Response, Failure> {
    settle(&desk, Action::Discard, &request).await
}

async fn settle(desk: &Desk, action: Action, request: &SettleParked) -> Result<Response, Failure> {
    Ok(
        match settle::settle(&desk.pool, &desk.outbox, action, request).await? {
            Answer::Done(done) => Json(done).into_response(),
            Answer::Malformed(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
            Answer::KeyReused => {
                let refusal = Refusal {
                    code: "IDEMPOTENCY_KEY_REUSED".to_owned(),
                    message:
                        "This idempotency key was used for another request. Draw a new one for a new request."
                            .to_owned(),
                    field: Some(vec!["idempotencyKey".to_owned()]),
                    retryable: false,
                };
                let errors = vec![refusal];
                (StatusCode::UNPROCESSABLE_ENTITY, Json(Refused { errors })).into_response()
            }
        },
    )
}

/// A request that got no answer.
#[derive(Debug)]
struct Failure(Fault);

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.0.is_transient() {
            tracing::warn!("a request found the database away: {}", self.0);
            (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment\n").into_response()
        } else {
            tracing::error!("a request failed: {}", self.0);
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
