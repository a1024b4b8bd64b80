//! Races between writers and relays, on sessions that are stepped by hand: each schedule is run once, in the order in which
//! the test is written, and nothing depends on time.
//!
//! Every writer writes the same message twice in one transaction: to the outbox, which the relay of this crate empties, and
//! to a table that a relay with another rule empties, written here as SQL. In the same schedule ours must keep the order and
//! lose nothing, and the other must fail: if it did not, the schedule would show nothing.

use contracts::ids::PurchaseId;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction, pool::PoolConnection};
use testkit::eventually;

use crate::{
    LIMIT,
    bench::{Bench, Task, words},
};

/// What the other relays empty. `xid` is what a fence goes by.
const ELSEWHERE: &str = "create table elsewhere (
    seq bigint generated always as identity (cache 1) primary key,
    xid xid8 not null default pg_current_xact_id(),
    words text not null
)";

/// Reads in the order of the transactions' ids, behind the oldest one that still runs: the fence of outboxes that are said to
/// be safe.
const FENCE: &str = "select words from elsewhere
                     where xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid, seq";

struct Race {
    bench: Bench,
    key: PurchaseId,
}

impl Race {
    async fn new() -> Self {
        let race = Self {
            bench: Bench::with_one_partition().await,
            key: PurchaseId::fresh(),
        };
        execute(&race.bench.pool(), ELSEWHERE).await;
        sqlx::query("insert into counter (key) values ($1)")
            .bind(race.key.0)
            .execute(&race.bench.pool())
            .await
            .unwrap();
        race
    }

    async fn session(&self) -> PoolConnection<Postgres> {
        self.bench.pool().acquire().await.unwrap()
    }

    async fn begin(&self) -> Transaction<'static, Postgres> {
        self.bench.pool().begin().await.unwrap()
    }

    /// What a service does to change the business of a key: nobody else changes it before the transaction ends.
    async fn lock(&self, connection: &mut PgConnection) {
        sqlx::query("update counter set n = n + 1 where key = $1")
            .bind(self.key.0)
            .execute(connection)
            .await
            .unwrap();
    }

    /// Writes a message of the key to both tables, in the session's transaction or in one of its own.
    async fn write(&self, connection: &mut PgConnection, words: &str) {
        let mut tx = connection.begin().await.unwrap();
        let message = self.bench.message(self.key, words);
        self.bench.outbox.append(&mut tx, &[message]).await.unwrap();
        sqlx::query("insert into elsewhere (words) values ($1)")
            .bind(words)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Everything that our relay has published so far, once it is `count` messages.
    async fn published(&self, count: usize) -> Vec<String> {
        let mut published = Vec::with_capacity(count);
        for message in self.bench.published(count).await {
            published.push(words(&self.bench.codec, &message).await);
        }
        published
    }

    /// Lets our relay empty what it can see, and gives everything that it has published.
    async fn relayed(&self, count: usize) -> Vec<String> {
        let relay = self.bench.relay();
        self.bench.outbox_drains().await;
        relay.stop().await;
        assert_eq!(
            self.bench.record_count(),
            i64::try_from(count).unwrap(),
            "none is missing, and none came twice"
        );
        self.published(count).await
    }

    async fn elsewhere(&self, select: &'static str) -> Vec<String> {
        sqlx::query_scalar(select)
            .fetch_all(&self.bench.pool())
            .await
            .unwrap()
    }

    /// Lets so many of our relays run, and waits until each has asked the database `question` and has its answer.
    async fn relays_that_asked(&self, relays: usize, question: &str) -> Vec<Task> {
        let admin = PgPool::connect(&self.bench.database.admin_url()).await.unwrap();
        let before: String = sqlx::query_scalar("select clock_timestamp()::text")
            .fetch_one(&admin)
            .await
            .unwrap();
        let tasks = (0..relays).map(|_| self.bench.relay()).collect();
        eventually("every relay asks", LIMIT, async || {
            let asked: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and state = 'idle' and query like $1
                   and query_start > $2::timestamptz",
            )
            .bind(format!("{question}%"))
            .bind(&before)
            .fetch_one(&admin)
            .await
            .unwrap();
            (asked >= i64::try_from(relays).unwrap()).then_some(())
        })
        .await;
        tasks
    }
}

async fn execute(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.unwrap();
}

/// A transaction has its id from its first write, and its place among the key's changes only once it has the key's row: a
/// later one may come in between.
#[tokio::test]
async fn a_fence_by_transaction_id_turns_the_order_of_a_key_round_and_ours_does_not() {
    let race = Race::new().await;
    // The first one writes something else, and so has the lower id …
    let mut first = race.begin().await;
    sqlx::query("insert into counter (key) values ($1)")
        .bind(PurchaseId::fresh().0)
        .execute(&mut *first)
        .await
        .unwrap();
    // … but the other one comes to the key before it.
    let mut other = race.begin().await;
    race.lock(&mut other).await;
    race.write(&mut other, "committed first").await;
    other.commit().await.unwrap();
    race.lock(&mut first).await;
    race.write(&mut first, "committed second").await;
    first.commit().await.unwrap();

    assert_eq!(race.relayed(2).await, ["committed first", "committed second"]);
    // Transactions of other tests hold the fence up too.
    let fenced = eventually("the fence lets both through", LIMIT, async || {
        Some(race.elsewhere(FENCE).await).filter(|fenced| fenced.len() == 2)
    });
    assert_eq!(fenced.await, ["committed second", "committed first"]);
}

/// Numbers are drawn before they are committed, so a lower one may become visible after a higher one.
#[tokio::test]
async fn a_cursor_loses_what_becomes_visible_late_and_ours_does_not() {
    let race = Race::new().await;
    let mut late = race.begin().await;
    race.write(&mut late, "late").await;
    let mut early = race.begin().await;
    race.write(&mut early, "early").await;
    early.commit().await.unwrap();

    let cursor = async |last: i64| -> (i64, Vec<String>) {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("select seq, words from elsewhere where seq > $1 order by seq")
                .bind(last)
                .fetch_all(&race.bench.pool())
                .await
                .unwrap();
        let last = rows.last().map_or(last, |row| row.0);
        (last, rows.into_iter().map(|row| row.1).collect())
    };
    let relay = race.bench.relay();
    assert_eq!(race.published(1).await, ["early"]);
    let (last, read) = cursor(0).await;
    assert_eq!(read, ["early"]);

    late.commit().await.unwrap();
    assert_eq!(race.published(2).await, ["early", "late"]);
    race.bench.outbox_drains().await;
    relay.stop().await;
    assert_eq!(race.bench.record_count(), 2);

    let (_, read) = cursor(last).await;
    assert_eq!(read, Vec::<String>::new(), "the cursor never comes back to it");
    let left = race.elsewhere("select words from elsewhere where seq < (select max(seq) from elsewhere)");
    assert_eq!(left.await, ["late"], "and it is there");
}

/// A session that draws numbers in advance uses low ones late.
#[tokio::test]
async fn a_sequence_with_a_cache_turns_the_order_of_a_key_round_and_ours_has_none() {
    let race = Race::new().await;
    execute(
        &race.bench.pool(),
        "alter table elsewhere alter column seq set cache 10",
    )
    .await;
    let (mut one, mut other) = (race.session().await, race.session().await);
    // Fills the session's cache.
    race.write(&mut one, "before").await;
    race.write(&mut other, "committed first").await;
    race.write(&mut one, "committed second").await;

    assert_eq!(
        race.relayed(3).await,
        ["before", "committed first", "committed second"]
    );
    assert_eq!(
        race.elsewhere("select words from elsewhere order by seq").await,
        ["before", "committed second", "committed first"]
    );
    let cache = "select cache_size::text from pg_sequences
                 where schemaname = current_schema() and sequencename = 'outbox_seq_seq'";
    assert_eq!(race.elsewhere(cache).await, ["1"]);
}

/// Two relays that both select before either deletes send everything twice, and the older message of a key behind the newer.
/// Row locks that the other skips are no help: then each has a part of the key.
#[tokio::test]
async fn two_relays_without_a_leader_send_twice_or_out_of_order_and_ours_wait() {
    let race = Race::new().await;
    let mut session = race.session().await;
    for number in ["1", "2"] {
        race.write(&mut session, number).await;
    }

    // Whoever leads has this lock. It is held here, by a leader that has stopped between its select and its delete.
    let mut leader = race.session().await;
    let lock = "select pg_advisory_lock(hashtextextended('belay relay of ' || current_schema(), 0))";
    sqlx::query(lock).execute(&mut *leader).await.unwrap();
    let relays = race.relays_that_asked(2, "select pg_try_advisory_lock").await;
    assert_eq!(race.bench.record_count(), 0, "both wait for the leader");
    assert_eq!(race.bench.outbox_rows().await, 2);
    sqlx::query("select pg_advisory_unlock_all()")
        .execute(&mut *leader)
        .await
        .unwrap();
    race.bench.outbox_drains().await;
    for relay in relays {
        relay.stop().await;
    }
    assert_eq!(race.published(2).await, ["1", "2"]);
    assert_eq!(race.bench.record_count(), 2);

    // Each of these takes a batch of one, sends it, and deletes it, as the relay does; neither asks who leads.
    let take = "select words from elsewhere order by seq limit 1";
    let mut sent = race.elsewhere(take).await;
    sent.extend(race.elsewhere(take).await);
    assert_eq!(sent, ["1", "1"], "without any lock both send the same");

    let take = "select words from elsewhere order by seq limit 1 for update skip locked";
    let (mut one, mut other) = (race.begin().await, race.begin().await);
    let slow: String = sqlx::query_scalar(take).fetch_one(&mut *one).await.unwrap();
    let quick: String = sqlx::query_scalar(take).fetch_one(&mut *other).await.unwrap();
    // The one that took the older message is the one that sends last.
    assert_eq!(
        [quick, slow],
        ["2", "1"],
        "with row locks the newer overtakes the older"
    );
}

/// A transaction that has written and idles holds up everybody behind a fence. Whoever deletes by position loses what it
/// writes.
#[tokio::test]
async fn a_writer_that_idles_holds_up_a_fence_and_loses_its_message_to_a_position_and_ours_does_neither() {
    let race = Race::new().await;
    let mut idle = race.begin().await;
    race.write(&mut idle, "idle").await;
    let mut session = race.session().await;
    race.write(&mut session, "busy").await;

    let relay = race.bench.relay();
    assert_eq!(race.published(1).await, ["busy"], "ours goes on");
    race.bench.outbox_drains().await;
    assert_eq!(
        race.elsewhere(FENCE).await,
        Vec::<String>::new(),
        "the fence waits for the idle one"
    );

    relay.stop().await;

    // The next batch is read and on its way, and is not acknowledged yet, when the idle one commits.
    race.bench.kafka.broker().down().unwrap();
    race.write(&mut session, "on its way").await;
    let relays = race.relays_that_asked(1, "select seq, id, aggregatetype").await;
    let read: Vec<i64> = sqlx::query_scalar("select seq from elsewhere order by seq")
        .fetch_all(&race.bench.pool())
        .await
        .unwrap();
    idle.commit().await.unwrap();
    race.bench.kafka.broker().up().unwrap();
    assert_eq!(race.published(3).await, ["busy", "on its way", "idle"]);
    race.bench.outbox_drains().await;
    for relay in relays {
        relay.stop().await;
    }
    assert_eq!(race.bench.record_count(), 3);

    // The other relay deletes up to where it read.
    sqlx::query("delete from elsewhere where seq <= $1")
        .bind(read.last())
        .execute(&race.bench.pool())
        .await
        .unwrap();
    let left = race.elsewhere("select words from elsewhere").await;
    assert_eq!(left, Vec::<String>::new(), "deleted, and never sent");
    assert_eq!(read.len(), 2, "it had read the two of the busy session only");
}
