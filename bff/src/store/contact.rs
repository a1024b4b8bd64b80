//! How to reach customers.

use contracts::{http::Contact, ids::CustomerId};
use sqlx::{PgConnection, PgPool};

use crate::auth::Identity;

/// How long a contact is kept after the customer's last purchase, in seconds: 90 days, far beyond the time in which a
/// purchase ends and its mail is given up.
const KEPT_SECONDS: f64 = 7_776_000.0;
/// The longest address that mail can be sent to (RFC 5321, section 4.5.3.1: 64 before the `@`, 255 after it).
const MAX_EMAIL_CHARS: usize = 320;
/// Longer names are cut: they greet, no more.
const MAX_NAME_CHARS: usize = 200;

/// Keeps what the customer's token says. Writes only what changed, and once a day that it is still so: submissions of one
/// customer at once would wait for each other otherwise.
pub(crate) async fn keep(connection: &mut PgConnection, identity: &Identity) -> Result<(), sqlx::Error> {
    let name = identity.name.as_deref().and_then(presentable);
    let email = identity
        .email
        .as_deref()
        .filter(|email| !email.is_empty() && email.chars().count() <= MAX_EMAIL_CHARS);
    sqlx::query!(
        "insert into contact (customer_id, name, email)
         select $1::text, $2::text, $3::text
         where not exists (
             select from contact
             where customer_id = $1 and name is not distinct from $2 and email is not distinct from $3
               and updated_at > now() - interval '1 day')
         on conflict (customer_id) do update set name = excluded.name, email = excluded.email, updated_at = now()",
        identity.subject.0,
        name,
        email
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Locks the customer's row until the transaction ends, so that what is counted for them is counted by one at a time. There is
/// one once [`keep`] was called.
pub(crate) async fn lock(connection: &mut PgConnection, customer: &CustomerId) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        "select customer_id from contact where customer_id = $1 for update",
        customer.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(())
}

/// A name in one line, without what no name has; none if nothing is left.
fn presentable(name: &str) -> Option<String> {
    let kept: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME_CHARS)
        .collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// What is known of these customers; unknown ones are absent.
pub(crate) async fn of(pool: &PgPool, customers: &[CustomerId]) -> Result<Vec<Contact>, sqlx::Error> {
    let ids: Vec<String> = customers.iter().map(|customer| customer.0.clone()).collect();
    let rows = sqlx::query!(
        "select customer_id, name, email from contact where customer_id = any($1)",
        &ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Contact {
            customer_id: CustomerId(row.customer_id),
            name: row.name,
            email: row.email,
        })
        .collect())
}

/// Deletes up to `limit` contacts whose time is over, and says how many there were.
pub(crate) async fn delete_expired(pool: &PgPool, limit: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "delete from contact where customer_id in (
             select customer_id from contact where updated_at <= now() - make_interval(secs => $2)
             order by updated_at limit $1 for update skip locked)",
        limit,
        KEPT_SECONDS
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_bearable_length() {
        assert_eq!(presentable(" Ann\r\nBcc: x ").as_deref(), Some("AnnBcc: x"));
        assert_eq!(presentable("\n "), None);
        assert_eq!(
            presentable(&"x".repeat(500)).map(|name| name.len()),
            Some(MAX_NAME_CHARS)
        );
    }
}
