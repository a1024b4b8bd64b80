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
/// idleness within a transaction.
const LIMIT: Duration = Duration::from_secs(300);

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
    let orchestrator = Arc::new(Orchestrator::new(definitions, codec, Outbox::new(), pool));
    let shutdown = CancellationToken::new();
    let timers = Timers::new(orchestrator).with_limit(Duration::from_secs(2));
    let running = tokio::spawn(timers.run(shutdown.clone()));

    // The timer comes to its saga, which somebody holds, and its connection falls silent meanwhile.
    let mut holder = bench.pool().begin().await.unwrap();
    sqlx::query("select from saga for update")
        .execute(&mut *holder)
        .await
        .unwrap();
    sqlx::query("select from saga_timer for update")
        .execute(&mut *holder)
        .await
        .unwrap();
    sqlx::query("update saga_timer set due_at = now() - interval '1 second'")
        .execute(&mut *holder)
        .await
        .unwrap();
    let before = proxy.accepted();
    let frozen = proxy.freeze();
    holder.commit().await.unwrap();
    eventually("the timer fires on another connection", LIMIT, async || {
        let sent = bench.count("select count(*) from outbox").await;
        let attempts = bench.count("select max(attempt)::bigint from saga_timer").await;
        (sent > 0 && attempts == 2).then_some(())
    })
    .await;
    assert!(proxy.accepted() > before, "it was not the silent one");
    shutdown.cancel();
    running.await.unwrap().unwrap();
    frozen.cut();
}
