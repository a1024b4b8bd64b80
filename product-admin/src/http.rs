//! The routes of product-admin, as [`contracts::http`] lists them.

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use contracts::{
    http::{
        AdjustInventory, CreateProduct, Inventory, MAX_IDS, MAX_PAGE, Movements, ProductWritten, Products,
        Refused, Restock, UpdateProduct,
    },
    ids::ProductId,
};
use mailbox::Fault;
use serde::Deserialize;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    desk::{Desk, DeskError},
    store::products,
};

/// Rows of a page when the request names no limit.
const PAGE: i64 = 50;
/// The end of the year 9999, in microseconds: PostgreSQL's timestamps reach further, people's do not.
const LATEST_MICROS: i64 = 253_402_300_799_999_999;

/// What every route works with.
#[derive(Debug, Clone)]
struct Parts {
    pool: PgPool,
    desk: Desk,
}

/// The service's routes.
pub fn routes(pool: PgPool, desk: Desk) -> Router {
    Router::new()
        .route("/products/changes", get(changes))
        .route("/inventory", get(inventory))
        .route("/products/{id}/movements", get(movements))
        .route("/products", post(create))
        .route("/products/{id}/restock", post(restock))
        .route("/products/{id}/update", post(update))
        .route("/products/{id}/adjust", post(adjust))
        .with_state(Parts { pool, desk })
}

#[derive(Debug, Deserialize)]
struct ChangesQuery {
    since: Option<i64>,
    after: Option<ProductId>,
    limit: Option<i64>,
}

async fn changes(
    State(parts): State<Parts>,
    query: Result<Query<ChangesQuery>, QueryRejection>,
) -> Result<Json<Products>, Failure> {
    const FORM: &str = "GET /products/changes?since=MICROSECONDS_SINCE_1970&after=PRODUCT_ID&limit=N";
    let Query(query) = query.map_err(|error| malformed(FORM, &error.body_text()))?;
    let since = parse_time(query.since.unwrap_or(0)).map_err(|why| malformed(FORM, why))?;
    let limit = parse_limit(query.limit).map_err(|why| malformed(FORM, why))?;
    let products = products::changes(&parts.pool, since, query.after, limit).await?;
    Ok(Json(Products { products }))
}

#[derive(Debug, Deserialize)]
struct InventoryQuery {
    products: String,
}

async fn inventory(
    State(parts): State<Parts>,
    query: Result<Query<InventoryQuery>, QueryRejection>,
) -> Result<Json<Inventory>, Failure> {
    const FORM: &str = "GET /inventory?products=ID,ID";
    let Query(query) = query.map_err(|error| malformed(FORM, &error.body_text()))?;
    let ids = parse_ids(&query.products).map_err(|why| malformed(FORM, &why))?;
    let inventory = products::inventory(&parts.pool, &ids).await?;
    Ok(Json(Inventory { inventory }))
}

#[derive(Debug, Deserialize)]
struct MovementsQuery {
    before: Option<Uuid>,
    limit: Option<i64>,
}

async fn movements(
    State(parts): State<Parts>,
    product: Result<Path<ProductId>, PathRejection>,
    query: Result<Query<MovementsQuery>, QueryRejection>,
) -> Result<Json<Movements>, Failure> {
    const FORM: &str = "GET /products/PRODUCT_ID/movements?before=MOVEMENT_ID&limit=N";
    let Path(product) = product.map_err(|error| malformed(FORM, &error.body_text()))?;
    let Query(query) = query.map_err(|error| malformed(FORM, &error.body_text()))?;
    let limit = parse_limit(query.limit).map_err(|why| malformed(FORM, why))?;
    let movements = products::movements(&parts.pool, product, query.before, limit).await?;
    Ok(Json(Movements { movements }))
}

async fn create(
    State(parts): State<Parts>,
    request: Result<Json<CreateProduct>, JsonRejection>,
) -> Result<Json<ProductWritten>, Failure> {
    const FORM: &str = "POST /products with a JSON object of idempotency_key, actor, sku, name, description, \
                        price_minor, currency, initial_stock";
    let Json(request) = request.map_err(|error| malformed(FORM, &error.body_text()))?;
    Ok(Json(parts.desk.create(&request).await?))
}

async fn restock(
    State(parts): State<Parts>,
    product: Result<Path<ProductId>, PathRejection>,
    request: Result<Json<Restock>, JsonRejection>,
) -> Result<Json<ProductWritten>, Failure> {
    const FORM: &str =
        "POST /products/PRODUCT_ID/restock with a JSON object of idempotency_key, actor, quantity, reason";
    let Path(product) = product.map_err(|error| malformed(FORM, &error.body_text()))?;
    let Json(request) = request.map_err(|error| malformed(FORM, &error.body_text()))?;
    Ok(Json(parts.desk.restock(product, &request).await?))
}

async fn update(
    State(parts): State<Parts>,
    product: Result<Path<ProductId>, PathRejection>,
    request: Result<Json<UpdateProduct>, JsonRejection>,
) -> Result<Json<ProductWritten>, Failure> {
    const FORM: &str = "POST /products/PRODUCT_ID/update with a JSON object of idempotency_key, actor, and what changes of \
                        expected_version, name, description, price, status";
    let Path(product) = product.map_err(|error| malformed(FORM, &error.body_text()))?;
    let Json(request) = request.map_err(|error| malformed(FORM, &error.body_text()))?;
    Ok(Json(parts.desk.update(product, &request).await?))
}

async fn adjust(
    State(parts): State<Parts>,
    product: Result<Path<ProductId>, PathRejection>,
    request: Result<Json<AdjustInventory>, JsonRejection>,
) -> Result<Json<ProductWritten>, Failure> {
    const FORM: &str = "POST /products/PRODUCT_ID/adjust with a JSON object of idempotency_key, actor, delta, \
                        expected_version, reason";
    let Path(product) = product.map_err(|error| malformed(FORM, &error.body_text()))?;
    let Json(request) = request.map_err(|error| malformed(FORM, &error.body_text()))?;
    Ok(Json(parts.desk.adjust(product, &request).await?))
}

fn parse_time(micros: i64) -> Result<DateTime<Utc>, &'static str> {
    const WHY: &str = "since must lie between the years 1970 and 9999";
    if !(0..=LATEST_MICROS).contains(&micros) {
        return Err(WHY);
    }
    DateTime::from_timestamp_micros(micros).ok_or(WHY)
}

fn parse_limit(limit: Option<i64>) -> Result<i64, &'static str> {
    match limit.unwrap_or(PAGE) {
        limit @ 1.. => Ok(limit.min(MAX_PAGE)),
        _ => Err("limit must be at least 1"),
    }
}

fn parse_ids(text: &str) -> Result<Vec<ProductId>, String> {
    let words: Vec<&str> = text.split(',').collect();
    if words.len() > MAX_IDS {
        return Err(format!("{} ids are too many: at most {MAX_IDS}", words.len()));
    }
    words
        .into_iter()
        .map(|word| {
            word.parse()
                .map_err(|_| format!("`{word}` is not a product's id"))
        })
        .collect()
}

/// Every answer that is not the one asked for.
#[derive(Debug)]
enum Failure {
    /// 400 with text.
    Malformed(String),
    /// 422 with [`Refused`].
    Refused(Refused),
    /// 503 when the database is away, 500 otherwise.
    Fault(Fault),
}

fn malformed(form: &str, why: &str) -> Failure {
    Failure::Malformed(format!("{why}\nSend {form}\n"))
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl From<DeskError> for Failure {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Refused(errors) => Self::Refused(Refused { errors }),
            DeskError::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Malformed(text) => (StatusCode::BAD_REQUEST, text).into_response(),
            Self::Refused(refused) => (StatusCode::UNPROCESSABLE_ENTITY, Json(refused)).into_response(),
            Self::Fault(fault) if fault.is_transient() => {
                tracing::warn!("a request waits for the database: {fault}");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the database is away: try again\n",
                )
                    .into_response()
            }
            Self::Fault(fault) => {
                tracing::error!(class = fault.class(), "a request failed: {fault}");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal fault: see the log of product-admin\n",
                )
                    .into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_cut_and_never_below_one() {
        assert_eq!(parse_limit(None), Ok(PAGE));
        assert_eq!(parse_limit(Some(i64::MAX)), Ok(MAX_PAGE));
        assert!(parse_limit(Some(0)).is_err());
    }

    #[test]
    fn a_time_that_postgresql_cannot_hold_is_refused() {
        assert!(parse_time(0).is_ok());
        assert!(parse_time(LATEST_MICROS).is_ok());
        for wrong in [-1, i64::MIN, LATEST_MICROS + 1, i64::MAX] {
            assert!(parse_time(wrong).is_err());
        }
    }

    #[test]
    fn ids_are_counted_and_read() {
        let id = "be1a0000-0000-4000-8000-000000000001";
        assert_eq!(parse_ids(&format!("{id},{id}")).unwrap().len(), 2);
        assert_eq!(parse_ids("7").unwrap_err(), "`7` is not a product's id");
        assert!(parse_ids("").is_err());
        assert!(parse_ids(&vec![id; MAX_IDS + 1].join(",")).is_err());
    }
}
