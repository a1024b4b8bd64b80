//! The database's end of a connection vanishes without a word while timers fire.

use std::{net::ToSocketAddrs, sync::Arc, time::Duration};

use mailbox::Outbox;
use purchase_manager::{
    MIGRATOR, definitions::Definitions, orchestrator::Orchestrator, rollout::Rollout, timers::Timers,
};
use saga::RetryPolicy;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use testkit::{Database, Proxy, eventually};
use tokio_util::sync::CancellationToken;

use crate::{orchestrator::bench_on, purchase::tents};

/// A statement that came to the server just before the silence keeps its locks until the server ends its session: after a minute of
/// idleness within a transaction. Twice over, and the rest.
const LIMIT: Duration = Duration::from_secs(180);

/// Silences, one after the other: one may come while the connection is idle, at work, or on its way back to the pool.
const ROUNDS: i64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn timers_whose_connection_fell_silent_go_on_on_another() {
    let bench = bench_on(Database::create("purchase-manager", &MIGRATOR).await).await;
    let purchase = tents();
    bench.handle(&[bench.submit(&purchase).await]).await.unwrap();

    // The same tables, through a proxy, and one connection: the one that falls silent is the one that would be used again.
    let options: PgConnectOptions = bench.database.url().parse().unwrap();
    let server = (options.get_host(), options.get_port())
        .to_socket_addrs()
        .unwrap()
        .next()
        .unwrap();
    let proxy = Proxy::start(server).await;
    let through = options
        .host(&proxy.address().ip().to_string())
        .port(proxy.address().port());
    let pool = host::database::open(
        through.to_url_lossy().as_str(),
        "purchase-manager",
        1,
        &MIGRATOR,
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    let definitions = Definitions::new(RetryPolicy::default()).unwrap();
    Rollout::enter(pool.clone(), &definitions).await.unwrap();
    let codec = testkit::codec("purchase-manager").await;
    let orchestrator = Arc::new(Orchestrator::new(definitions, codec, Outbox::new(), pool.clone()));
    let timers = Timers::new(orchestrator).with_limit(Duration::from_secs(1));
    // What has just been done has been given back: from here on the timers alone use the connection.
    eventually("the connection is idle", LIMIT, async || {
        (pool.num_idle() == 1).then_some(())
    })
    .await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(timers.run(shutdown.clone()));

    let attempt = async || bench.count("select max(attempt)::bigint from saga_timer").await;
    for round in 1..=ROUNDS {
        let (before, tried) = (proxy.accepted(), attempt().await);
        let sent = bench.count("select count(*) from outbox").await;
        let frozen = proxy.freeze();
        sqlx::query("update saga_timer set due_at = now() - interval '1 second'")
            .execute(&bench.pool())
            .await
            .unwrap();
        eventually("the timer fires on another connection", LIMIT, async || {
            (attempt().await > tried).then_some(())
        })
        .await;
        assert!(
            proxy.accepted() > before,
            "round {round}: it was not the silent one"
        );
        assert!(
            bench.count("select count(*) from outbox").await > sent,
            "the command goes out again"
        );
        frozen.cut();
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
