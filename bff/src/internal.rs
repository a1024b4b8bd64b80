//! What the edge tells its own services, at an address of its own that the public never reaches.
//!
//! Customers' addresses are personal data, so they are not served where GraphQL is, whatever a proxy in front lets through.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use contracts::http::{Contacts, ContactsWanted, MAX_IDS};
use sqlx::PgPool;

use crate::store::contact;

/// The routes.
pub(crate) fn routes(pool: PgPool) -> Router {
    Router::new().route("/contacts", post(contacts)).with_state(pool)
}

async fn contacts(State(pool): State<PgPool>, Json(wanted): Json<ContactsWanted>) -> Response {
    if wanted.customers.len() > MAX_IDS {
        return (StatusCode::BAD_REQUEST, "too many customers at once").into_response();
    }
    match contact::of(&pool, &wanted.customers).await {
        Ok(contacts) => Json(Contacts { contacts }).into_response(),
        Err(error) => {
            tracing::warn!("contacts could not be read: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer").into_response()
        }
    }
}
