//! Reads for the edge, as `contracts::http` says.

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use contracts::http::{MAX_IDS, MAX_PAGE, Orders};
use serde::Deserialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::store;

/// Orders of a page when the request names no limit.
const PAGE: i64 = 20;

/// The service's own routes.
pub fn routes(pool: PgPool) -> Router {
    Router::new().route("/orders", get(orders)).with_state(pool)
}

#[derive(Debug, Deserialize)]
struct Wanted {
    purchases: Option<String>,
    customer: Option<String>,
    before: Option<Uuid>,
    limit: Option<i64>,
}

async fn orders(State(pool): State<PgPool>, Query(wanted): Query<Wanted>) -> Result<Json<Orders>, Failure> {
    let orders = match (&wanted.purchases, &wanted.customer) {
        (Some(purchases), None) => store::orders_of(&pool, &parse_ids(purchases)?).await?,
        (None, Some(customer)) => {
            let limit = wanted.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
            store::orders_of_customer(&pool, customer, wanted.before, limit).await?
        }
        (Some(_), Some(_)) | (None, None) => {
            let words = "ask with either ?purchases=a,b or ?customer=subject";
            return Err(Failure::Malformed(words.to_owned()));
        }
    };
    Ok(Json(Orders { orders }))
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
                tracing::warn!("orders could not be read: {error}");
                (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer").into_response()
            }
        }
    }
}
