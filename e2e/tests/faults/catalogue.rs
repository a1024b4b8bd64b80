//! The faults, in the order of the design's list.

use std::time::Duration;

use mailbox::failpoint::{Point, VARIABLE};
use nix::sys::signal::Signal;
use rand::Rng;

use crate::{
    report::{Row, table},
    serve::SERVICES,
    world::World,
};

/// How long a service may take to come to the place where it is to die.
const REACH_LIMIT: Duration = Duration::from_secs(60);

/// One line of the table.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KilledAt(Point),
    BrokerKilled,
    DatabaseRestarted,
}

impl Fault {
    fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Point::ALL.into_iter().map(Self::KilledAt).collect();
        all.extend([Self::BrokerKilled, Self::DatabaseRestarted]);
        all
    }

    fn name(self) -> String {
        match self {
            Self::KilledAt(point) => format!("kill -9 at {}", point.name()),
            Self::BrokerKilled => "broker killed and restarted".to_owned(),
            Self::DatabaseRestarted => "PostgreSQL restarted at once".to_owned(),
        }
    }

    async fn happen(self, world: &mut World, row: &mut Row) -> anyhow::Result<()> {
        match self {
            Self::KilledAt(point) => {
                for service in services_at(point) {
                    world
                        .suffer(row, async |world| killed_at(world, service, point).await)
                        .await?;
                }
            }
            Self::BrokerKilled => {
                for away in [0, 4] {
                    let away = Duration::from_secs(away);
                    world
                        .suffer(row, async |world| broker_killed(world, away).await)
                        .await?;
                }
            }
            Self::DatabaseRestarted => {
                for _ in 0..3 {
                    world
                        .suffer(row, async |world| world.stage.restart_database().await)
                        .await?;
                }
            }
        }
        Ok(())
    }
}

/// The services that come to a place.
fn services_at(point: Point) -> Vec<&'static str> {
    match point {
        Point::BatchTaken | Point::BatchWritten | Point::BatchCommitted => SERVICES.to_vec(),
        Point::RelaySelected | Point::RelaySent | Point::RelayDeleted => {
            let mut all = SERVICES.to_vec();
            // It sends nothing but mail.
            all.retain(|service| *service != "notifications");
            all
        }
        Point::SagasDecided | Point::TimersWritten | Point::TimersCommitted => vec!["purchase-manager"],
        Point::SubmissionWritten | Point::SubmissionCommitted => vec!["bff"],
        Point::MailsClaimed | Point::MailsSent => vec!["notifications"],
    }
}

/// A service dies at a place, a few times after it has come there, and is started again.
async fn killed_at(world: &mut World, service: &'static str, point: Point) -> anyhow::Result<()> {
    let number = world.fleet.of(service);
    let time = world.random.gen_range(1..=4);
    world.fleet.kill(number).await?;
    let armed = [(VARIABLE, format!("{}=kill@{time}", point.name()))];
    // Timers run out only where somebody does not answer.
    let silent =
        matches!(point, Point::TimersWritten | Point::TimersCommitted).then(|| world.fleet.of("payments"));
    if let Some(silent) = silent {
        world.fleet.signal(silent, Signal::SIGSTOP)?;
    }
    world.fleet.start(number, &world.stage, &armed)?;
    let died = world.fleet.dies(number, REACH_LIMIT).await?;
    if let Some(silent) = silent {
        world.fleet.signal(silent, Signal::SIGCONT)?;
    }
    anyhow::ensure!(died, "{service} never came to {}", point.name());
    world.fleet.bring_back(number, &world.stage).await
}

async fn broker_killed(world: &mut World, away: Duration) -> anyhow::Result<()> {
    world.stage.kill_broker().await;
    tokio::time::sleep(away).await;
    world.stage.restart_broker().await
}

/// Lets everything happen whose name contains one of the words, or everything, and prints the table. True when all was well.
pub async fn run(seed: u64, only: &[String]) -> anyhow::Result<bool> {
    println!("faults, seed {seed}");
    let mut world = Box::pin(World::start(seed, &[])).await?;
    let mut rows = Vec::new();
    for fault in Fault::all() {
        let name = fault.name();
        if !only.is_empty() && !only.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let mut row = Row {
            fault: name,
            times: 0,
            in_flight: 0,
            violations: Vec::new(),
            seconds: 0.0,
        };
        let happened = Box::pin(fault.happen(&mut world, &mut row)).await;
        println!(
            "{}: {} times, {} in flight, {} violations, {:.0} s",
            row.fault,
            row.times,
            row.in_flight,
            row.violations.len(),
            row.seconds
        );
        if let Err(error) = happened {
            row.violations.push(format!("{error:#}"));
            println!("  FAILED: {error:#}");
            rows.push(row);
            break;
        }
        rows.push(row);
    }
    let purchases = world.shop.book.accepted();
    world.stop().await;
    println!(
        "\n{}\n\n{purchases} purchases were accepted; seed {seed}",
        table(&rows)
    );
    Ok(rows.iter().all(|row| row.violations.is_empty()))
}
