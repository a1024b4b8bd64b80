//! Broker, database and the wires to them.

use std::time::Duration;

use contracts::topics::{Cleanup, TOPICS};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};

use crate::{conditions, world::World};

/// How long a server keeps a connection whose other end does not answer: the relay's keepalive is 10 s and 3 probes, 2 s apart.
const KEEPALIVE: Duration = Duration::from_secs(16);

/// Purchases that wait for services that are away, before what they wait for is deleted.
const PILED_UP: i64 = 25;
/// Purchases that are accepted while nothing can be sent, and of which as many messages are unsent when their senders die.
const UNSENT: usize = 25;

/// The broker dies and comes back on its data after a while.
pub async fn broker_killed(world: &mut World, away: Duration) -> anyhow::Result<()> {
    world.stage.kill_broker().await;
    tokio::time::sleep(away).await;
    world.stage.restart_broker().await
}

/// The broker dies, services go on writing to their outboxes, and then everybody who sends dies too.
pub async fn everything_killed(world: &mut World) -> anyhow::Result<()> {
    world.stage.kill_broker().await;
    // And not by what is in the outboxes: without the guard that this is suffered for nothing stays there.
    conditions::more_are_accepted(world, UNSENT).await?;
    for number in 0..world.fleet.len() {
        world.fleet.kill(number).await?;
    }
    world.stage.restart_broker().await?;
    world.fleet.start_all(&world.stage).await
}

/// A broker comes in the old one's place that has never heard of anything: no message, no group, no offset. The old one was
/// started again before, so that its leader epochs are ahead of the new one's, which librdkafka takes for old news.
pub async fn broker_forgot(world: &mut World) -> anyhow::Result<()> {
    world.expected.broker_remembers = false;
    broker_killed(world, Duration::ZERO).await?;
    world.stage.forget_everything().await
}

/// Messages wait for services that are away, and are deleted.
pub async fn records_deleted(world: &mut World, services: [&'static str; 2]) -> anyhow::Result<()> {
    world.expected.broker_remembers = false;
    for service in services {
        let number = world.fleet.of(service);
        world.fleet.kill(number).await?;
    }
    conditions::purchases_pile_up(world, PILED_UP).await?;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", world.stage.bootstrap())
        .set("log_level", "2")
        .create()?;
    let mut everything = TopicPartitionList::new();
    for topic in TOPICS {
        match topic.cleanup {
            Cleanup::Delete { .. } => {
                for partition in 0..topic.partitions {
                    everything.add_partition_offset(topic.name, partition, Offset::End)?;
                }
            }
            // The broker refuses it there.
            Cleanup::Compact => {}
        }
    }
    let deleted = admin.delete_records(&everything, &AdminOptions::new()).await?;
    for partition in deleted.elements() {
        partition.error()?;
    }
    for service in services {
        let number = world.fleet.of(service);
        world.fleet.bring_back(number, &world.stage).await?;
    }
    Ok(())
}

/// Every connection to PostgreSQL and to Kafka is closed, some times over.
pub async fn cut(world: &mut World) -> anyhow::Result<()> {
    for _ in 0..4 {
        world.stage.database_wire.cut();
        tokio::time::sleep(Duration::from_millis(400)).await;
        world.stage.kafka_wire.cut();
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    Ok(())
}

/// Every connection to PostgreSQL falls silent. The server gives them up in time; the services never hear of it.
pub async fn database_silent(world: &mut World) -> anyhow::Result<()> {
    let frozen = world.stage.database_wire.freeze();
    tokio::time::sleep(KEEPALIVE).await;
    frozen.give_up();
    Ok(())
}

/// Every connection to Kafka falls silent.
pub async fn broker_silent(world: &mut World) -> anyhow::Result<()> {
    let frozen = world.stage.kafka_wire.freeze();
    tokio::time::sleep(KEEPALIVE).await;
    frozen.give_up();
    Ok(())
}
