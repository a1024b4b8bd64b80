//! HTTP writes with an idempotency key: carried out once, answered the same for as long as the key is kept.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

/// What is known of an idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// Never seen: carry the request out and [`answer`] it in the same transaction.
    Fresh,
    /// Seen with the same request: answer this.
    Repeated(Value),
    /// Seen with another request.
    Reused,
}

/// SHA-256 of the request's JSON form. Field order is the type's, so the same request gives the same hash.
///
/// # Errors
/// When the request cannot be written as JSON.
pub fn hash(request: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    Ok(Sha256::digest(serde_json::to_vec(request)?).to_vec())
}

/// Claims a key in the caller's transaction. A second request with the key waits until the first one's transaction ends.
///
/// # Errors
/// The database's errors.
pub async fn claim(
    connection: &mut PgConnection,
    scope: &str,
    key: Uuid,
    hash: &[u8],
) -> Result<Claim, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into request (scope, key, hash) values ($1, $2, $3) on conflict do nothing",
        scope,
        key,
        hash
    )
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Claim::Fresh);
    }
    let known = sqlx::query!(
        "select hash, response from request where scope = $1 and key = $2",
        scope,
        key
    )
    .fetch_one(connection)
    .await?;
    if known.hash != hash {
        return Ok(Claim::Reused);
    }
    Ok(Claim::Repeated(known.response.unwrap_or(Value::Null)))
}

/// Keeps the answer of a request claimed in this transaction.
///
/// # Errors
/// The database's errors.
pub async fn answer(
    connection: &mut PgConnection,
    scope: &str,
    key: Uuid,
    response: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update request set response = $3 where scope = $1 and key = $2",
        scope,
        key,
        response
    )
    .execute(connection)
    .await?;
    Ok(())
}
