//! One look at the system: all snapshots, all invariants.
#![expect(
    clippy::disallowed_methods,
    reason = "temporary tables do not exist when the program is built"
)]

use std::collections::HashSet;

use anyhow::Context;
use sqlx::PgConnection;

use super::{
    Example, Finding, Information, Options, Parked, Report, Settled, Stuck,
    connections::Connections,
    invariants::{INVARIANTS, Invariant},
    snapshot,
};

/// Examples of one invariant in the report.
const EXAMPLES: usize = 5;

/// Violations of one invariant that are kept: beyond it they are no longer counted one by one.
const KEPT: i64 = 100_000;

/// What was seen.
pub(super) struct Look {
    seen: Vec<Seen>,
    information: Information,
}

struct Seen {
    invariant: &'static Invariant,
    checked: i64,
    violations: Vec<Example>,
}

/// Takes the snapshots and runs every invariant on them.
pub(super) async fn look(connections: &mut Connections, options: &Options) -> anyhow::Result<Look> {
    snapshot::take(connections, options).await?;
    let connection = &mut connections.target;
    let mut seen = Vec::with_capacity(INVARIANTS.len());
    for invariant in INVARIANTS {
        let outcome = see(connection, invariant).await;
        seen.push(outcome.with_context(|| format!("{} cannot be checked", invariant.id))?);
    }
    let information = information(connection).await?;
    Ok(Look { seen, information })
}

impl Look {
    pub(super) fn has_violations(&self) -> bool {
        self.seen.iter().any(|seen| !seen.violations.is_empty())
    }

    /// Keeps of this look's violations those that an earlier one saw too.
    pub(super) fn confirming(mut self, earlier: &Self) -> Self {
        for (now, before) in self.seen.iter_mut().zip(&earlier.seen) {
            let before: HashSet<&str> = before.violations.iter().map(|v| v.subject.as_str()).collect();
            now.violations
                .retain(|violation| before.contains(violation.subject.as_str()));
        }
        self
    }

    pub(super) fn report(self, settled: Option<Settled>) -> Report {
        let findings = self.seen.into_iter().map(|mut seen| {
            let violations = seen.violations.len();
            seen.violations.truncate(EXAMPLES);
            Finding {
                id: seen.invariant.id,
                what: seen.invariant.what,
                checked: seen.checked,
                violations,
                examples: seen.violations,
            }
        });
        Report {
            settled,
            invariants: findings.collect(),
            information: self.information,
        }
    }
}

async fn see(connection: &mut PgConnection, invariant: &'static Invariant) -> Result<Seen, sqlx::Error> {
    let checked = sqlx::query_scalar(invariant.checked)
        .fetch_one(&mut *connection)
        .await?;
    // What is wrong with one thing in two ways is one violation.
    let limited = format!(
        "select subject, string_agg(detail, '; ' order by detail) from ({}) v group by subject order by subject
         limit {KEPT}",
        invariant.violations
    );
    let rows: Vec<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(limited))
        .fetch_all(connection)
        .await?;
    let violations = rows
        .into_iter()
        .map(|(subject, detail)| Example { subject, detail })
        .collect();
    Ok(Seen {
        invariant,
        checked,
        violations,
    })
}

/// What is no violation, but waits for a person.
async fn information(connection: &mut PgConnection) -> Result<Information, sqlx::Error> {
    let parked: Vec<(String, String, String, i64, f64)> = sqlx::query_as(
        "select service, topic, error_class, count(*), max(age_s) from parked
         group by service, topic, error_class order by service, topic, error_class",
    )
    .fetch_all(&mut *connection)
    .await?;
    let stuck: Vec<(String, f64)> = sqlx::query_as(
        "select id::text, idle_s from purchase where standing = 'STUCK' order by idle_s desc, id",
    )
    .fetch_all(&mut *connection)
    .await?;
    let (as_of_seconds, purchases, at_rest, open, resolved): (f64, i64, i64, i64, i64) = sqlx::query_as(
        "select extract(epoch from clock_timestamp())::float8, (select count(*) from purchase), (select count(*) from purchase_at_rest),
                (select count(*) from open_purchase), (select count(*) from purchase where is_resolved)",
    )
    .fetch_one(connection)
    .await?;
    let parked = parked
        .into_iter()
        .map(|(service, topic, error_class, messages, oldest_s)| Parked {
            service,
            topic,
            error_class,
            messages,
            oldest_seconds: whole_seconds(oldest_s),
        });
    let stuck_count = stuck.len();
    let stuck = stuck.into_iter().take(EXAMPLES);
    Ok(Information {
        as_of_seconds,
        purchases,
        at_rest,
        open,
        resolved_by_operators: resolved,
        parked: parked.collect(),
        stuck: stuck_count,
        longest_stuck: stuck
            .map(|(purchase, idle_s)| Stuck {
                purchase,
                for_seconds: whole_seconds(idle_s),
            })
            .collect(),
    })
}

/// Seconds for a report: of no interest beyond the range of an integer.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, which is what is wanted"
)]
fn whole_seconds(seconds: f64) -> i64 {
    seconds.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(subjects: &[&str]) -> Look {
        let violations = subjects
            .iter()
            .map(|subject| Example {
                subject: (*subject).to_owned(),
                detail: String::new(),
            })
            .collect();
        let information = Information {
            as_of_seconds: 0.0,
            purchases: 0,
            at_rest: 0,
            open: 0,
            resolved_by_operators: 0,
            parked: Vec::new(),
            stuck: 0,
            longest_stuck: Vec::new(),
        };
        Look {
            seen: vec![Seen {
                invariant: &INVARIANTS[0],
                checked: 9,
                violations,
            }],
            information,
        }
    }

    #[test]
    fn only_what_both_looks_see_is_reported() {
        let report = look(&["moved", "broken"]);
        let report = look(&["broken", "new"]).confirming(&report).report(None);
        assert_eq!(report.invariants[0].violations, 1);
        assert_eq!(report.invariants[0].examples[0].subject, "broken");
    }
}
