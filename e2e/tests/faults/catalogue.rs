//! The faults, in the order of the design's list.

use std::time::Duration;

use mailbox::failpoint::{Guard, Point};

use crate::{
    guards, halts, kills, messages, outages,
    report::{Row, table},
    serve::SERVICES,
    world::World,
};

/// Services that suffer at the same time. The first of a group works without the others.
const GROUPS: [&[&str]; 4] = [
    &["purchase-manager", "payments"],
    &["product-admin", "orders"],
    &["consolidator", "notifications"],
    &["bff"],
];

/// One line of the table.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KilledAt(Point),
    Halted,
    HaltedBesideAnother,
    Replaced,
    BrokerKilled,
    RecordsDeleted,
    BrokerForgot,
    DatabaseRestarted,
    Cut,
    DatabaseSilent,
    BrokerSilent,
    /// What a guard is there for, with the guard in place.
    GuardedAgainst(Guard),
    Rebalanced,
    PartitionsMove,
    IdleWriter,
    ClocksOff,
    Poisoned,
    RolledOut,
}

impl Fault {
    fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Point::ALL.into_iter().map(Self::KilledAt).collect();
        all.extend([
            Self::Halted,
            Self::HaltedBesideAnother,
            Self::Replaced,
            Self::BrokerKilled,
            Self::RecordsDeleted,
            Self::BrokerForgot,
            Self::DatabaseRestarted,
            Self::Cut,
            Self::DatabaseSilent,
            Self::BrokerSilent,
            Self::GuardedAgainst(Guard::Barrier),
            Self::GuardedAgainst(Guard::RowLock),
            Self::GuardedAgainst(Guard::DeleteRule),
            Self::Rebalanced,
            Self::PartitionsMove,
            Self::IdleWriter,
            Self::ClocksOff,
            Self::Poisoned,
            Self::RolledOut,
        ]);
        all
    }

    fn name(self) -> String {
        match self {
            Self::KilledAt(point) => return format!("kill -9 at {}", point.name()),
            Self::Halted => "SIGSTOP for longer than the session",
            Self::HaltedBesideAnother => "the same, beside another instance that takes over",
            Self::Replaced => "SIGSTOP, and a successor under the same name",
            Self::BrokerKilled => "broker killed and restarted",
            Self::RecordsDeleted => "records of every topic deleted",
            Self::BrokerForgot => "a broker that forgot everything",
            Self::DatabaseRestarted => "PostgreSQL stopped at once and restarted",
            Self::Cut => "connections cut, to both",
            Self::DatabaseSilent => "half-open connections to PostgreSQL",
            Self::BrokerSilent => "half-open connections to Kafka",
            Self::GuardedAgainst(guard) => guards::name(guard),
            Self::Rebalanced => "forced rebalances",
            Self::PartitionsMove => "killed for good, partitions move",
            Self::IdleWriter => "long idle writer transaction",
            Self::ClocksOff => "clocks five minutes off",
            Self::Poisoned => "poison Avro",
            Self::RolledOut => "rolling restart, two instances each",
        }
        .to_owned()
    }

    async fn happen(self, world: &mut World, row: &mut Row) -> anyhow::Result<()> {
        match self {
            Self::KilledAt(point) => {
                let all = kills::services_at(point);
                for group in GROUPS {
                    let mut services = group.to_vec();
                    services.retain(|service| all.contains(service));
                    if let Some(others) = services.len().checked_sub(1) {
                        let fault = async |world: &mut World| kills::killed_at(world, &services, point).await;
                        world.suffer(row, fault).await?;
                        row.times += u32::try_from(others)?;
                    }
                }
            }
            Self::Halted => {
                for services in GROUPS {
                    let fault = async |world: &mut World| halts::halted(world, services).await;
                    world.suffer(row, fault).await?;
                }
            }
            Self::HaltedBesideAnother => {
                let services = ["purchase-manager", "product-admin"];
                world.double(&services).await?;
                for service in services {
                    let fault = async |world: &mut World| halts::halted(world, &[service]).await;
                    world.suffer(row, fault).await?;
                }
                world.halve().await?;
            }
            Self::Replaced => {
                for service in ["payments", "orders"] {
                    let fault = async |world: &mut World| halts::replaced(world, service).await;
                    world.suffer(row, fault).await?;
                }
            }
            Self::BrokerKilled => {
                for away in [0, 5] {
                    let away = Duration::from_secs(away);
                    let fault = async |world: &mut World| outages::broker_killed(world, away).await;
                    world.suffer(row, fault).await?;
                }
            }
            Self::RecordsDeleted => {
                for services in [["purchase-manager", "payments"], ["product-admin", "orders"]] {
                    let fault = async |world: &mut World| outages::records_deleted(world, services).await;
                    world.suffer(row, fault).await?;
                }
            }
            Self::BrokerForgot => {
                let fault = async |world: &mut World| outages::broker_forgot(world).await;
                world.suffer(row, fault).await?;
                world.suffer(row, fault).await?;
            }
            Self::DatabaseRestarted => {
                for _ in 0..3 {
                    let fault = async |world: &mut World| world.stage.restart_database().await;
                    world.suffer(row, fault).await?;
                }
            }
            Self::Cut => {
                let fault = async |world: &mut World| outages::cut(world).await;
                world.suffer(row, fault).await?;
                world.suffer(row, fault).await?;
            }
            Self::DatabaseSilent => {
                let fault = async |world: &mut World| outages::database_silent(world).await;
                world.suffer(row, fault).await?;
            }
            Self::BrokerSilent => {
                let fault = async |world: &mut World| outages::broker_silent(world).await;
                world.suffer(row, fault).await?;
            }
            Self::GuardedAgainst(guard) => {
                guards::suffer_for(guard, world, row).await?;
            }
            Self::Rebalanced => {
                let fault = async |world: &mut World| halts::rebalanced(world).await;
                world.suffer(row, fault).await?;
            }
            Self::PartitionsMove => {
                let services = ["purchase-manager", "product-admin", "orders"];
                world.double(&services).await?;
                for service in services {
                    let fault = async |world: &mut World| kills::partitions_move(world, service).await;
                    world.suffer(row, fault).await?;
                    let number = world.fleet.of(service);
                    world.fleet.bring_back(number, &world.stage).await?;
                }
                world.halve().await?;
            }
            Self::IdleWriter => {
                let fault = async |world: &mut World| messages::idle_writer(world).await;
                world.suffer(row, fault).await?;
            }
            Self::ClocksOff => {
                let fault = async |world: &mut World| messages::clocks_off(world).await;
                world.suffer(row, fault).await?;
                messages::clocks_right(world).await?;
            }
            Self::Poisoned => {
                let fault = async |world: &mut World| messages::poisoned(world).await;
                world.suffer(row, fault).await?;
                messages::discard_poison(world).await?;
            }
            Self::RolledOut => {
                world.double(&SERVICES).await?;
                let fault = async |world: &mut World| halts::rolled_out(world).await;
                world.suffer(row, fault).await?;
                world.halve().await?;
            }
        }
        Ok(())
    }
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
        let mut row = Row::new(&name);
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
