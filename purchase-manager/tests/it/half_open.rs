//! The database's end of a connection vanishes without a word while timers fire: between two looks at them, in the middle of the
//! work, or while the connection is given back to the pool. Always the only one that the pool may have.

use std::{
    net::ToSocketAddrs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mailbox::Outbox;
use purchase_manager::{MIGRATOR, definitions::Definitions, orchestrator::Orchestrator, timers::Timers};
use saga::RetryPolicy;
use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::{Database, Proxy, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    orchestrator::{Bench, bench_on},
    purchase::tents,
};

/// A statement that came to the server just before the silence keeps its locks until the server ends its session, after a minute of
/// idleness within a transaction; and room.
const LIMIT: Duration = Duration::from_secs(120);

/// The timers' limit here: long enough for a statement on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// A purchase whose first command is out, and a proxy through which its timers reach the database.
struct Stage {
    bench: Bench,
    proxy: Arc<Proxy>,
}

impl Stage {
    async fn new() -> Self {
        let bench = bench_on(Database::create("purchase-manager", &MIGRATOR).await).await;
        bench.handle(&[bench.submit(&tents()).await]).await.unwrap();
        let options = bench.pool().connect_options();
        let server = (options.get_host(), options.get_port())
            .to_socket_addrs()
            .unwrap()
            .next()
            .unwrap();
        let stage = Self {
            bench,
            proxy: Arc::new(Proxy::start(server).await),
        };
        // Not before the test wants it.
        stage
            .execute("update saga_timer set due_at = now() + interval '1 hour'")
            .await;
        stage
    }

    fn through(&self) -> PgConnectOptions {
        let options: PgConnectOptions = self.bench.database.url().parse().unwrap();
        options
            .host(&self.proxy.address().ip().to_string())
            .port(self.proxy.address().port())
    }

    /// The pool of a service, of one connection.
    async fn pool(&self) -> PgPool {
        let (url, shutdown) = (self.through().to_url_lossy(), CancellationToken::new());
        let opened = host::database::open(url.as_str(), "purchase-manager", 1, &MIGRATOR, &shutdown);
        let pool = opened.await.unwrap();
        // What the start did has been given back: from here on the timers alone use the connection.
        eventually("the connection is idle", LIMIT, async || {
            (pool.num_idle() == 1).then_some(())
        })
        .await;
        pool
    }

    async fn timers(&self, pool: PgPool) -> Running {
        let definitions = Definitions::new(RetryPolicy::default()).unwrap();
        let codec = testkit::codec("purchase-manager").await;
        let orchestrator = Arc::new(Orchestrator::new(definitions, codec, Outbox::new(), pool));
        let timers = Timers::new(orchestrator).with_limit(SHORT);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(timers.run(shutdown.clone()));
        Running { task, shutdown }
    }

    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.bench.pool()).await.unwrap();
    }

    /// The timer has fired once, on a connection that was opened after `before`, and the timers end when they are told to.
    async fn fires_on_another_than(&self, before: usize, running: Running) {
        eventually("the timer fires", LIMIT, async || {
            let attempt = self
                .bench
                .count("select max(attempt)::bigint from saga_timer")
                .await;
            (attempt == 2).then_some(())
        })
        .await;
        assert!(self.proxy.accepted() > before, "it was not the silent one");
        let sent = self.bench.count("select count(*) from outbox").await;
        assert_eq!(sent, 2, "the command, and once more");
        running.shutdown.cancel();
        running.task.await.unwrap().unwrap();
    }
}

/// Timers at work.
struct Running {
    task: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_whose_connection_fell_silent_go_on_on_another() {
    let stage = Stage::new().await;
    let running = stage.timers(stage.pool().await).await;

    let before = stage.proxy.accepted();
    let _frozen = stage.proxy.freeze();
    stage
        .execute("update saga_timer set due_at = now() - interval '1 second'")
        .await;

    stage.fires_on_another_than(before, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_whose_connection_fell_silent_at_work_go_on_on_another() {
    let stage = Stage::new().await;
    let pool = stage.pool().await;
    stage
        .execute("update saga_timer set due_at = now() - interval '1 second'")
        .await;
    let mut holder = stage.bench.pool().begin().await.unwrap();
    sqlx::query("select from saga_timer for update")
        .execute(&mut *holder)
        .await
        .unwrap();
    let running = stage.timers(pool).await;
    eventually(
        "the timers hold the saga, and wait for its timer",
        LIMIT,
        async || {
            let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
            (stage.bench.count(waiting).await > 0).then_some(())
        },
    )
    .await;

    let before = stage.proxy.accepted();
    let frozen = stage.proxy.freeze();
    holder.commit().await.unwrap();
    // As a server's keepalive does: what the silent session had locked is free.
    frozen.give_up();

    stage.fires_on_another_than(before, running).await;
}

/// The pool asks a connection that is given back whether it is there, without a limit: the silence falls right before.
#[tokio::test(flavor = "multi_thread")]
async fn timers_whose_connection_fell_silent_on_its_way_back_go_on_on_another() {
    let stage = Stage::new().await;
    let (armed, frozen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let (proxy, trigger, silenced) = (stage.proxy.clone(), armed.clone(), frozen.clone());
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_release(move |_, _| {
            if trigger.swap(false, Ordering::SeqCst) {
                *silenced.lock().unwrap() = Some(proxy.freeze());
            }
            Box::pin(async { Ok(true) })
        })
        .connect_lazy_with(
            host::database::options(stage.through().to_url_lossy().as_str(), "purchase-manager").unwrap(),
        );
    let running = stage.timers(pool).await;
    armed.store(true, Ordering::SeqCst);
    eventually("a connection is silent", LIMIT, async || {
        frozen.lock().unwrap().is_some().then_some(())
    })
    .await;

    stage
        .execute("update saga_timer set due_at = now() - interval '1 second'")
        .await;

    // The silent one was the first: the pool opens none before it is asked.
    stage.fires_on_another_than(1, running).await;
}
