//! The quality scenario of availability: the consolidator is away for a minute under load. No customer sees an error, and every
//! purchase has ended within a minute of its return. Prints the figures; exits with 1 when it is not so.
//!
//! `scripts/scenario-availability` runs it, on the embedded default.

use std::{io::Write, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context;
use belay::{
    data_dir::DataDir,
    load,
    system::{AUDIENCE, Options, System},
};
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

/// `belay load` as it is on a command line.
#[derive(Debug, Parser)]
struct Load {
    #[command(flatten)]
    args: load::Args,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let scenario = Scenario::parse();
    let directory = tempfile::tempdir()?;
    let data = DataDir::create(&directory.path().join("data"))?;
    let _hold = data.hold()?;
    let mut system = System::start(options(&data)).await?;
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

fn options(data: &DataDir) -> Options {
    Options {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        database_url: None,
        database_prefix: "belay_".to_owned(),
        database_connections: 8,
        kafka: None,
        connection: host::kafka::KafkaArgs::default(),
        outbox: host::config::OutboxArg::Relay,
        cdc_dir: data.cdc(),
        registry: None,
        issuer: None,
        audience: AUDIENCE.to_owned(),
        smtp: None,
        mail_dir: data.mail(),
        postgres_dir: data.postgres(),
        issuer_dir: data.issuer(),
        retry: RetryPolicy::default(),
    }
}

/// The load ends when the consolidator is back, and then waits for what is open, at most as long as it may take.
async fn measure(scenario: &Scenario, data: &DataDir, system: &mut System) -> anyhow::Result<load::Report> {
    let duration = (BEFORE + AWAY).as_secs().to_string();
    let (rate, wait) = (scenario.rate.to_string(), AWAY.as_secs().to_string());
    let path = data.path().to_string_lossy().into_owned();
    let words = [
        "load",
        "--data",
        &path,
        "--rate",
        &rate,
        "--duration",
        &duration,
        "--wait-seconds",
        &wait,
    ];
    let load = Load::try_parse_from(words)?;
    let driving = tokio::spawn(async move { load::measure(&load.args).await });
    tokio::time::sleep(BEFORE).await;
    system.stop_service("consolidator").await?;
    tokio::time::sleep(AWAY).await;
    system.start_service("consolidator").await?;
    driving.await.context("the load failed")?
}
