//! Processes that die.

use std::time::Duration;

use mailbox::failpoint::{Point, VARIABLE};
use nix::sys::signal::Signal;
use rand::Rng;

use crate::{conditions, serve::SERVICES, world::World};

/// How long a service may take to come to the place where it is to die.
const REACH_LIMIT: Duration = Duration::from_secs(60);

/// The services that come to a place.
pub fn services_at(point: Point) -> Vec<&'static str> {
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

/// Services die at a place, each a few times after it has come there, and are started again. The first must not need the others
/// to come to the place.
pub async fn killed_at(world: &mut World, services: &[&'static str], point: Point) -> anyhow::Result<()> {
    // Timers run out only where somebody does not answer.
    let silent =
        matches!(point, Point::TimersWritten | Point::TimersCommitted).then(|| world.fleet.of("payments"));
    if let Some(silent) = silent {
        world.expected.may_be_fenced = true;
        world.fleet.signal(silent, Signal::SIGSTOP)?;
    }
    for service in services {
        let number = world.fleet.of(service);
        let time = world.random.gen_range(1..=4);
        world.fleet.kill(number).await?;
        let armed = [(VARIABLE, format!("{}=kill@{time}", point.name()))];
        world.fleet.start(number, &world.stage, &armed)?;
    }
    for service in services {
        let number = world.fleet.of(service);
        let died = world.fleet.dies(number, REACH_LIMIT).await?;
        anyhow::ensure!(died, "{service} never came to {}", point.name());
        if let Some(silent) = silent {
            world.fleet.signal(silent, Signal::SIGCONT)?;
        }
        world.fleet.bring_back(number, &world.stage).await?;
    }
    Ok(())
}

/// One of two processes of a service dies and does not come back while customers buy: its partitions move to the other one.
pub async fn partitions_move(world: &mut World, service: &'static str) -> anyhow::Result<()> {
    let first = world.fleet.of(service);
    world.fleet.kill(first).await?;
    conditions::members_are_left(world, service, 1).await
}
