//! Whether all is well: the system settles, the audit is clean, and what the audit cannot see is as it should be.

#![expect(
    clippy::disallowed_methods,
    reason = "looks into several services' tables, of which no schema could be checked"
)]

use std::time::Duration;

use anyhow::Context;
use belay::audit;
use uuid::Uuid;

use crate::{ledger::Ledger, serve::SERVICES, stage::Stage, traffic::Book};

/// What a check is to go by.
#[derive(Debug, Clone, Copy)]
pub struct Expectations {
    /// How long the system may take until nothing moves.
    pub settle: Duration,
    /// Messages that are parked by rights.
    pub parked: i64,
    /// Whether the broker still has what it was sent.
    pub broker_remembers: bool,
    /// Whether a process may have ended with an error: one that stood still may come back as the old bearer of its name, which
    /// the broker refuses for good (`FENCED_INSTANCE_ID`), and is started again. Any other end is wrong.
    pub may_be_fenced: bool,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(120),
            parked: 0,
            broker_remembers: true,
            may_be_fenced: false,
        }
    }
}

/// Waits until nothing moves and says what is wrong: nothing, when all is well.
pub async fn check(
    stage: &Stage,
    book: &Book,
    ledger: &mut Ledger,
    expected: Expectations,
) -> anyhow::Result<Vec<String>> {
    let options = audit::Options {
        settle: Some(expected.settle),
        ..audit::Options::default()
    };
    let report = audit::run_on(&stage.databases, &options)
        .await
        .context("the audit cannot be made")?;
    let mut wrong = Vec::new();
    for finding in &report.invariants {
        if let Some(first) = finding.examples.first() {
            wrong.push(format!(
                "{} ×{}: {}: {}",
                finding.id, finding.violations, first.subject, first.detail
            ));
        }
    }
    if let Some(settled) = report.settled.filter(|settled| !settled.in_time) {
        wrong.push(format!(
            "not settled after {} s: {} open, {} unsent, {} untold",
            settled.waited_ms / 1000,
            settled.open_purchases,
            settled.waiting_messages,
            settled.untold_outcomes
        ));
    }
    wrong.extend(every_accepted_purchase_has_ended(stage, book).await?);
    wrong.extend(nothing_is_parked(stage, expected.parked).await?);
    wrong.extend(no_message_was_taken_twice(stage).await?);
    wrong.extend(no_decision_was_overwritten(stage).await?);
    if expected.broker_remembers {
        wrong.extend(ledger.everything_was_sent(stage).await?);
    } else {
        ledger.forgive(stage).await?;
    }
    Ok(wrong)
}

/// The audit knows what the system knows; the customers know what they were promised.
async fn every_accepted_purchase_has_ended(stage: &Stage, book: &Book) -> anyhow::Result<Option<String>> {
    let accepted: Vec<Uuid> = book.ids();
    let mut database = stage.database("purchase-manager").await?;
    let ended: i64 = sqlx::query_scalar(
        "select count(*) from saga where id = any($1) and standing in ('COMPLETED', 'REJECTED', 'CANCELLED')",
    )
    .bind(&accepted)
    .fetch_one(&mut database)
    .await?;
    let missing = accepted.len() as i64 - ended;
    Ok((missing != 0).then(|| format!("{missing} accepted purchases have not ended")))
}

async fn nothing_is_parked(stage: &Stage, expected: i64) -> anyhow::Result<Option<String>> {
    let mut parked = 0;
    let mut first = String::new();
    for service in SERVICES {
        let mut database = stage.database(service).await?;
        let found: Vec<(String, String)> =
            sqlx::query_as("select topic, error from parked where resolved_at is null")
                .fetch_all(&mut database)
                .await?;
        parked += found.len() as i64;
        if let Some((topic, error)) = found.into_iter().next() {
            first = format!("{service}, {topic}: {error}");
        }
    }
    Ok((parked != expected).then(|| format!("{parked} messages parked instead of {expected}: {first}")))
}

/// A saga's log names the message behind every entry. What one message brings about is one transaction, at one time.
async fn no_message_was_taken_twice(stage: &Stage) -> anyhow::Result<Option<String>> {
    let mut database = stage.database("purchase-manager").await?;
    let twice: i64 = sqlx::query_scalar(
        "select count(*) from (select from saga_event where message_id is not null
                               group by saga_id, message_id having count(distinct at) > 1) twice",
    )
    .fetch_one(&mut database)
    .await?;
    Ok((twice != 0).then(|| format!("{twice} messages were taken twice")))
}

/// A saga knows how long its log is. An entry of a decision that another one overwrote is one that it does not know of.
async fn no_decision_was_overwritten(stage: &Stage) -> anyhow::Result<Option<String>> {
    let mut database = stage.database("purchase-manager").await?;
    let overwritten: i64 = sqlx::query_scalar(
        "select count(*) from saga
         where log_length <> (select count(*) from saga_event where saga_id = saga.id)",
    )
    .fetch_one(&mut database)
    .await?;
    Ok((overwritten != 0).then(|| format!("{overwritten} sagas have decisions that were overwritten")))
}
