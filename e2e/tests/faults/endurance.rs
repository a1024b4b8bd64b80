//! Thousands of purchases, and every few seconds some service dies.

#![expect(
    clippy::disallowed_methods,
    reason = "looks into purchase-manager's tables, whose schema could not be checked here"
)]

use std::{collections::BTreeMap, time::Duration};

use rand::Rng;
use tokio::time::MissedTickBehavior;

use crate::{check::Expectations, world::World};

/// How long the system may take to end what is under way when the last customer has been served.
const SETTLE: Duration = Duration::from_secs(300);

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Endurance {
    /// How many purchases are accepted.
    #[arg(long, default_value_t = 10_000)]
    purchases: usize,
    /// Purchases per second.
    #[arg(long, default_value_t = 30.0)]
    rate: f64,
    /// Seconds between two kills.
    #[arg(long, default_value_t = 5)]
    every: u64,
}

/// Runs and prints the figures. True when all is well.
pub async fn run(seed: u64, asked: &Endurance) -> anyhow::Result<bool> {
    println!("endurance, seed {seed}: {asked:?}");
    let mut world = Box::pin(World::start(seed, &[])).await?;
    let started = tokio::time::Instant::now();
    let traffic = world.shop.buy_up_to(asked.rate, seed, asked.purchases);
    let mut tick = tokio::time::interval(Duration::from_secs(asked.every));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    let mut in_flight = Vec::new();
    while !traffic.is_finished() {
        tick.tick().await;
        let number = world.random.gen_range(0..world.fleet.len());
        in_flight.push(world.in_flight().await?);
        world.fleet.kill(number).await?;
        *kills.entry(world.fleet.service(number)).or_default() += 1;
        world.fleet.bring_back(number, &world.stage).await?;
    }
    traffic.finished().await;
    let bought = started.elapsed();
    world.expected = Expectations {
        settle: SETTLE,
        ..Expectations::default()
    };
    let wrong = world.settle().await?;
    let settled = started.elapsed() - bought;
    let mut manager = world.stage.database("purchase-manager").await?;
    let ends: Vec<(String, i64)> = sqlx::query_as(
        "select standing, count(*) from saga where state is not null group by standing order by standing",
    )
    .fetch_all(&mut manager)
    .await?;
    let times: u32 = kills.values().sum();
    println!(
        "accepted {} in {:.0} s, {times} kills ({}), on average {} in flight at a kill",
        world.shop.book.accepted(),
        bought.as_secs_f64(),
        list(&kills),
        in_flight.iter().sum::<i64>() / i64::from(times.max(1))
    );
    println!(
        "settled after {:.0} s: {}; {} requests were sent again",
        settled.as_secs_f64(),
        list(&ends.into_iter().collect()),
        world
            .shop
            .book
            .repeated
            .load(std::sync::atomic::Ordering::Relaxed)
    );
    for one in &wrong {
        println!("  VIOLATED: {one}");
    }
    println!("{} violations", wrong.len());
    world.stop().await;
    Ok(wrong.is_empty())
}

fn list<K: std::fmt::Display, V: std::fmt::Display>(all: &BTreeMap<K, V>) -> String {
    all.iter()
        .map(|(what, many)| format!("{what} {many}"))
        .collect::<Vec<_>>()
        .join(", ")
}
