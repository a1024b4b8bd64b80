//! What a fault waits for before it goes on: a condition of the system, never a time.

use std::time::Duration;

use anyhow::Context;
use contracts::traffic::TRAFFIC;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use crate::world::World;

/// How long anything of this may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(50);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !holds().await? {
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "{what}: not within {LIMIT:?}"
        );
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}

/// Until so many more purchases have been accepted.
pub async fn more_are_accepted(world: &World, more: usize) -> anyhow::Result<()> {
    let enough = world.shop.book.accepted() + more;
    until("customers go on buying", async || {
        Ok(world.shop.book.accepted() >= enough)
    })
    .await
}

/// Until so many purchases wait for somebody.
pub async fn purchases_pile_up(world: &World, many: i64) -> anyhow::Result<()> {
    until("purchases wait", async || Ok(world.in_flight().await? >= many)).await
}

/// Until the broker counts no more than so many members in each of a service's groups: the sessions of the others are over.
pub async fn members_are_left(world: &World, service: &str, most: usize) -> anyhow::Result<()> {
    let traffic = TRAFFIC
        .iter()
        .find(|traffic| traffic.service == service)
        .context("a service has traffic")?;
    let groups: Vec<&'static str> = traffic
        .reads
        .iter()
        .filter(|reading| reading.keeps_offsets)
        .map(|reading| reading.group)
        .collect();
    until("members leave their groups", async || {
        let (bootstrap, groups) = (world.stage.bootstrap(), groups.clone());
        tokio::task::spawn_blocking(move || {
            let asking: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &bootstrap)
                .set("log_level", "2")
                .create()?;
            for group in groups {
                let listed = asking.fetch_group_list(Some(group), Duration::from_secs(5))?;
                if listed.groups().iter().any(|known| known.members().len() > most) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?
    })
    .await
}
