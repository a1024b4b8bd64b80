//! Processes that stand still, come and go.

use std::time::Duration;

use contracts::traffic::TRAFFIC;
use nix::sys::signal::Signal;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use crate::{fleet::SESSION_MS, world::World};

/// Longer than a session: the broker has given the partitions of whoever stands still to others, if there are any.
const HALT: Duration = Duration::from_millis(SESSION_MS + 2_000);

/// How long two processes may both believe that they bear one name.
const REPLACED_LIMIT: Duration = Duration::from_secs(30);

/// Services stand still for longer than their session and go on as if nothing had been.
pub async fn halted(world: &mut World, services: &[&str]) -> anyhow::Result<()> {
    world.expected.may_be_fenced = true;
    for service in services {
        world.fleet.signal(world.fleet.of(service), Signal::SIGSTOP)?;
    }
    tokio::time::sleep(HALT).await;
    for service in services {
        world.fleet.signal(world.fleet.of(service), Signal::SIGCONT)?;
    }
    Ok(())
}

/// A process stands still, another one takes its name in the groups, and then the first goes on: one of the two has to notice that
/// it has been replaced, and end. Mostly that is the first. When its session was over before it went on, the broker no longer knows
/// it, and it may take its name back.
pub async fn replaced(world: &mut World, service: &'static str) -> anyhow::Result<()> {
    let number = world.fleet.of(service);
    world.fleet.signal(number, Signal::SIGSTOP)?;
    let mut ghost = world.fleet.forsake(number)?;
    world.fleet.bring_back(number, &world.stage).await?;
    ghost.signal(Signal::SIGCONT)?;
    // Cancel-safe: all three only wait.
    let (ended, second) = tokio::select! {
        ended = ghost.ended() => (ended?, false),
        ended = world.fleet.ended(number) => (ended?, true),
        () = tokio::time::sleep(REPLACED_LIMIT) => {
            anyhow::bail!("two of {service} went on for {REPLACED_LIMIT:?} under one name");
        }
    };
    anyhow::ensure!(
        ended.fenced,
        "{service} ended for another reason than its name: {}",
        ended.status
    );
    if second {
        println!("  the second {service} ended, and is started again");
        drop(ghost);
        world.fleet.bring_back(number, &world.stage).await?;
    }
    Ok(())
}

/// Strangers join every group and leave it again, some times over: partitions move to and fro.
pub async fn rebalanced(world: &mut World) -> anyhow::Result<()> {
    for _ in 0..3 {
        let bootstrap = world.stage.bootstrap();
        tokio::task::spawn_blocking(move || visit(&bootstrap)).await??;
    }
    Ok(())
}

fn visit(bootstrap: &str) -> anyhow::Result<()> {
    let mut visitors = Vec::new();
    let readings = TRAFFIC.iter().flat_map(|traffic| traffic.reads);
    for reading in readings.filter(|reading| reading.keeps_offsets) {
        let visitor: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", reading.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", SESSION_MS.to_string())
            .set("log_level", "2")
            .create()?;
        visitor.subscribe(reading.topics)?;
        visitors.push(visitor);
    }
    let end = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < end {
        for visitor in &visitors {
            // What it gets it does not handle and does not commit: whoever comes after it gets it again.
            let _ = visitor.poll(Duration::from_millis(20));
        }
    }
    for visitor in &visitors {
        visitor.unsubscribe();
    }
    Ok(())
}

/// Every process of every service is drained and started again, one after the other, as a rollout does.
pub async fn rolled_out(world: &mut World) -> anyhow::Result<()> {
    for number in 0..world.fleet.len() {
        world.fleet.drain(number).await?;
        world.fleet.bring_back(number, &world.stage).await?;
    }
    Ok(())
}
