//! The quality scenario of scalability, on an Apache Kafka: a consolidator that takes 100 ms for each message.
//!
//! First the same backlog is worked off by 1, 2 and 4 instances: it must fall in proportion. Then instances come and go as the
//! autoscaler of `kubernetes/components/keda` would have it (one for every 5 waiting messages, 1 to 5), under a load that one
//! instance cannot bear: the backlog must stay bounded and end, and partitions may move when instances come or go, and not
//! otherwise. Prints the figures; exits with 1 when it is not so. `make scenario-scalability` runs it.

#![expect(clippy::disallowed_methods, reason = "it measures")]

mod scenario;

use std::{
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use belay::{data_dir::DataDir, load, system::System};
use host::Running;
use parts::{Kafka, KafkaOptions};
use saga::RetryPolicy;
use sqlx::{Connection, PgConnection};

const SLOW: &str = "consolidator";
/// What one instance takes for a message, so it bears ten a second.
const DELAY_MS: u32 = 100;
/// Purchases that wait when the instances of the first part start, and how fast they were submitted.
const BACKLOG: i64 = 240;
const BACKLOG_RATE: u32 = 40;
/// The second part: more than two instances bear.
const RATE: u32 = 30;
const LOAD: Duration = Duration::from_secs(90);
/// As `kubernetes/components/keda/scaled-objects.yaml` says, but asked three times as often, so that it does not take minutes.
const PER_INSTANCE: usize = 5;
const MOST: usize = 5;
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Eight partitions do not divide evenly by the purchases' keys, so four instances are not four times as fast.
const LEAST_SHARE: f64 = 0.7;
/// When an instance comes or goes, each one of at most five is called twice: partitions are taken, then given (KIP-429).
const REBALANCES_PER_CHANGE: u64 = 2 * MOST as u64;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let metrics = host::telemetry::metrics();
    let kafka = Kafka::start(KafkaOptions::default()).await?;
    let directory = tempfile::tempdir()?;
    let data = DataDir::create(&directory.path().join("data"))?;
    let _hold = data.hold()?;
    // A command that waits in the backlog must not be sent again: the figures are about the first sends.
    let retry = RetryPolicy::new(Duration::from_secs(60), Duration::from_secs(60), 8);
    let options = scenario::options(&data, Some(kafka.bootstrap()), retry);
    let mut system = System::start(options).await?;
    data.announce(system.info())?;
    let rebalances = || counted(&metrics.render(), "belay_consumer_rebalances_total");
    let result = measure(&data, &mut system, rebalances).await;
    data.withdraw();
    system.stop().await;
    let good = result?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(data: &DataDir, system: &mut System, rebalances: impl Fn() -> u64) -> anyhow::Result<bool> {
    system.stop_service(SLOW).await?;
    let mut counts = Counts::open(system).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{BACKLOG} waiting, {DELAY_MS} ms each")?;
    writeln!(out, "instances  handled/s  against one")?;
    let (mut one, mut good) = (None, true);
    for instances in [1, 2, 4] {
        let rate = drain(data, system, &mut counts, instances).await?;
        let against = rate / *one.get_or_insert(rate);
        good &= against >= LEAST_SHARE * f64::from(instances);
        writeln!(out, "{instances:>9}  {rate:>9.1}  {against:>11.2}")?;
    }
    let scaled = autoscale(data, system, &mut counts, rebalances).await?;
    writeln!(
        out,
        "\n{RATE} per second for {} s, instances as the autoscaler asks:",
        LOAD.as_secs()
    )?;
    writeln!(out, "second  waiting  instances")?;
    for look in &scaled.looks {
        writeln!(
            out,
            "{:>6}  {:>7}  {:>9}",
            look.second, look.waiting, look.instances
        )?;
    }
    writeln!(out, "{}", scaled.report.table())?;
    writeln!(
        out,
        "{} changes of the instances, {} calls to give or take partitions (at most {} are due)",
        scaled.changes,
        scaled.rebalances,
        scaled.changes * REBALANCES_PER_CHANGE
    )?;
    good &= scaled.is_good();
    writeln!(
        out,
        "{}",
        if good {
            "as it should be"
        } else {
            "NOT as it should be"
        }
    )?;
    Ok(good)
}

/// Lets a backlog come up with nobody to handle it, and works it off with so many instances. Gives messages per second, from
/// the first to three quarters: the end is a matter of which keys came last.
async fn drain(data: &DataDir, system: &System, counts: &mut Counts, instances: i32) -> anyhow::Result<f64> {
    let before = counts.handled().await?;
    let seconds = Duration::from_secs(BACKLOG.unsigned_abs() / u64::from(BACKLOG_RATE));
    let args = scenario::load(data, BACKLOG_RATE, seconds, Duration::from_secs(120))?;
    let driving = tokio::spawn(async move { load::measure(&args).await });
    counts
        .until("the backlog came up", async |counts| {
            Ok(counts.waiting().await? >= BACKLOG)
        })
        .await?;
    let mut running = Vec::new();
    for _ in 0..instances {
        running.push(instance(system).await?);
    }
    // All of them have their partitions: a member that comes late would make this a measure of its coming.
    counts
        .until("the first is handled", async |counts| {
            Ok(counts.handled().await? > before + BACKLOG / 8)
        })
        .await?;
    let (from, started) = (counts.handled().await?, Instant::now());
    counts
        .until("three quarters are handled", async |counts| {
            Ok(counts.handled().await? >= before + BACKLOG * 3 / 4)
        })
        .await?;
    let (to, took) = (counts.handled().await?, started.elapsed());
    let report = driving.await.context("the load failed")??;
    ensure!(
        report.is_good(),
        "a purchase did not end as it should:\n{}",
        report.table()
    );
    stop(running).await?;
    let handled = f64::from(i32::try_from(to - from).context("few were submitted")?);
    Ok(handled / took.as_secs_f64())
}

struct Look {
    second: u64,
    waiting: i64,
    instances: usize,
}

struct Scaled {
    looks: Vec<Look>,
    report: load::Report,
    changes: u64,
    rebalances: u64,
}

impl Scaled {
    /// Everything completed; nothing waited at the end; instances were added; partitions moved for a reason.
    fn is_good(&self) -> bool {
        let most = self
            .looks
            .iter()
            .map(|look| look.instances)
            .max()
            .unwrap_or_default();
        self.report.is_good()
            && self.report.completed == self.report.submitted
            && most > 2
            && self.looks.last().is_some_and(|look| {
                usize::try_from(look.waiting).is_ok_and(|waiting| waiting <= PER_INSTANCE)
            })
            && self.rebalances <= self.changes * REBALANCES_PER_CHANGE
    }
}

async fn autoscale(
    data: &DataDir,
    system: &System,
    counts: &mut Counts,
    rebalances: impl Fn() -> u64,
) -> anyhow::Result<Scaled> {
    let moved_before = rebalances();
    let mut running = vec![instance(system).await?];
    let mut changes = 1;
    let args = scenario::load(data, RATE, LOAD, Duration::from_secs(60))?;
    let driving = tokio::spawn(async move { load::measure(&args).await });
    let (started, mut looks) = (Instant::now(), Vec::new());
    let mut ask = tokio::time::interval(ASK_EVERY);
    loop {
        ask.tick().await;
        let waiting = counts.waiting().await?;
        looks.push(Look {
            second: started.elapsed().as_secs(),
            waiting,
            instances: running.len(),
        });
        if driving.is_finished() {
            break;
        }
        let wanted = usize::try_from(waiting.max(0))?
            .div_ceil(PER_INSTANCE)
            .clamp(1, MOST);
        // Up at once; down never during the load, as the autoscaler's five minutes have it.
        while running.len() < wanted {
            running.push(instance(system).await?);
            changes += 1;
        }
    }
    let report = driving.await.context("the load failed")??;
    let moved = rebalances() - moved_before;
    stop(running).await?;
    Ok(Scaled {
        looks,
        report,
        changes,
        rebalances: moved,
    })
}

async fn instance(system: &System) -> anyhow::Result<Running> {
    system
        .start_instance(SLOW, &[&format!("--delay-ms={DELAY_MS}")])
        .await
}

async fn stop(running: Vec<Running>) -> anyhow::Result<()> {
    for result in futures::future::join_all(running.into_iter().map(Running::stop)).await {
        result?;
    }
    Ok(())
}

/// The sum of a counter over its labels, in Prometheus' text.
fn counted(text: &str, metric: &str) -> u64 {
    text.lines()
        .filter(|line| line.starts_with(metric) && line.contains(SLOW))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// How many purchases there are, and how many the slow participant has answered.
struct Counts {
    sagas: PgConnection,
    operations: PgConnection,
}

impl Counts {
    async fn open(system: &System) -> anyhow::Result<Self> {
        let connect = async |service: &str| {
            let url = system
                .info()
                .databases
                .get(service)
                .context("the service has a database")?;
            anyhow::Ok(PgConnection::connect_with(&host::database::options(url, service)?).await?)
        };
        Ok(Self {
            sagas: connect("purchase-manager").await?,
            operations: connect(SLOW).await?,
        })
    }

    async fn handled(&mut self) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("select count(*) from operation")
            .fetch_one(&mut self.operations)
            .await?)
    }

    async fn waiting(&mut self) -> anyhow::Result<i64> {
        let sagas: i64 = sqlx::query_scalar("select count(*) from saga")
            .fetch_one(&mut self.sagas)
            .await?;
        Ok(sagas - self.handled().await?)
    }

    /// Waits for a condition, two minutes at most.
    async fn until(
        &mut self,
        what: &str,
        condition: impl AsyncFn(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !condition(self).await? {
            ensure!(
                started.elapsed() < Duration::from_secs(120),
                "after two minutes it is not so: {what}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
