//! The route by which a service tells of itself: the same for every service, see `contracts::report`.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::PgPool;

use crate::service::VERSION;

/// The route for `service`.
pub(crate) fn routes(service: &'static str, pool: PgPool) -> Router {
    Router::new()
        .route("/report", get(tell))
        .with_state((service, pool))
}

async fn tell(State((service, pool)): State<(&'static str, PgPool)>) -> Response {
    match mailbox::report::read(&pool, service, VERSION).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => {
            tracing::warn!(service, "a report could not be read: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment\n").into_response()
        }
    }
}
