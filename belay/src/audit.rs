//! `belay audit`: the invariants I1 to I11 of the design, checked on the services' databases.
//!
//! The databases are separate, so no statement can see two of them. Each service is read once, in one repeatable-read
//! transaction, and what the invariants need is copied into temporary tables of a single connection
//! ([`snapshot`]). There every invariant is one SQL statement ([`invariants`]).
//!
//! The snapshots are taken one after the other while the system may be at work, so what looks broken across two of them
//! may only have moved in between. A violation is therefore reported only when a second look, a moment later, finds the
//! same one (test `only_what_both_looks_see_is_reported`).
//!
//! With `--watch` it is made again and again, on what moved lately ([`watch`]); what it costs is in docs/operations.md.
//!
//! Nothing is written to any table: the sources are read in read-only transactions, and the temporary tables end with
//! their connection. The role that asks purchase-manager's database needs the right to make temporary tables there; apart from
//! that the right to read is enough, which `belay provision` gives the role of the audit (test
//! `the_role_of_the_audit_reads_everything_and_writes_nothing`).

mod connections;
mod invariants;
mod look;
mod report;
mod settle;
mod snapshot;
pub mod watch;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use self::connections::Connections;
pub use self::{
    invariants::{INVARIANTS, Invariant},
    report::{Example, Finding, Information, Parked, Report, Settled, Stuck},
};
use crate::{data_dir::DataDir, output};

/// The services whose databases are read.
pub const SERVICES: [&str; 7] = [
    "bff",
    "purchase-manager",
    "product-admin",
    "consolidator",
    "orders",
    "payments",
    "notifications",
];

/// Pause between the two looks: long against a transaction, short against a person's patience.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(1);

/// What the continuous audit looks at: what moved within an hour. The whole is for the audit by the hour.
const WATCHED: Duration = Duration::from_secs(3_600);

/// The exit code when the audit could not be made.
const COULD_NOT_RUN: u8 = 2;

/// Checks the invariants I1 to I11 on the services' databases.
///
/// The exit code is 0 when all of them hold, 1 when one is violated or the system did not settle in time, and 2 when the
/// audit could not be made.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory of the running system.
    #[arg(long, env = "BELAY_DATA", default_value = ".belay", value_name = "DIR")]
    pub data: PathBuf,
    /// A service's database, instead of the running system's; may be repeated. With all of them no running system is
    /// needed.
    #[arg(long = "database-url", value_name = "SERVICE=URL", value_parser = parse_database, hide_env_values = true)]
    pub database_urls: Vec<(String, String)>,
    /// Prints the report as JSON, alone on standard output.
    #[arg(long)]
    pub json: bool,
    /// How long a purchase must have ended before it counts as at rest. 0 suits a system that has settled, 30 one that is
    /// at work.
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub at_rest_seconds: u32,
    /// Waits at most this long until every purchase has ended or is parked and all outboxes are empty.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub settle: Option<u32>,
    /// Looks at what moved within this time alone, such as 1h: purchases that changed, came or have not ended, and what belongs to
    /// them. Without it at everything; with --watch at one hour.
    #[arg(long, value_name = "DURATION", value_parser = watch::parse_duration)]
    pub window: Option<Duration>,
    /// Audits again and again until it is stopped, purchases that have been at rest for 30 s or more.
    #[arg(long, conflicts_with_all = ["settle", "json"])]
    pub watch: bool,
    /// Pause from one audit to the next.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = watch::parse_duration, requires = "watch")]
    pub every: Duration,
    /// Where Prometheus asks for the figures: a port of this machine alone, or ADDRESS:PORT. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = parse_metrics, requires = "watch")]
    pub metrics: Option<SocketAddr>,
    /// Within which time a purchase must end or be parked (I3).
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub bound_seconds: u32,
}

/// What an audit is to go by.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a purchase must have ended before it counts as at rest.
    pub at_rest: Duration,
    /// Within which time a purchase must end or be parked.
    pub bound: Duration,
    /// How long to wait for the system to settle first; none looks at it as it is.
    pub settle: Option<Duration>,
    /// Looks at what moved within this time alone; none at everything.
    pub window: Option<Duration>,
    /// Pause between the two looks.
    pub second_look_after: Duration,
}

impl Default for Options {
    /// As on the command line: everything that has ended is at rest, the bound is 10 minutes.
    fn default() -> Self {
        Self {
            at_rest: Duration::ZERO,
            bound: Duration::from_secs(600),
            settle: None,
            window: None,
            second_look_after: SECOND_LOOK_AFTER,
        }
    }
}

/// Makes the audit and prints it.
///
/// # Errors
/// When standard output cannot be written; whatever is in the audit's way is told on standard error and becomes the exit
/// code 2.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.watch {
        return watch(&args).await;
    }
    match report(&args).await {
        Ok(report) => {
            output::result(&if args.json { report.json()? } else { report.table() })?;
            Ok(if report.is_clean() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Err(error) => {
            output::note(&format!("the audit could not be made: {error:#}"));
            Ok(ExitCode::from(COULD_NOT_RUN))
        }
    }
}

async fn report(args: &Args) -> anyhow::Result<Report> {
    run_on(&databases(args)?, &options(args)).await
}

fn options(args: &Args) -> Options {
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    let at_rest = seconds(args.at_rest_seconds);
    Options {
        at_rest: if args.watch {
            at_rest.max(watch::AT_REST)
        } else {
            at_rest
        },
        bound: seconds(args.bound_seconds),
        settle: args.settle.map(seconds),
        window: args.window.or(args.watch.then_some(WATCHED)),
        ..Options::default()
    }
}

async fn watch(args: &Args) -> anyhow::Result<ExitCode> {
    let databases = databases(args)?;
    let listener = match args.metrics {
        Some(address) => Some(
            host::http::bind(address)
                .await
                .context("choose another --metrics")?,
        ),
        None => None,
    };
    let place = match &listener {
        Some(listener) => format!("; metrics on http://{}/metrics", listener.local_addr()?),
        None => String::new(),
    };
    output::note(&format!("auditing every {:?}{place}", args.every));
    let shutdown = CancellationToken::new();
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        if host::program::stop_signal().await.is_ok() {
            signalled.cancel();
        }
    });
    watch::run(&databases, &options(args), args.every, listener, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

fn databases(args: &Args) -> anyhow::Result<BTreeMap<String, String>> {
    let given: BTreeMap<String, String> = args.database_urls.iter().cloned().collect();
    if SERVICES.iter().all(|service| given.contains_key(*service)) {
        return Ok(given);
    }
    let mut databases = DataDir::open(&args.data)?.system()?.databases;
    databases.extend(given);
    Ok(databases)
}

/// Makes the audit on these databases, by service.
///
/// Cancelling it leaves nothing behind.
///
/// # Errors
/// When a service's database is not named, cannot be reached, or has tables of another version.
pub async fn run_on(databases: &BTreeMap<String, String>, options: &Options) -> anyhow::Result<Report> {
    if let Some(missing) = SERVICES.iter().find(|service| !databases.contains_key(**service)) {
        bail!("the database of {missing} is not known: give it with --database-url {missing}=postgres://…");
    }
    let mut connections = Connections::open(databases).await?;
    let settled = match options.settle {
        Some(limit) => Some(settle::settle(&mut connections, limit).await?),
        None => None,
    };
    let mut look = look::look(&mut connections, options).await?;
    if look.has_violations() {
        tokio::time::sleep(options.second_look_after).await;
        let second = look::look(&mut connections, options)
            .await
            .context("the second look failed")?;
        look = second.confirming(&look);
    }
    connections.close().await;
    Ok(look.report(settled))
}

/// A port alone is this machine's: nobody else needs the figures unless it is said.
fn parse_metrics(text: &str) -> Result<SocketAddr, String> {
    let alone = text
        .parse::<u16>()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    alone
        .or_else(|_| text.parse::<SocketAddr>())
        .map_err(|_| format!("`{text}` is no address: write a port, or ADDRESS:PORT"))
}

fn parse_database(text: &str) -> Result<(String, String), String> {
    let Some((service, url)) = text.split_once('=') else {
        return Err("write SERVICE=URL, such as orders=postgres://role:password@host:5432/orders".to_owned());
    };
    if !SERVICES.contains(&service) {
        return Err(format!(
            "`{service}` is not a service: write one of {}",
            SERVICES.join(", ")
        ));
    }
    Ok((service.to_owned(), url.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_given_for_a_service_that_exists() {
        let parsed = parse_database("orders=postgres://a?x=y").unwrap();
        assert_eq!(parsed, ("orders".to_owned(), "postgres://a?x=y".to_owned()));
        assert!(
            parse_database("order=postgres://a")
                .unwrap_err()
                .contains("payments")
        );
        assert!(parse_database("postgres://a").is_err());
    }
}
