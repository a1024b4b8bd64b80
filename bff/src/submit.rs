//! Accepting a purchase: check, price, and write submission and command in one transaction.
//!
//! Nothing but PostgreSQL is needed for it, so purchases are accepted while Kafka or any other service is away.

use contracts::{
    ids::{ProductId, PurchaseId},
    trace::TraceContext,
};
use mailbox::failpoint::{self, Point};
use uuid::Uuid;

use crate::{
    app::App,
    auth::Identity,
    domain::{
        Refusal,
        pricing::{self, PurchaseRequest},
        words::UserErrorCode,
    },
    store::{catalogue, contact, submission, submission::Submission},
};

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// It is accepted, now or earlier with the same key.
    Accepted {
        submission: Box<Submission>,
        deduplicated: bool,
    },
    /// The business says no.
    Refused(Vec<Refusal>),
}

/// Accepts a purchase, or says why not. The same key with the same request gives the same purchase, also when both come
/// at once (tests `submit::…`).
///
/// Cancelled before the commit, nothing has happened; afterwards the same request again tells what did.
///
/// # Errors
/// When the database fails, or the purchase does not fit a message, which the limits of [`pricing`] exclude.
pub(crate) async fn submit(
    app: &App,
    identity: &Identity,
    key: Uuid,
    request: PurchaseRequest,
    trace: TraceContext,
) -> anyhow::Result<Submitted> {
    let customer = &identity.subject;
    let request_hash = mailbox::request::hash(&request)?;
    // First of all the key: a repetition is answered as the first time, whatever has changed in the catalogue since.
    if let Some(known) = submission::by_key(&app.pool, customer, key).await? {
        return Ok(repeated(known, &request_hash));
    }
    let ids: Vec<ProductId> = request
        .lines
        .iter()
        .take(pricing::MAX_LINES)
        .filter_map(|line| line.product)
        .collect();
    let products = catalogue::by_ids(&app.pool, &ids).await?;
    let priced = match pricing::price(&request, &products, &app.shop) {
        Ok(priced) => priced,
        Err(refusals) => return Ok(Submitted::Refused(refusals)),
    };
    let purchase = PurchaseId::fresh();
    let mut accepted = Submission {
        purchase,
        customer: customer.clone(),
        request_hash,
        reference: purchase.reference(),
        lines: priced.lines,
        total: priced.total,
        payment_method_token: request.payment_method_token,
        home_delivery: request.home_delivery,
        note: request.note,
        submitted_at: chrono::DateTime::UNIX_EPOCH,
        trace: trace.to_string(),
        acknowledged: false,
    };
    let mut tx = app.pool.begin().await?;
    let Some(submitted_at) = submission::insert(&mut tx, &accepted, key).await? else {
        // Another request with this key was quicker; its transaction has ended, so its row can be seen.
        tx.rollback().await?;
        let known = submission::by_key(&app.pool, customer, key).await?;
        let known =
            known.ok_or_else(|| anyhow::anyhow!("the submission expired while its key was looked up"))?;
        return Ok(repeated(known, &accepted.request_hash));
    };
    accepted.submitted_at = submitted_at;
    contact::keep(&mut tx, identity).await?;
    // Of two submits at once the second waits here and then counts the first (test `submit::two_submits_at_the_cap_admit_one`).
    contact::lock(&mut tx, customer).await?;
    if submission::under_way(&mut tx, customer).await? > i64::from(app.max_open_purchases) {
        tx.rollback().await?;
        metrics::counter!("belay_purchases_over_cap_total").increment(1);
        return Ok(Submitted::Refused(vec![over_cap(app.max_open_purchases)]));
    }
    let command = accepted.message(&app.codec, trace)?;
    app.outbox.append(&mut tx, &[command]).await?;
    failpoint::reach(Point::SubmissionWritten).await;
    tx.commit().await?;
    failpoint::reach(Point::SubmissionCommitted).await;
    app.outbox.wake_relay();
    metrics::counter!("belay_purchases_submitted_total").increment(1);
    tracing::info!(purchase.id = %purchase, "a purchase is accepted");
    Ok(Submitted::Accepted {
        submission: Box::new(accepted),
        deduplicated: false,
    })
}

fn over_cap(most: u32) -> Refusal {
    let message = format!(
        "You have {most} purchases under way, which is the most. Submit this one when one of them has ended."
    );
    Refusal::unavailable(message)
}

fn repeated(known: Submission, request_hash: &[u8]) -> Submitted {
    if known.request_hash == request_hash {
        return Submitted::Accepted {
            submission: Box::new(known),
            deduplicated: true,
        };
    }
    let message = "This idempotency key was used for another purchase. Draw a new one for a new purchase.";
    Submitted::Refused(vec![
        Refusal::new(UserErrorCode::IdempotencyKeyReused, message).at(["idempotencyKey"]),
    ])
}
