//! Goal: the suite is worth something. Method: each guard of the system is switched off, in a system of its own, which then
//! suffers what the guard is there for. The suite has to notice, each time; with every guard in place the same is suffered
//! without a violation.

use std::time::Duration;

use mailbox::failpoint::{Guard, Point, VARIABLE, WITHOUT};

use crate::{check::Expectations, conditions, messages, outages, report::Row, world::World};

/// How long a system without a guard may take until nothing moves: it may never come to that.
const SETTLE: Duration = Duration::from_secs(25);
/// Who decides.
const MANAGER: &str = "purchase-manager";
/// How long purchase-manager pauses between a decision and its writing, in milliseconds: others come in between.
const PAUSE_MS: u32 = 250;
/// Purchases accepted meanwhile.
const CANCELLED: usize = 120;
/// The share of customers who change their minds at once, in percent.
const CANCELS: u32 = 60;

/// What each guard is there for, and what is done to see it work.
pub async fn suffer_for(guard: Guard, world: &mut World, row: &mut Row) -> anyhow::Result<()> {
    match guard {
        Guard::Inbox | Guard::Barrier => {
            let fault = async |world: &mut World| messages::repeated(world).await;
            world.suffer(row, fault).await
        }
        Guard::RowLock => {
            slow_managers(world).await?;
            world.shop.cancels = CANCELS;
            let fault = async |world: &mut World| conditions::more_are_accepted(world, CANCELLED).await;
            let suffered = world.suffer(row, fault).await;
            world.shop.cancels = crate::traffic::CANCELS;
            suffered?;
            usual_manager(world).await
        }
        Guard::DeleteRule => {
            let fault = async |world: &mut World| outages::everything_killed(world).await;
            world.suffer(row, fault).await
        }
    }
}

/// One purchase-manager takes one batch after the other and races with nobody, so there are three, each slow between deciding and
/// writing. Dealt out in turn among three, the eight partitions of a purchase's commands and the eight of its replies never meet
/// in one process.
async fn slow_managers(world: &mut World) -> anyhow::Result<()> {
    let first = world.fleet.of(MANAGER);
    world.fleet.kill(first).await?;
    // A group has one way of dealing out, which is its members'.
    conditions::members_are_left(world, MANAGER, 0).await?;
    world.fleet.assignment = Some("roundrobin");
    let slow = [(
        VARIABLE,
        format!("{}=pause@{PAUSE_MS}", Point::SagasDecided.name()),
    )];
    let all = [first, world.fleet.add(MANAGER)?, world.fleet.add(MANAGER)?];
    for number in all {
        world.fleet.start(number, &world.stage, &slow)?;
    }
    for number in all {
        world.fleet.ready(number).await?;
    }
    Ok(())
}

async fn usual_manager(world: &mut World) -> anyhow::Result<()> {
    world.fleet.assignment = None;
    world.halve().await?;
    let first = world.fleet.of(MANAGER);
    world.fleet.kill(first).await?;
    conditions::members_are_left(world, MANAGER, 0).await?;
    world.fleet.bring_back(first, &world.stage).await
}

/// What the row of the table of faults is called, in which the guard is in place.
pub fn name(guard: Guard) -> &'static str {
    match guard {
        Guard::Inbox | Guard::Barrier => "messages duplicated and reordered",
        Guard::RowLock => "cancellations amid slow decisions",
        Guard::DeleteRule => "broker and senders killed together",
    }
}

/// Switches off one guard after the other and prints who noticed. True when each was noticed.
pub async fn run(seed: u64, with_control: bool) -> anyhow::Result<bool> {
    println!("\nguards, seed {seed}");
    let mut good = true;
    if with_control {
        let mut world = Box::pin(World::start(seed, &[])).await?;
        for guard in [Guard::Inbox, Guard::RowLock, Guard::DeleteRule] {
            let mut row = Row::new(name(guard));
            Box::pin(suffer_for(guard, &mut world, &mut row)).await?;
            println!(
                "every guard in place, {}: {} violations",
                row.fault,
                row.violations.len()
            );
            good &= row.violations.is_empty();
        }
        world.stop().await;
    }
    let mut lines = vec![
        "| guard switched off | suffered | noticed | by | seconds |".to_owned(),
        "|---|---|---|---|--:|".to_owned(),
    ];
    for guard in Guard::ALL {
        let started = tokio::time::Instant::now();
        let without = [(WITHOUT.to_owned(), guard.name().to_owned())];
        let mut world = Box::pin(World::start(seed, &without)).await?;
        world.lenient = Some(Expectations {
            settle: SETTLE,
            ..Expectations::default()
        });
        let mut row = Row::new(name(guard));
        let suffered = Box::pin(suffer_for(guard, &mut world, &mut row)).await;
        if let Err(error) = suffered {
            row.violations.push(format!("{error:#}"));
        }
        world.stop().await;
        good &= !row.violations.is_empty();
        println!("without {}: {} noticed", guard.name(), row.violations.len());
        lines.push(format!(
            "| {} | {} | {} | {} | {:.0} |",
            guard.name(),
            row.fault,
            if row.violations.is_empty() { "NO" } else { "yes" },
            row.violations.join("; ").replace('|', "/"),
            started.elapsed().as_secs_f64()
        ));
    }
    println!("\n{}\n", lines.join("\n"));
    Ok(good)
}
