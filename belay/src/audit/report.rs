//! What an audit found, as a table and as JSON.

use serde::Serialize;

use crate::output;

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How the wait for the system went; none when nothing was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
    /// One entry per invariant, in the design's order.
    pub invariants: Vec<Finding>,
    /// What is no violation, but worth knowing.
    pub information: Information,
}

/// How the wait for the system to settle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Whether it settled within the time.
    pub in_time: bool,
    /// How long was waited, in milliseconds.
    pub waited_ms: u64,
    /// Purchases that had neither ended nor were parked at the last look.
    pub open_purchases: i64,
    /// Messages that were still in an outbox at the last look.
    pub waiting_messages: i64,
    /// Purchases that had ended and had no notification at the last look.
    pub untold_outcomes: i64,
}

/// One invariant.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Its name in the design.
    pub id: &'static str,
    /// What must hold.
    pub what: &'static str,
    /// Rows that it was checked on.
    pub checked: i64,
    /// Rows that violate it, in both looks.
    pub violations: usize,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// What it is about: an id, or ids with a slash between them.
    pub subject: String,
    /// What is wrong with it.
    pub detail: String,
}

/// What is no violation, but worth knowing.
#[derive(Debug, Clone, Serialize)]
pub struct Information {
    /// When it was looked at, as Unix time by purchase-manager's database.
    pub as_of_seconds: f64,
    /// Purchases that purchase-manager knows.
    pub purchases: i64,
    /// Those of them that were at rest, and so were checked for it.
    pub at_rest: i64,
    /// Accepted purchases that have neither ended nor are parked.
    pub open: i64,
    /// Purchases that an operator ended by word. They are not checked for what an ended purchase must look like.
    pub resolved_by_operators: i64,
    /// Messages that wait for an operator.
    pub parked: Vec<Parked>,
    /// Purchases that wait for an operator.
    pub stuck: usize,
    /// The ones that wait longest.
    pub longest_stuck: Vec<Stuck>,
}

/// Parked messages of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Parked {
    /// Where they are.
    pub service: String,
    /// Where they came from, or were to go.
    pub topic: String,
    /// The kind of their error.
    pub error_class: String,
    /// How many.
    pub messages: i64,
    /// How long the oldest one waits.
    pub oldest_seconds: i64,
}

/// A stuck purchase.
#[derive(Debug, Clone, Serialize)]
pub struct Stuck {
    /// Its id.
    pub purchase: String,
    /// How long nothing has happened to it.
    pub for_seconds: i64,
}

impl Report {
    /// Whether every invariant holds, and the system settled if that was asked for.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.settled.is_none_or(|settled| settled.in_time)
            && self.invariants.iter().all(|finding| finding.violations == 0)
    }

    /// The names of the violated invariants.
    #[must_use]
    pub fn violated(&self) -> Vec<&'static str> {
        self.invariants
            .iter()
            .filter(|finding| finding.violations > 0)
            .map(|finding| finding.id)
            .collect()
    }

    /// The report with its verdict, for a script.
    ///
    /// # Errors
    /// None that can happen: every part of it can be written as JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct WithVerdict<'a> {
            clean: bool,
            #[serde(flatten)]
            report: &'a Report,
        }
        serde_json::to_string_pretty(&WithVerdict {
            clean: self.is_clean(),
            report: self,
        })
    }

    /// The report for a person.
    #[must_use]
    pub fn table(&self) -> String {
        let rows: Vec<[String; 4]> = self
            .invariants
            .iter()
            .map(|f| {
                [
                    f.id.to_owned(),
                    f.checked.to_string(),
                    f.violations.to_string(),
                    f.what.to_owned(),
                ]
            })
            .collect();
        let mut lines = vec![output::table(["", "checked", "violations", "invariant"], &rows)];
        for finding in &self.invariants {
            for example in &finding.examples {
                lines.push(format!("{}: {}: {}", finding.id, example.subject, example.detail));
            }
            let more = finding.violations.saturating_sub(finding.examples.len());
            if more > 0 {
                lines.push(format!("{}: and {more} more", finding.id));
            }
        }
        lines.push(String::new());
        lines.extend(self.information_lines());
        lines.push(self.verdict());
        lines.join("\n")
    }

    fn information_lines(&self) -> Vec<String> {
        let information = &self.information;
        let mut lines = vec![format!(
            "{} purchases: {} at rest, {} open, {} stuck",
            information.purchases, information.at_rest, information.open, information.stuck
        )];
        if information.resolved_by_operators > 0 {
            lines.push(format!(
                "{} ended by an operator's word, and not checked for I4, I5 and I7",
                information.resolved_by_operators
            ));
        }
        for stuck in &information.longest_stuck {
            lines.push(format!("stuck: {} for {} s", stuck.purchase, stuck.for_seconds));
        }
        for parked in &information.parked {
            lines.push(format!(
                "parked: {} of {} from {} ({}), the oldest for {} s",
                parked.messages, parked.service, parked.topic, parked.error_class, parked.oldest_seconds
            ));
        }
        lines
    }

    fn verdict(&self) -> String {
        let violated = self.violated();
        let unsettled = self.settled.filter(|settled| !settled.in_time).map(|settled| {
            format!(
                "not settled after {:.1} s: {} purchases open, {} messages in outboxes, {} outcomes without notification",
                // Exact far beyond any wait.
                settled.waited_ms as f64 / 1000.0,
                settled.open_purchases,
                settled.waiting_messages,
                settled.untold_outcomes
            )
        });
        match (violated.is_empty(), unsettled) {
            (true, None) => "clean: every invariant holds".to_owned(),
            (true, Some(unsettled)) => {
                format!("every invariant holds so far, but the system has {unsettled}")
            }
            (false, None) => format!("VIOLATED: {}", violated.join(", ")),
            (false, Some(unsettled)) => {
                format!("VIOLATED: {}; the system has {unsettled}", violated.join(", "))
            }
        }
    }
}
