//! The quality scenario of availability: the consolidator is away for a minute under load. No customer sees an error, and every
//! purchase has ended within a minute of its return. Prints the figures; exits with 1 when it is not so.
//!
//! `scripts/scenario-availability` runs it, on the embedded default.

use std::{io::Write, process::ExitCode, time::Duration};

mod scenario;

use anyhow::Context;
use belay::{data_dir::DataDir, load, system::System};
use clap::Parser;
use saga::RetryPolicy;

/// Before the consolidator goes.
const BEFORE: Duration = Duration::from_secs(15);
/// How long it is away, and how long everything may take to end after its return.
const AWAY: Duration = Duration::from_secs(60);

/// What can be said of a run.
#[derive(Debug, Parser)]
struct Scenario {
    /// Purchases per second.
    #[arg(long, default_value_t = 20)]
    rate: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let scenario = Scenario::parse();
    let directory = tempfile::tempdir()?;
    let data = DataDir::create(&directory.path().join("data"))?;
    let _hold = data.hold()?;
    let mut system = System::start(scenario::options(&data, None, RetryPolicy::default())).await?;
    data.announce(system.info())?;
    let result = measure(&scenario, &data, &mut system).await;
    data.withdraw();
    system.stop().await;
    let report = result?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report.table())?;
    let all = report.completed == report.submitted && report.errors == 0 && report.is_good();
    writeln!(
        out,
        "consolidator away for {} s at {} purchases/s: {} of {} completed within {} s of its return, {} errors: {}",
        AWAY.as_secs(),
        scenario.rate,
        report.completed,
        report.submitted,
        AWAY.as_secs(),
        report.errors,
        if all {
            "as it should be"
        } else {
            "NOT as it should be"
        }
    )?;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The load ends when the consolidator is back, and then waits for what is open, at most as long as it may take.
async fn measure(scenario: &Scenario, data: &DataDir, system: &mut System) -> anyhow::Result<load::Report> {
    let args = scenario::load(data, scenario.rate, BEFORE + AWAY, AWAY)?;
    let driving = tokio::spawn(async move { load::measure(&args).await });
    tokio::time::sleep(BEFORE).await;
    system.stop_service("consolidator").await?;
    tokio::time::sleep(AWAY).await;
    system.start_service("consolidator").await?;
    driving.await.context("the load failed")?
}
