//! Counts and latencies, and the report that they become.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::plan::Expected;
use crate::{audit, output};

/// Different problems that the report names; the rest is only counted.
const PROBLEMS: usize = 10;

/// Latencies are kept in microseconds up to an hour, with three significant digits.
const LONGEST_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// A purchase that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub expected: Expected,
    pub state: String,
    pub failure: Option<String>,
    pub at: Instant,
    pub took: Duration,
}

/// What happened so far.
#[derive(Debug)]
pub(super) struct Tally {
    end: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    submitted: u64,
    repeated: u64,
    completed_in_time: u64,
    unexpected: u64,
    errors: u64,
    problems: BTreeMap<String, u64>,
    unnamed_problems: u64,
    latencies: BTreeMap<Expected, Histogram<u64>>,
}

impl Tally {
    /// Nothing happened; what completes until `end` counts for the rate.
    pub fn new(end: Instant) -> Self {
        Self {
            end,
            counts: Mutex::default(),
        }
    }

    /// The edge answered a submission, after so many repetitions.
    pub fn submitted(&self, repeated: u64) {
        let mut counts = self.lock();
        counts.submitted += 1;
        counts.repeated += repeated;
    }

    /// A purchase ended.
    pub fn ended(&self, ended: Ended) {
        let mut counts = self.lock();
        if !ended.expected.is(&ended.state, ended.failure.as_deref()) {
            counts.unexpected += 1;
            let failure = ended.failure.unwrap_or_else(|| "no failure".to_owned());
            counts.problem(&format!(
                "{} ({failure}), expected {}",
                ended.state,
                ended.expected.words()
            ));
            return;
        }
        if ended.expected == Expected::Completed && ended.at <= self.end {
            counts.completed_in_time += 1;
        }
        let took_us = u64::try_from(ended.took.as_micros()).unwrap_or(u64::MAX);
        counts
            .latencies
            .entry(ended.expected)
            .or_insert_with(histogram)
            .saturating_record(took_us);
    }

    /// A purchase could not be made or followed.
    pub fn error(&self, what: &str) {
        let mut counts = self.lock();
        counts.errors += 1;
        counts.problem(what);
    }

    /// One line for whoever watches.
    pub fn progress(&self) -> String {
        let counts = self.lock();
        format!(
            "{} submitted, {} completed, {} rejected, {} errors",
            counts.submitted,
            counts.of(Expected::Completed),
            counts.of(Expected::OutOfStock) + counts.of(Expected::Declined),
            counts.errors + counts.unexpected
        )
    }

    /// The report of a run that is over.
    pub fn report(self, settings: Settings, audit: anyhow::Result<audit::Report>) -> Report {
        let counts = self.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let latency = Expected::ALL.into_iter().filter_map(|expected| {
            let histogram = counts.latencies.get(&expected)?;
            Some(Latency::of(expected, histogram))
        });
        let (audit, audit_problem) = match audit {
            Ok(audit) => (Some(audit), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        // Exact far beyond any run.
        let completed_per_second = counts.completed_in_time as f64 / f64::from(settings.duration_seconds);
        Report {
            latency_from: if settings.rate.is_some() {
                "the time when a purchase was due"
            } else {
                "the send"
            },
            settings,
            submitted: counts.submitted,
            completed: counts.of(Expected::Completed),
            rejected: counts.of(Expected::OutOfStock) + counts.of(Expected::Declined),
            other: counts.unexpected,
            errors: counts.errors,
            repeated_sends: counts.repeated,
            completed_per_second,
            latency: latency.collect(),
            problems: counts.problems,
            unnamed_problems: counts.unnamed_problems,
            audit,
            audit_problem,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Only counters, which are right at every moment.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&self, expected: Expected) -> u64 {
        self.latencies.get(&expected).map_or(0, Histogram::len)
    }

    fn problem(&mut self, what: &str) {
        if let Some(count) = self.problems.get_mut(what) {
            *count += 1;
        } else if self.problems.len() < PROBLEMS {
            self.problems.insert(what.to_owned(), 1);
        } else {
            self.unnamed_problems += 1;
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds and digits are constants in range")
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    pub duration_seconds: u32,
    pub refuse_share_percent: u8,
    pub customers: u32,
    pub seed: u64,
}

/// What a load found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    #[serde(flatten)]
    settings: Settings,
    /// Submissions that the edge answered.
    pub submitted: u64,
    /// Purchases that completed as they should.
    pub completed: u64,
    /// Purchases that were rejected as they should.
    pub rejected: u64,
    /// Purchases that ended otherwise than they should.
    pub other: u64,
    /// Purchases that could not be made or followed, or did not end in time.
    pub errors: u64,
    /// Requests that were sent again, because they got no answer.
    pub repeated_sends: u64,
    /// Purchases that completed while purchases were being submitted, per second of it.
    pub completed_per_second: f64,
    /// Where latencies begin. They end when the message of the end is here.
    pub latency_from: &'static str,
    /// Per outcome.
    pub latency: Vec<Latency>,
    /// What went wrong, and how often.
    pub problems: BTreeMap<String, u64>,
    /// What went wrong in yet other ways.
    pub unnamed_problems: u64,
    /// The audit afterwards; none when it could not be made.
    pub audit: Option<audit::Report>,
    /// Why it could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_problem: Option<String>,
}

/// Latencies of one outcome, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// The outcome.
    pub outcome: &'static str,
    /// Purchases with it.
    pub count: u64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    fn of(expected: Expected, histogram: &Histogram<u64>) -> Self {
        // Exact: an hour has fewer microseconds than 2^52.
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        Self {
            outcome: expected.words(),
            count: histogram.len(),
            p50_ms: at(0.50),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: ms(histogram.max()),
        }
    }
}

impl Report {
    /// Whether every purchase ended as it should, and the audit is clean.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.errors == 0 && self.other == 0 && self.audit.as_ref().is_some_and(audit::Report::is_clean)
    }

    /// For a script.
    ///
    /// # Errors
    /// None that can happen: every part of it can be written as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        let mut value = serde_json::to_value(self)?;
        if let Some(audit) = &self.audit {
            value["audit"]["clean"] = audit.is_clean().into();
        }
        serde_json::to_string_pretty(&value)
    }

    /// For a person.
    #[must_use]
    pub fn table(&self) -> String {
        let pace = match (self.settings.in_flight, self.settings.rate) {
            (Some(count), _) => format!("{count} in flight"),
            (None, Some(rate)) => format!("{rate} per second"),
            (None, None) => String::new(),
        };
        let mut lines = vec![
            format!(
                "{pace} for {} s, {} % to be refused, {} customers, seed {}",
                self.settings.duration_seconds,
                self.settings.refuse_share_percent,
                self.settings.customers,
                self.settings.seed
            ),
            format!(
                "{} submitted, {} completed, {} rejected as they should, {} ended otherwise, {} errors, {} requests repeated",
                self.submitted, self.completed, self.rejected, self.other, self.errors, self.repeated_sends
            ),
            format!("{:.1} completed per second", self.completed_per_second),
            String::new(),
            self.latency_table(),
            format!(
                "milliseconds from {} to the message of the end",
                self.latency_from
            ),
        ];
        lines.extend(
            self.problems
                .iter()
                .map(|(what, count)| format!("problem: {count} × {what}")),
        );
        if self.unnamed_problems > 0 {
            lines.push(format!("problem: {} × of other kinds", self.unnamed_problems));
        }
        lines.push(String::new());
        lines.extend(self.audit.as_ref().map(audit::Report::table));
        lines.extend(
            self.audit_problem
                .as_ref()
                .map(|why| format!("the audit could not be made: {why}")),
        );
        lines.join("\n")
    }

    fn latency_table(&self) -> String {
        let rows: Vec<[String; 6]> = self
            .latency
            .iter()
            .map(|row| {
                let ms = |value: f64| format!("{value:.1}");
                [
                    row.outcome.to_owned(),
                    row.count.to_string(),
                    ms(row.p50_ms),
                    ms(row.p95_ms),
                    ms(row.p99_ms),
                    ms(row.max_ms),
                ]
            })
            .collect();
        output::table(["outcome", "count", "p50", "p95", "p99", "max"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(expected: Expected, state: &str, failure: Option<&str>, at: Instant, took_ms: u64) -> Ended {
        let failure = failure.map(str::to_owned);
        Ended {
            expected,
            state: state.to_owned(),
            failure,
            at,
            took: Duration::from_millis(took_ms),
        }
    }

    fn settings() -> Settings {
        Settings {
            in_flight: Some(4),
            rate: None,
            duration_seconds: 10,
            refuse_share_percent: 0,
            customers: 2,
            seed: 1,
        }
    }

    fn clean_audit() -> audit::Report {
        let information = audit::Information {
            as_of_seconds: 0.0,
            purchases: 0,
            at_rest: 0,
            open: 0,
            resolved_by_operators: 0,
            parked: Vec::new(),
            stuck: 0,
            longest_stuck: Vec::new(),
        };
        audit::Report {
            settled: None,
            invariants: Vec::new(),
            information,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_completes_in_time_counts_for_the_rate() {
        let end = Instant::now();
        let tally = Tally::new(end);
        let late = end + Duration::from_secs(1);
        tally.ended(ended(Expected::Completed, "COMPLETED", None, end, 20));
        tally.ended(ended(Expected::Completed, "COMPLETED", None, late, 40));
        tally.ended(ended(
            Expected::Declined,
            "REJECTED",
            Some("PAYMENT_DECLINED"),
            end,
            10,
        ));
        let report = tally.report(settings(), Ok(clean_audit()));
        assert!((report.completed_per_second - 0.1).abs() < 1e-9);
        assert_eq!((report.completed, report.rejected), (2, 1));
        assert!(report.is_good());
        assert!(
            (report.latency[0].max_ms - 40.0).abs() < 0.1,
            "{:?}",
            report.latency
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_purchase_that_is_rejected_fails_the_load() {
        let tally = Tally::new(Instant::now());
        tally.ended(ended(
            Expected::Completed,
            "REJECTED",
            Some("INSUFFICIENT_STOCK"),
            Instant::now(),
            1,
        ));
        let report = tally.report(settings(), Ok(clean_audit()));
        assert_eq!((report.other, report.completed), (1, 0));
        assert!(!report.is_good());
        assert!(
            report.table().contains("REJECTED (INSUFFICIENT_STOCK)"),
            "{}",
            report.table()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_audit_a_load_is_told_and_fails() {
        let report = Tally::new(Instant::now()).report(settings(), Err(anyhow::anyhow!("nothing runs")));
        assert!(!report.is_good());
        assert!(
            report
                .table()
                .contains("the audit could not be made: nothing runs")
        );
        assert!(report.json().unwrap().contains(r#""audit": null"#));
    }

    #[tokio::test(start_paused = true)]
    async fn problems_are_named_up_to_a_number_and_counted_beyond() {
        let tally = Tally::new(Instant::now());
        for number in 0..PROBLEMS + 3 {
            tally.error(&format!("problem {number}"));
        }
        let report = tally.report(settings(), Ok(clean_audit()));
        assert_eq!(
            (report.errors, report.problems.len(), report.unnamed_problems),
            (13, PROBLEMS, 3)
        );
    }
}
