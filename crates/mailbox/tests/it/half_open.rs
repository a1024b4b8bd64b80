//! The other end of a connection vanishes without a word: a proxy in between lets the database's fall silent, the broker does not
//! answer.

use std::{net::ToSocketAddrs, time::Duration};

use contracts::{ids::PurchaseId, topics::PURCHASE_REPLIES};
use mailbox::{consumer::Consumer, limit, relay::Relay};
use sqlx::{PgPool, postgres::PgPoolOptions};
use testkit::{Proxy, eventually};

use crate::{
    LIMIT,
    bench::{Bench, GROUP, Record, Task, words},
    recorder::Recorder,
};

/// The limit of these tests: long enough for a statement on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

async fn proxy(bench: &Bench) -> Proxy {
    let options = bench.database.options();
    let server = (options.get_host(), options.get_port())
        .to_socket_addrs()
        .unwrap()
        .next()
        .unwrap();
    Proxy::start(server).await
}

fn through(proxy: &Proxy, bench: &Bench) -> sqlx::postgres::PgConnectOptions {
    let address = proxy.address();
    bench
        .database
        .options()
        .host(&address.ip().to_string())
        .port(address.port())
}

/// One connection, so that the one that fell silent is the one that would be used again.
fn pool(proxy: &Proxy, bench: &Bench) -> PgPool {
    PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(LIMIT)
        .test_before_acquire(false)
        .connect_lazy_with(through(proxy, bench))
}

fn relay(proxy: &Proxy, bench: &Bench) -> Relay {
    let (settings, outbox) = (bench.kafka.settings(), bench.outbox.clone());
    Relay::new("mailbox", through(proxy, bench), settings, outbox)
}

#[tokio::test]
async fn a_relay_whose_connection_fell_silent_begins_again_on_another() {
    let bench = Bench::with_one_partition().await;
    let proxy = proxy(&bench).await;
    let relay = relay(&proxy, &bench).with_limit(SHORT);
    let task = Task::spawn(|shutdown| async move { relay.run(shutdown).await });
    bench.write(&[bench.message(PurchaseId::fresh(), "before")]).await;
    bench.outbox_drains().await;
    let before = proxy.accepted();

    let frozen = proxy.freeze();
    bench.write(&[bench.message(PurchaseId::fresh(), "after")]).await;
    eventually("the relay opens another connection", LIMIT, async || {
        (proxy.accepted() > before).then_some(())
    })
    .await;
    // The server's keepalive finds out too, and the leader's lock is free.
    frozen.cut();

    bench.outbox_drains().await;
    task.stop().await;
    let published = bench.published(2).await;
    assert_eq!(words(&bench.codec, &published[0]).await, "before");
    assert_eq!(words(&bench.codec, &published[1]).await, "after");
}

#[tokio::test]
async fn a_relay_that_nobody_acknowledges_begins_again_with_another_producer() {
    let bench = Bench::with_one_partition().await;
    let proxy = proxy(&bench).await;
    let relay = relay(&proxy, &bench).with_send_limit(SHORT);
    let task = Task::spawn(|shutdown| async move { relay.run(shutdown).await });
    bench.write(&[bench.message(PurchaseId::fresh(), "before")]).await;
    bench.outbox_drains().await;
    let before = proxy.accepted();

    let an_hour = Duration::from_hours(1);
    bench.kafka.broker().set_round_trip_time(an_hour).unwrap();
    bench.write(&[bench.message(PurchaseId::fresh(), "after")]).await;
    // Whoever begins again does so with everything: the connection to the database is what can be counted.
    eventually("the relay begins again", LIMIT, async || {
        (proxy.accepted() > before).then_some(())
    })
    .await;
    bench.kafka.broker().set_round_trip_time(Duration::ZERO).unwrap();

    bench.outbox_drains().await;
    task.stop().await;
}

#[tokio::test]
async fn a_consumer_whose_connection_fell_silent_repeats_the_batch_on_another() {
    let bench = Bench::with_one_partition().await;
    let proxy = proxy(&bench).await;
    let consumer = Consumer::new(
        "mailbox",
        GROUP,
        &[PURCHASE_REPLIES],
        bench.kafka.settings(),
        pool(&proxy, &bench),
        bench.codec.clone(),
        bench.outbox.clone(),
        Recorder::default(),
    )
    .with_limit(SHORT);
    let task = Task::spawn(|shutdown| async move { consumer.run(shutdown).await.unwrap() });
    let records =
        ["before", "after"].map(|words| Record::of(&bench.message(PurchaseId::fresh(), words), None));
    bench.send(&records[..1]).await;
    bench.handled_count(1).await;

    let frozen = proxy.freeze();
    bench.send(&records[1..]).await;

    assert_eq!(bench.handled_count(2).await, ["before", "after"]);
    assert_eq!(bench.parked().await.len(), 0, "nothing is wrong with the message");
    frozen.cut();
    task.stop().await;
}

#[tokio::test]
async fn a_connection_that_does_not_answer_is_not_given_back_to_the_pool() {
    let bench = Bench::new().await;
    let proxy = proxy(&bench).await;
    let pool = pool(&proxy, &bench);
    let ask = async || {
        limit::on_connection(&pool, SHORT, async |connection| {
            Ok(sqlx::query("select 1").execute(connection).await.map(|_| ())?)
        })
        .await
    };
    ask().await.unwrap();
    eventually("the connection is back in the pool", LIMIT, async || {
        (pool.num_idle() == 1).then_some(())
    })
    .await;

    let _frozen = proxy.freeze();
    let fault = ask().await.unwrap_err();

    assert!(fault.is_transient());
    assert!(
        fault.to_string().contains("has not answered within 2s"),
        "{fault}"
    );
    assert_eq!(pool.size(), 0);
    ask().await.expect("a new connection takes its place");
}
