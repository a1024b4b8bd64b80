//! Reads for operators. No name and no address is in them.

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use contracts::http::{MAX_IDS, MAX_PAGE};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::store::{self, Notification};

/// The service's own routes: `GET /notifications?purchases=a,b` and `GET /notifications/failed?limit=N`.
pub fn routes(pool: PgPool) -> Router {
    Router::new()
        .route("/notifications", get(notifications))
        .route("/notifications/failed", get(failed))
        .with_state(pool)
}

/// Answer to both.
#[derive(Debug, Serialize)]
struct Notifications {
    notifications: Vec<Notification>,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    purchases: String,
}

async fn notifications(
    State(pool): State<PgPool>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Notifications>, Failure> {
    let purchases = parse_ids(&wanted.purchases)?;
    let notifications = store::of_purchases(&pool, &purchases).await?;
    Ok(Json(Notifications { notifications }))
}

#[derive(Debug, Deserialize)]
struct Page {
    limit: Option<i64>,
}

async fn failed(
    State(pool): State<PgPool>,
    Query(page): Query<Page>,
) -> Result<Json<Notifications>, Failure> {
    let limit = page.limit.unwrap_or(20).clamp(1, MAX_PAGE);
    let notifications = store::failed(&pool, limit).await?;
    Ok(Json(Notifications { notifications }))
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
                tracing::warn!("notifications could not be read: {error}");
                (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer").into_response()
            }
        }
    }
}
