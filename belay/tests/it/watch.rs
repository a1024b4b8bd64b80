//! Goal: the continuous audit says what it finds as metrics, with a role that can only read, and ends when it is asked to.
//! Method: the program itself, on databases that were filled as the services would have left them.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    time::Duration,
};

use belay::{
    audit::{self, Options},
    provision,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::databases::{Databases, plant};

const LIMIT: Duration = Duration::from_secs(60);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

struct Watch {
    child: Child,
    port: u16,
}

impl Watch {
    fn start(urls: &BTreeMap<String, String>) -> Self {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_belay"));
        command.args([
            "audit",
            "--watch",
            "--every",
            "1s",
            "--metrics",
            &port.to_string(),
        ]);
        for (service, url) in urls {
            command.args(["--database-url", &format!("{service}={url}")]);
        }
        let child = command
            .env_remove("BELAY_DATA")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = reqwest::get(url).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// The value of a series.
    async fn series(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    }

    async fn violations(&self, invariant: &str, count: f64) {
        let name = format!("belay_audit_violations{{invariant=\"{invariant}\"}}");
        eventually(&format!("{name} {count}"), LIMIT, async || {
            self.series(&name).await.filter(|now| (now - count).abs() < 0.5)
        })
        .await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_continuous_audit_tells_by_metrics_what_is_wrong_and_that_it_runs() {
    let databases = Databases::create().await;
    databases.completed().await;
    // What has just ended is on its way still.
    let put = databases.completed().await;
    let mut watch = Watch::start(&databases.urls());
    watch.violations("I5", 0.0).await;
    assert_eq!(watch.get("/readyz").await.unwrap().0, 200);
    assert_eq!(watch.get("/healthz").await.unwrap().0, 200);
    plant(&databases.payments(), "delete from payment").await;
    // An order without a payment is wrong at any age: the second look confirms it.
    watch.violations("I5", 2.0).await;
    let last = watch
        .series("belay_audit_last_run_timestamp_seconds")
        .await
        .unwrap();
    let now: f64 = sqlx::query_scalar("select extract(epoch from now())::float8")
        .fetch_one(&databases.orders())
        .await
        .unwrap();
    assert!((now - last).abs() < 30.0, "{last} at {now}");
    assert!(watch.series("belay_audit_duration_seconds").await.unwrap() > 0.0);
    assert!(
        watch
            .series("belay_audit_runs_total{result=\"violated\"}")
            .await
            .unwrap()
            >= 1.0
    );
    plant(
        &databases.orders(),
        "update orders set state = 'CANCELLED', cancelled_at = now()",
    )
    .await;
    watch.violations("I5", 0.0).await;

    // At rest for 30 s: then the missing payment of a completed purchase counts.
    sqlx::query("update saga set updated_at = now() - interval '31 seconds' where id = $1")
        .bind(put.id)
        .execute(&databases.purchase_manager())
        .await
        .unwrap();
    watch.violations("I5", 1.0).await;

    let pid = Pid::from_raw(watch.child.id().cast_signed());
    kill(pid, Signal::SIGTERM).unwrap();
    let status = eventually("it ends", LIMIT, async || watch.child.try_wait().unwrap()).await;
    assert!(status.success(), "{status}");
}

/// A window keeps the audit cheap where years of purchases lie: what it leaves out is for the audit of everything.
#[tokio::test]
async fn a_window_leaves_out_what_ended_before_it_and_nothing_that_is_open() {
    let databases = Databases::create().await;
    let options = |window| Options {
        window,
        second_look_after: Duration::from_millis(10),
        ..Options::default()
    };
    let (old, young, running) = (
        databases.completed().await,
        databases.completed().await,
        databases.running().await,
    );
    databases.cancelled().await;
    databases.declined().await;
    for statement in [
        format!(
            "update saga set updated_at = now() - interval '2 hours' where id = '{}'",
            old.id
        ),
        format!(
            "update saga set created_at = now() - interval '2 hours', updated_at = now() - interval '2 hours' where id = '{}'",
            running.id
        ),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&databases.purchase_manager())
            .await
            .unwrap();
    }
    plant(
        &databases.bff(),
        "update submission set submitted_at = now() - interval '2 hours'",
    )
    .await;
    let hour = Some(Duration::from_secs(3_600));
    let look = async |window| audit::run_on(&databases.urls(), &options(window)).await.unwrap();

    let report = look(hour).await;
    assert_eq!(
        report.violated(),
        ["I3"],
        "the one that runs for two hours: {}",
        report.table()
    );
    assert_eq!(report.information.purchases, 4, "all but the old one");
    sqlx::query("delete from saga where id = $1")
        .bind(running.id)
        .execute(&databases.purchase_manager())
        .await
        .unwrap();
    plant(&databases.bff(), "delete from submission").await;
    assert!(look(hour).await.is_clean(), "{}", look(hour).await.table());
    assert!(look(None).await.is_clean());

    // Wrong with each of the two: only the whole sees the old one.
    plant(
        &databases.payments(),
        "delete from payment where state = 'CAPTURED'",
    )
    .await;
    let found = async |window| {
        let report = look(window).await;
        assert_eq!(report.violated(), ["I5"]);
        let five = report.invariants.into_iter().find(|one| one.id == "I5").unwrap();
        let mut subjects: Vec<String> = five.examples.into_iter().map(|one| one.subject).collect();
        subjects.sort();
        subjects
    };
    assert_eq!(found(hour).await, [young.id.to_string()]);
    let mut both = [old.id.to_string(), young.id.to_string()];
    both.sort();
    assert_eq!(found(None).await, both);
    // Stock is summed over everything all the same.
    plant(
        &databases.product_admin(),
        "update product set reserved = reserved + 1 where reserved > 0",
    )
    .await;
    assert_eq!(look(hour).await.violated(), ["I2", "I5"]);
}

/// Drops what the test made.
struct Made {
    admin_url: String,
    prefix: String,
}

impl Made {
    async fn drop_databases(&self) {
        let mut admin = PgConnection::connect(&self.admin_url).await.unwrap();
        for database in [
            "bff",
            "purchase_manager",
            "inventory",
            "orders",
            "payments",
            "notifications",
            "registry",
        ] {
            let statement = format!("drop database if exists {}{database} with (force)", self.prefix);
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(&mut admin)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn the_role_of_the_audit_reads_everything_and_writes_nothing() {
    const PASSWORD: &str = "0123456789abcdef0123456789abcdef";
    let made = Made {
        admin_url: format!("{}/postgres", testkit::server::url().await),
        prefix: format!("audit_{}_", &contracts::ids::fresh().simple().to_string()[16..]),
    };
    let urls = provision::provision(testkit::server::url().await, &made.prefix)
        .await
        .unwrap();
    let open = async |service: &'static str, migrator: &sqlx::migrate::Migrator| {
        host::database::open(&urls[service], service, 2, migrator, &CancellationToken::new())
            .await
            .unwrap()
            .close()
            .await;
    };
    // Some services have their tables before the role is there, and the others after it: it may read all the same.
    open("product-admin", &product_admin::MIGRATOR).await;
    open("consolidator", &consolidator::MIGRATOR).await;
    open("orders", &orders::MIGRATOR).await;
    let server = testkit::server::url().await;
    let reading = provision::provision_audit(server, &made.prefix, PASSWORD)
        .await
        .unwrap();
    open("purchase-manager", &purchase_manager::MIGRATOR).await;
    open("bff", &bff::MIGRATOR).await;
    open("payments", &payments::MIGRATOR).await;
    open("notifications", &notifications::MIGRATOR).await;
    // And once more, as every start of a cluster does.
    provision::provision_audit(server, &made.prefix, PASSWORD)
        .await
        .unwrap();

    let options = Options {
        second_look_after: Duration::from_millis(10),
        ..Options::default()
    };
    let report = audit::run_on(&reading, &options).await.unwrap();
    assert!(report.is_clean(), "{}", report.table());

    let mut tables = 0;
    for (service, url) in &reading {
        let options = host::database::options(url, service).unwrap();
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let (all, writable): (i64, i64) = sqlx::query_as(
            "select count(*), count(*) filter (where has_table_privilege(oid, 'insert, update, delete, truncate, references, trigger'))
             from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v', 'S')",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert!(all > 5, "{service} has tables");
        assert_eq!(writable, 0, "{service}");
        tables += all;
        for forbidden in [
            "delete from outbox",
            "insert into inbox (consumer, message_id, stream, key) values ('c', gen_random_uuid(), 's', 'k')",
            "create table of_its_own (n integer)",
        ] {
            let refused = sqlx::raw_sql(forbidden)
                .execute(&mut connection)
                .await
                .unwrap_err();
            let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
            assert_eq!(code, "42501", "{service}: {forbidden}: {refused}");
        }
        connection.close().await.unwrap();
    }
    assert!(tables > 50);
    made.drop_databases().await;
}
