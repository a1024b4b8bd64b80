//! Stage, fleet and customers, and the way of every fault: customers buy, it happens, the load ends, everything is checked.

#![expect(
    clippy::disallowed_methods,
    reason = "looks into several services' tables, of which no schema could be checked"
)]

use std::time::Duration;

use rand::{SeedableRng, rngs::StdRng};

use crate::{
    check::{self, Expectations},
    fleet::Fleet,
    ledger::Ledger,
    report::Row,
    serve::SERVICES,
    stage::Stage,
    traffic::{Shop, Traffic},
};

/// Purchases per second while a fault happens: some seconds' worth are always under way when a part is away.
pub const RATE: f64 = 12.0;
/// Purchases that are accepted before a fault happens.
const WARM: usize = 12;
/// How long that may take.
const WARM_LIMIT: Duration = Duration::from_secs(60);
/// Customers, each with an identity of their own.
const CUSTOMERS: usize = 24;

/// The whole system under test.
#[derive(Debug)]
pub struct World {
    pub stage: Stage,
    pub fleet: Fleet,
    pub shop: Shop,
    pub ledger: Ledger,
    pub random: StdRng,
    pub expected: Expectations,
    /// What is expected of a system that is broken on purpose.
    pub lenient: Option<Expectations>,
    seed: u64,
    rounds: u64,
}

impl World {
    /// Starts everything; every service with `environment`.
    pub async fn start(seed: u64, environment: &[(String, String)]) -> anyhow::Result<Self> {
        let stage = Box::pin(Stage::start()).await?;
        let mut fleet = Fleet::new(environment)?;
        fleet.start_all(&stage).await?;
        let ledger = Ledger::begin(&stage).await?;
        let customers = (0..CUSTOMERS)
            .map(|number| stage.token(&format!("buyer-{number}"), "customer"))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let shop = Shop::open(fleet.edge(), &stage.token("ada", "admin")?, customers).await?;
        Ok(Self {
            stage,
            fleet,
            shop,
            ledger,
            random: StdRng::seed_from_u64(seed),
            expected: Expectations::default(),
            lenient: None,
            seed,
            rounds: 0,
        })
    }

    /// Lets customers in and waits until some of them have bought.
    pub async fn customers_come(&mut self) -> anyhow::Result<Traffic> {
        self.rounds += 1;
        let before = self.shop.book.accepted();
        let traffic = self
            .shop
            .buy(RATE, self.seed.wrapping_mul(1_000_003) + self.rounds);
        let deadline = tokio::time::Instant::now() + WARM_LIMIT;
        while self.shop.book.accepted() < before + WARM {
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "customers are not served before anything has happened"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(traffic)
    }

    /// Purchases that are accepted and have not ended.
    pub async fn in_flight(&self) -> anyhow::Result<i64> {
        let mut manager = self.stage.database("purchase-manager").await?;
        let running: i64 = sqlx::query_scalar(
            "select count(*) from saga where standing in ('PENDING', 'RUNNING', 'COMPENSATING')",
        )
        .fetch_one(&mut manager)
        .await?;
        let mut edge = self.stage.database("bff").await?;
        let unheard: Vec<uuid::Uuid> =
            sqlx::query_scalar("select purchase_id from submission where acknowledged_at is null")
                .fetch_all(&mut edge)
                .await?;
        let known: i64 = sqlx::query_scalar("select count(*) from saga where id = any($1)")
            .bind(&unheard)
            .fetch_one(&mut manager)
            .await?;
        Ok(running + unheard.len() as i64 - known)
    }

    /// Waits until nothing moves and says what is wrong.
    pub async fn settle(&mut self) -> anyhow::Result<Vec<String>> {
        let expected = std::mem::take(&mut self.expected);
        let expected = self.lenient.unwrap_or(expected);
        let mut wrong: Vec<String> = Vec::new();
        for (number, ended) in self.fleet.casualties()? {
            let how = format!("{} ended by itself: {}", self.fleet.service(number), ended.status);
            if expected.may_be_fenced && ended.fenced {
                println!("  {how}, refused under its name, and is started again");
            } else {
                wrong.push(how);
            }
            self.fleet.bring_back(number, &self.stage).await?;
        }
        wrong.extend(check::check(&self.stage, &self.shop.book, &mut self.ledger, expected).await?);
        let unanswered = self
            .shop
            .book
            .unanswered
            .swap(0, std::sync::atomic::Ordering::SeqCst);
        if unanswered > 0 {
            wrong.push(format!("{unanswered} customers were never answered"));
        }
        Ok(wrong)
    }

    /// Starts a second process of each of these services.
    pub async fn double(&mut self, services: &[&'static str]) -> anyhow::Result<()> {
        for service in services {
            let number = self.fleet.add(service)?;
            self.fleet.bring_back(number, &self.stage).await?;
        }
        Ok(())
    }

    /// Ends all second processes in good order.
    pub async fn halve(&mut self) -> anyhow::Result<()> {
        while self.fleet.len() > SERVICES.len() {
            self.fleet.drain(self.fleet.len() - 1).await?;
            self.fleet.remove_last();
        }
        Ok(())
    }

    /// Lets one fault happen while customers buy, and judges the system afterwards.
    pub async fn suffer(
        &mut self,
        row: &mut Row,
        fault: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let started = tokio::time::Instant::now();
        let traffic = self.customers_come().await?;
        row.in_flight += self.in_flight().await?;
        row.times += 1;
        let happened = fault(self).await;
        traffic.end().await;
        happened?;
        for wrong in self.settle().await? {
            println!("  VIOLATED after {}: {wrong}", row.fault);
            row.violations.push(wrong);
        }
        row.seconds += started.elapsed().as_secs_f64();
        Ok(())
    }

    pub async fn stop(mut self) {
        self.fleet.stop().await;
        self.stage.stop().await;
    }
}
