//! `belay audit --watch`: the audit again and again, told as metrics.
//!
//! | metric | what it says |
//! |---|---|
//! | `belay_audit_violations` | rows that violate an invariant, by `invariant`, confirmed by a second look |
//! | `belay_audit_checked` | rows that it was checked on |
//! | `belay_audit_last_run_timestamp_seconds` | when the last audit was completed, as Unix time by the database's clock |
//! | `belay_audit_duration_seconds` | how long it took, the second look included |
//! | `belay_audit_runs_total` | audits by `result`: clean, violated, failed |
//!
//! An audit that fails leaves the figures of the last one as they are: its age tells.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpListener,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{Options, Report, run_on};

/// How long a purchase must have ended before the continuous audit looks at it: what belongs to it has arrived everywhere by then.
pub const AT_REST: Duration = Duration::from_secs(30);

/// Audits every `every` until `shutdown`; the first time at once. `metrics` is where Prometheus asks, if it is to.
///
/// Cancel-safe at any point: an audit writes to no table.
///
/// # Errors
/// When the listener fails. An audit that fails is logged, counted, and made again.
pub async fn run(
    databases: &BTreeMap<String, String>,
    options: &Options,
    every: Duration,
    metrics: Option<TcpListener>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    // Before anything is measured: what is measured earlier is lost.
    host::telemetry::metrics();
    let is_ready = Arc::new(AtomicBool::new(false));
    let auditing = async {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if audit(databases, options).await {
                is_ready.store(true, Ordering::Release);
            }
        }
    };
    let stop = shutdown.clone();
    let serving = async {
        match metrics {
            Some(listener) => host::http::serve_metrics(listener, is_ready.clone(), shutdown).await,
            None => {
                shutdown.cancelled_owned().await;
                Ok(())
            }
        }
    };
    // Serving ends with the shutdown, and finishes the request under way.
    tokio::select! {
        served = serving => served,
        () = async { stop.run_until_cancelled(auditing).await; std::future::pending().await } => Ok(()),
    }
}

/// One audit. Says whether it could be made.
async fn audit(databases: &BTreeMap<String, String>, options: &Options) -> bool {
    let started = Instant::now();
    match run_on(databases, options).await {
        Ok(report) => {
            metrics::gauge!("belay_audit_duration_seconds").set(started.elapsed().as_secs_f64());
            tell(&report);
            true
        }
        Err(error) => {
            metrics::counter!("belay_audit_runs_total", "result" => "failed").increment(1);
            tracing::error!("the audit could not be made: {error:#}");
            false
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn tell(report: &Report) {
    for finding in &report.invariants {
        metrics::gauge!("belay_audit_violations", "invariant" => finding.id).set(finding.violations as f64);
        metrics::gauge!("belay_audit_checked", "invariant" => finding.id).set(finding.checked as f64);
        for example in &finding.examples {
            tracing::error!(
                invariant = finding.id,
                violations = finding.violations,
                subject = %example.subject,
                "{}: {}", finding.what, example.detail
            );
        }
    }
    let result = if report.is_clean() { "clean" } else { "violated" };
    metrics::counter!("belay_audit_runs_total", "result" => result).increment(1);
    metrics::gauge!("belay_audit_last_run_timestamp_seconds").set(report.information.as_of_seconds);
    tracing::info!(
        purchases = report.information.purchases,
        at_rest = report.information.at_rest,
        result,
        "audited"
    );
}

/// A pause as people write it: `30s`, `5m`, `2h`.
///
/// # Errors
/// What to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let form = || format!("`{text}` is no duration: write a number and s, m or h, such as 30s");
    let unit = text.chars().last().ok_or_else(form)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return Err(form()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| form())?;
    count
        .checked_mul(seconds)
        .filter(|seconds| (1..=86_400 * 31).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is out of range: between 1s and 744h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in [
            "",
            "s",
            "30",
            "0s",
            "-1s",
            "1.5m",
            "30 s",
            "1000h",
            "9é",
            "99999999999999999999h",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong} was taken");
        }
    }
}
