//! `belay load`: drives the running system as its users do, and says how fast it was and whether it was right.
//!
//! Purchases are submitted through GraphQL over HTTP and followed to their end through `graphql-transport-ws`
//! subscriptions. Latency is from the submission to the message that tells the end, as the customer sees it:
//!
//! - `--in-flight N` is a closed loop: N purchases are open at any time, and the latency is from the send. A slow
//!   system is asked less, so the latency says how long a purchase takes at that concurrency.
//! - `--rate R` is an open loop: a purchase is due every 1/R seconds whatever became of the earlier ones, and the
//!   latency is from the time when it was due. A system that falls behind cannot hide it.
//!
//! | module | job |
//! |---|---|
//! | [`target`] | where the system is, also after it was started anew |
//! | [`api`] | GraphQL over HTTP, repeated under the same idempotency key |
//! | [`feed`] | one customer's socket with all their purchases on it |
//! | [`shop`] | the products that are bought |
//! | [`plan`] | what the n-th purchase is, by the seed |
//! | [`drive`] | the two loops |
//! | [`tally`] | counts, latencies, the report |

mod api;
mod drive;
mod feed;
mod plan;
mod shop;
mod tally;
mod target;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use rand::Rng;

pub use self::tally::{Latency, Report};
use self::{drive::Pace, plan::Planner, target::Target};
use crate::{audit, data_dir::DataDir, output};

/// More purchases than any measurement needs, and few enough for the stock of the products.
const MOST_PURCHASES: f64 = 10_000_000.0;

/// Buys on the running system, measures it, and audits it afterwards.
///
/// The exit code is 0 when every purchase ended as it should and the audit is clean, else 1.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("pace").required(true).args(["in_flight", "rate"])))]
pub struct Args {
    /// The data directory of the running system.
    #[arg(long, env = "BELAY_DATA", default_value = ".belay", value_name = "DIR")]
    pub data: PathBuf,
    /// Closed loop: this many purchases are open at any time. Latency is from the send.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub in_flight: Option<u32>,
    /// Open loop: this many purchases per second are due. Latency is from the time when a purchase was due.
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// For how long purchases are submitted, in seconds.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub duration: u32,
    /// How many percent of the purchases are made to be refused: half for lack of stock, half by the payment provider.
    #[arg(long, value_name = "P", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub refuse_share: u8,
    /// Over how many customers the purchases are spread. Each has a token and a socket of its own.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub customers: u32,
    /// Decides what is bought: the same seed buys the same. Drawn and reported when it is not given.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How long to wait for the purchases that are open at the end, and then for the system to settle before the audit.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub wait_seconds: u32,
    /// Prints the report as JSON, alone on standard output.
    #[arg(long)]
    pub json: bool,
}

/// Drives the system and prints the report.
///
/// # Errors
/// When no system runs on the directory, it trusts a real issuer, or it is down before the first purchase.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let report = measure(&args).await?;
    output::result(&if args.json { report.json()? } else { report.table() })?;
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Drives the system, waits for what is open, audits. An audit that cannot be made is part of the report.
///
/// # Errors
/// As [`run`].
pub async fn measure(args: &Args) -> anyhow::Result<Report> {
    let pace = pace(args)?;
    let duration = seconds(args.duration);
    let wait = seconds(args.wait_seconds);
    let seed = args.seed.unwrap_or_else(|| rand::thread_rng().r#gen());
    // Tokens outlive the whole run.
    let target = Target::find(
        DataDir::open(&args.data)?,
        duration + wait + Duration::from_secs(600),
    )
    .await?;
    let run = contracts::ids::fresh().simple().to_string();
    let shop = shop::open(&target, &run).await?;
    let planner = Planner::new(seed, args.refuse_share, shop);
    output::note(&format!("buying for {} s, seed {seed}", args.duration));
    let tally = drive::drive(&target, &run, planner, pace, args.customers, duration, wait).await?;
    output::note("auditing");
    // What was measured is told even when the system is gone by now.
    let audit = audit_afterwards(&target, wait).await;
    Ok(tally.report(
        tally::Settings {
            in_flight: args.in_flight,
            rate: args.rate,
            duration_seconds: args.duration,
            refuse_share_percent: args.refuse_share,
            customers: args.customers,
            seed,
        },
        audit,
    ))
}

async fn audit_afterwards(target: &Target, wait: Duration) -> anyhow::Result<audit::Report> {
    let options = audit::Options {
        settle: Some(wait),
        ..audit::Options::default()
    };
    audit::run_on(&target.databases()?, &options).await
}

fn pace(args: &Args) -> anyhow::Result<Pace> {
    match (args.in_flight, args.rate) {
        (Some(in_flight), None) => Ok(Pace::InFlight(in_flight)),
        (None, Some(rate)) if rate * f64::from(args.duration) <= MOST_PURCHASES => Ok(Pace::Rate(rate)),
        (None, Some(_)) => {
            bail!("{MOST_PURCHASES} purchases are the most that one run makes: lower --rate or --duration")
        }
        (Some(_), Some(_)) | (None, None) => bail!("give one of --in-flight and --rate"),
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=100_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("write purchases per second, from 0.01 to 100000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.args)
    }

    #[test]
    fn a_load_has_one_pace() {
        let closed = parse("load --in-flight 8 --duration 2").unwrap();
        assert!(matches!(pace(&closed), Ok(Pace::InFlight(8))));
        let open = parse("load --rate 0.5 --duration 2").unwrap();
        assert!(matches!(pace(&open), Ok(Pace::Rate(_))));
        assert!(parse("load --duration 2").is_err());
        assert!(parse("load --in-flight 8 --rate 2 --duration 2").is_err());
        assert!(parse("load --rate -1 --duration 2").is_err());
        assert!(parse("load --rate nan --duration 2").is_err());
    }

    #[test]
    fn a_load_is_bounded() {
        let endless = parse("load --rate 100000 --duration 86400").unwrap();
        assert!(pace(&endless).unwrap_err().to_string().contains("lower --rate"));
    }
}
