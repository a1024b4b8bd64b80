//! Purchases that were accepted here.

use chrono::{DateTime, Utc};
use contracts::{
    ids::{CommandId, CustomerId, PurchaseId},
    money::{Currency, Money},
    purchase_manager::{PurchaseLine, SubmitPurchase},
    topics::PURCHASE_COMMANDS,
    trace::TraceContext,
};
use mailbox::{Codec, Fault, Outgoing};
use sqlx::{PgConnection, PgPool, types::Json};
use uuid::Uuid;

use crate::domain::{
    NotUnderstood,
    purchase::{Line, Purchase},
    words::PurchaseState,
};

/// Pause before the first re-send, in seconds; every further one is twice as long. Well above what an acknowledgement
/// takes when everything runs, so that a backlog is not amplified.
const FIRST_PAUSE_SECONDS: f64 = 10.0;
/// The longest pause between two sends, in seconds.
const LONGEST_PAUSE_SECONDS: f64 = 60.0;
/// How long the key of an acknowledged submission is kept, in seconds: 24 hours.
const KEPT_SECONDS: f64 = 86_400.0;
/// How long a purchase may take until it ends or is parked, in seconds: invariant I3.
const ENDS_WITHIN_SECONDS: f64 = 600.0;

/// An accepted purchase.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub purchase: PurchaseId,
    pub customer: CustomerId,
    pub request_hash: Vec<u8>,
    pub reference: String,
    pub lines: Vec<PurchaseLine>,
    pub total: Money,
    pub payment_method_token: String,
    pub home_delivery: bool,
    pub note: Option<String>,
    pub submitted_at: DateTime<Utc>,
    /// The `traceparent` of the request.
    pub trace: String,
    /// Whether purchase-manager is known to have it.
    pub acknowledged: bool,
}

impl Submission {
    /// The command that starts its saga.
    pub fn command(&self) -> SubmitPurchase {
        SubmitPurchase {
            purchase_id: self.purchase,
            customer_id: self.customer.clone(),
            reference: self.reference.clone(),
            lines: self.lines.clone(),
            currency: self.total.currency,
            total_minor: self.total.minor,
            payment_method_token: self.payment_method_token.clone(),
            home_delivery: self.home_delivery,
            note: self.note.clone(),
            submitted_at: self.submitted_at.timestamp_micros(),
        }
    }

    /// The message with that command. Every send has a message id of its own and the purchase's id as the command's, so
    /// that a submission which is parked is parked once, however often it is sent (test
    /// `resend::every_send_of_a_submission_is_the_same_command`).
    ///
    /// # Errors
    /// When the command does not fit its schema, or the registry is away before its id is known.
    pub fn message(&self, codec: &Codec, trace: TraceContext) -> Result<Outgoing, Fault> {
        let message = codec.outgoing(PURCHASE_COMMANDS, self.purchase, &self.command())?;
        Ok(message.command(CommandId(self.purchase.0)).traced(trace))
    }

    /// What its customer sees before purchase-manager has told of it.
    ///
    /// # Errors
    /// When a line's total leaves 64 bits, which pricing excludes.
    pub fn pending(&self) -> Result<Purchase, NotUnderstood> {
        let currency = self.total.currency;
        Ok(Purchase {
            id: self.purchase,
            customer: self.customer.clone(),
            reference: self.reference.clone(),
            version: 0,
            state: PurchaseState::Pending,
            lines: self
                .lines
                .iter()
                .map(|line| Line::of(line.clone(), currency))
                .collect::<Result<_, _>>()?,
            total: self.total,
            home_delivery: self.home_delivery,
            steps: Vec::new(),
            failure: None,
            created_at: self.submitted_at,
            updated_at: self.submitted_at,
        })
    }
}

struct Row {
    purchase_id: Uuid,
    customer_id: String,
    request_hash: Vec<u8>,
    reference: String,
    lines: Json<Vec<PurchaseLine>>,
    currency: String,
    total_minor: i64,
    payment_method_token: String,
    home_delivery: bool,
    note: Option<String>,
    submitted_at: DateTime<Utc>,
    trace: String,
    acknowledged: bool,
}

impl Row {
    fn submission(self) -> Result<Submission, sqlx::Error> {
        let currency: Currency = self
            .currency
            .parse()
            .map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        Ok(Submission {
            purchase: PurchaseId(self.purchase_id),
            customer: CustomerId(self.customer_id),
            request_hash: self.request_hash,
            reference: self.reference,
            lines: self.lines.0,
            total: Money::new(self.total_minor, currency),
            payment_method_token: self.payment_method_token,
            home_delivery: self.home_delivery,
            note: self.note,
            submitted_at: self.submitted_at,
            trace: self.trace,
            acknowledged: self.acknowledged,
        })
    }
}

/// The submission of a customer with this key.
pub(crate) async fn by_key(
    pool: &PgPool,
    customer: &CustomerId,
    key: Uuid,
) -> Result<Option<Submission>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select purchase_id, customer_id, request_hash, reference, lines as "lines: Json<Vec<PurchaseLine>>",
                  currency, total_minor, payment_method_token, home_delivery, note, submitted_at, trace,
                  acknowledged_at is not null as "acknowledged!"
           from submission where customer_id = $1 and idempotency_key = $2"#,
        customer.0,
        key
    )
    .fetch_optional(pool)
    .await?;
    row.map(Row::submission).transpose()
}

/// The submissions of these purchases; unknown ones are absent.
pub(crate) async fn by_purchases(pool: &PgPool, ids: &[PurchaseId]) -> Result<Vec<Submission>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select purchase_id, customer_id, request_hash, reference, lines as "lines: Json<Vec<PurchaseLine>>",
                  currency, total_minor, payment_method_token, home_delivery, note, submitted_at, trace,
                  acknowledged_at is not null as "acknowledged!"
           from submission where purchase_id = any($1)"#,
        &ids
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::submission).collect()
}

/// A customer's submissions that are not acknowledged, newest first, older than `before`.
pub(crate) async fn open_of(
    pool: &PgPool,
    customer: &CustomerId,
    before: Option<PurchaseId>,
    limit: i64,
) -> Result<Vec<Submission>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select purchase_id, customer_id, request_hash, reference, lines as "lines: Json<Vec<PurchaseLine>>",
                  currency, total_minor, payment_method_token, home_delivery, note, submitted_at, trace,
                  acknowledged_at is not null as "acknowledged!"
           from submission
           where customer_id = $1 and acknowledged_at is null and ($2::uuid is null or purchase_id < $2)
           order by purchase_id desc limit $3"#,
        customer.0,
        before.map(|id| id.0),
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::submission).collect()
}

/// What operators look for among the submissions that are not acknowledged. What is none excludes nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenSearch {
    pub customer: Option<CustomerId>,
    pub reference: Option<String>,
    /// Of one of the lines.
    pub sku: Option<String>,
    /// Inclusive.
    pub created_after: Option<DateTime<Utc>>,
    /// Exclusive.
    pub created_before: Option<DateTime<Utc>>,
    /// Seconds since the submission, at least.
    pub waiting_for_seconds: Option<f64>,
}

/// The submissions that are not acknowledged and looked for, newest first, older than `before`.
pub(crate) async fn find_open(
    pool: &PgPool,
    search: &OpenSearch,
    before: Option<PurchaseId>,
    limit: i64,
) -> Result<Vec<Submission>, sqlx::Error> {
    let line = search.sku.as_ref().map(|sku| serde_json::json!([{ "sku": sku }]));
    let rows = sqlx::query_as!(
        Row,
        r#"select purchase_id, customer_id, request_hash, reference, lines as "lines: Json<Vec<PurchaseLine>>",
                  currency, total_minor, payment_method_token, home_delivery, note, submitted_at, trace,
                  acknowledged_at is not null as "acknowledged!"
           from submission
           where acknowledged_at is null and ($1::uuid is null or purchase_id < $1)
             and ($2::text is null or customer_id = $2)
             and ($3::text is null or reference = $3)
             and ($4::jsonb is null or lines @> $4)
             and ($5::timestamptz is null or submitted_at >= $5)
             and ($6::timestamptz is null or submitted_at < $6)
             and ($7::float8 is null or submitted_at <= now() - make_interval(secs => $7))
           order by purchase_id desc limit $8"#,
        before.map(|id| id.0),
        search.customer.as_ref().map(|customer| customer.0.as_str()),
        search.reference,
        line,
        search.created_after,
        search.created_before,
        search.waiting_for_seconds,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::submission).collect()
}

/// Inserts a submission and gives its time by PostgreSQL's clock; none when the customer's key is taken. Waits for a
/// transaction that is about to take the same key.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    submission: &Submission,
    key: Uuid,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into submission (purchase_id, customer_id, idempotency_key, request_hash, reference, lines, currency,
                                 total_minor, payment_method_token, home_delivery, note, trace, next_send_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
                 now() + make_interval(secs => $13 * (1 + random() / 10)))
         on conflict on constraint submission_key do nothing
         returning submitted_at",
        submission.purchase.0,
        submission.customer.0,
        key,
        submission.request_hash,
        submission.reference,
        Json(&submission.lines) as _,
        submission.total.currency.as_str(),
        submission.total.minor,
        submission.payment_method_token,
        submission.home_delivery,
        submission.note,
        submission.trace,
        FIRST_PAUSE_SECONDS
    )
    .fetch_optional(connection)
    .await
}

/// Locks up to `limit` submissions that are due to be sent again and puts them off to their next time. Those whose last
/// send is still in the outbox are put off without being counted; the others are returned, to be sent in this
/// transaction.
///
/// Three small statements rather than one large one: the first, by an index, is all that runs when nothing is due, which
/// is nearly always.
pub(crate) async fn take_due(
    connection: &mut PgConnection,
    topic: &str,
    limit: i64,
) -> Result<Vec<Submission>, sqlx::Error> {
    let due = sqlx::query_scalar!(
        "select purchase_id from submission
         where acknowledged_at is null and next_send_at <= now()
         order by next_send_at
         limit $1
         for update skip locked",
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = due.iter().map(Uuid::to_string).collect();
    let waiting = sqlx::query_scalar!(
        r#"select distinct aggregateid::uuid as "id!" from outbox where aggregatetype = $1 and aggregateid = any($2)"#,
        topic,
        &keys
    )
    .fetch_all(&mut *connection)
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"update submission
           set attempts = attempts + case when purchase_id = any($2) then 0 else 1 end,
               sent_at = case when purchase_id = any($2) then sent_at else now() end,
               next_send_at = now() + make_interval(secs =>
                   least($3 * power(2, least(attempts, 10)), $4) * (1 + random() / 10))
           where purchase_id = any($1)
           returning purchase_id, customer_id, request_hash, reference, lines as "lines: Json<Vec<PurchaseLine>>",
                     currency, total_minor, payment_method_token, home_delivery, note, submitted_at, trace,
                     acknowledged_at is not null as "acknowledged!""#,
        &due,
        &waiting,
        FIRST_PAUSE_SECONDS,
        LONGEST_PAUSE_SECONDS
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .filter(|row| !waiting.contains(&row.purchase_id))
        .map(Row::submission)
        .collect()
}

/// Notes that purchase-manager has these purchases. Locks in the order of the ids.
pub(crate) async fn acknowledge(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with heard as (
             select purchase_id from submission
             where purchase_id = any($1) and acknowledged_at is null
             order by purchase_id
             for update
         )
         update submission s set acknowledged_at = now(), expires_at = now() + make_interval(secs => $2)
         from heard where s.purchase_id = heard.purchase_id",
        ids,
        KEPT_SECONDS
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that these purchases have ended, or wait for an operator.
pub(crate) async fn end(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update submission set ended_at = now() where purchase_id = any($1) and ended_at is null",
        ids
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How many of a customer's purchases are under way. What was submitted longer ago than every purchase has to end in counts no
/// more: a lost event must not keep a customer from buying.
pub(crate) async fn under_way(
    connection: &mut PgConnection,
    customer: &CustomerId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "open!" from submission
           where customer_id = $1 and ended_at is null and submitted_at > now() - make_interval(secs => $2)"#,
        customer.0,
        ENDS_WITHIN_SECONDS
    )
    .fetch_one(connection)
    .await
}

/// Deletes up to `limit` submissions whose time is over, and says how many there were.
pub(crate) async fn delete_expired(pool: &PgPool, limit: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "delete from submission where purchase_id in (
             select purchase_id from submission where expires_at <= now()
             order by expires_at limit $1 for update skip locked)",
        limit
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}
