//! Reads for the edge, as `contracts::http` says.

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use contracts::http::{MAX_IDS, Payments};
use serde::Deserialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::store;

/// The service's own routes.
pub fn routes(pool: PgPool) -> Router {
    Router::new().route("/payments", get(payments)).with_state(pool)
}

#[derive(Debug, Deserialize)]
struct Wanted {
    purchases: String,
}

async fn payments(
    State(pool): State<PgPool>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Payments>, Failure> {
    let purchases = parse_ids(&wanted.purchases)?;
    let payments = store::payments_of(&pool, &purchases).await?;
    Ok(Json(Payments { payments }))
}

fn parse_ids(text: &str) -> Result<Vec<Uuid>, Failure> {
    let ids: Vec<Uuid> = text
        .split(',')
        .map(|id| Uuid::parse_str(id.trim()))
        .collect::<Result<_, _>>()
        .map_err(|_| Failure::Malformed("ask with ?purchases=a,b, where a and b are UUIDs".to_owned()))?;
    if ids.len() > MAX_IDS {
        return Err(Failure::Malformed(format!(
            "{} ids are too many: ask for {MAX_IDS} at most",
            ids.len()
        )));
    }
    Ok(ids)
}

/// Why a read has no answer.
#[derive(Debug)]
enum Failure {
    /// The request's fault.
    Malformed(String),
    /// The database's.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Malformed(words) => (StatusCode::BAD_REQUEST, words).into_response(),
            Self::Database(error) => {
                tracing::warn!("payments could not be read: {error}");
                (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer").into_response()
            }
        }
    }
}
