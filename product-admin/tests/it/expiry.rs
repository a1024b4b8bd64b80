//! Goal: units that are held for longer than they should be are asked about, and stay. Method: reservations as commands make
//! them, their times shifted in the table, as if PostgreSQL's clock had gone on. Nothing here reads this process's clock.

use contracts::{
    product_admin::{ProductsReserved, ReservationConfirmed, ReservationExpired, ReserveProducts},
    topics::{PRODUCT_ADMIN_COMMANDS, PURCHASE_COMMANDS},
};
use mailbox::{Outbox, participant::ParticipantHandler};
use product_admin::{config::RESERVATION_TTL_SECONDS, expiry::Inquiry, handlers::StockKeeper};
use testkit::{decoded, handle};

use super::*;

/// A seeded product with enough units for every test.
const AXE: u128 = 11;

/// A question as it lies in the outbox.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Question {
    id: uuid::Uuid,
    aggregateid: String,
    command_id: Option<uuid::Uuid>,
    payload: Vec<u8>,
}

impl Bench {
    fn inquiry(&self) -> Inquiry {
        Inquiry::new(self.pool.clone(), self.codec.clone(), Outbox::new())
    }

    /// Holds two products for the purchase.
    async fn hold(&self, purchase_id: PurchaseId) {
        let lines = [(seeded(ROPE), 2), (seeded(AXE), 1)];
        let replies = self.handle(&[self.reserve(purchase_id, &lines).await]).await;
        let _: ProductsReserved = decoded(&self.codec, &replies[0]).await;
    }

    /// As if PostgreSQL's clock went on by as much: every time in the table lies further back.
    async fn time_passes(&self, seconds: i32) {
        sqlx::query(
            "update reservation set expires_at = expires_at - make_interval(secs => $1),
                                    ask_at = ask_at - make_interval(secs => $1)",
        )
        .bind(f64::from(seconds))
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// As the relay does: takes everything out of the outbox.
    async fn sent(&self) -> Vec<Question> {
        let mut questions: Vec<Question> = sqlx::query_as(
            "with gone as (delete from outbox where aggregatetype = $1 returning *)
             select id, aggregateid, command_id, payload from gone order by seq",
        )
        .bind(PURCHASE_COMMANDS)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        questions.sort_by(|one, other| one.aggregateid.cmp(&other.aggregateid));
        questions
    }

    async fn question(&self, question: &Question) -> ReservationExpired {
        let (schema, datum) = self.codec.open(&question.payload).await.unwrap();
        contracts::message::decode(&datum, &schema).unwrap()
    }
}

#[tokio::test]
async fn a_reservation_that_has_passed_its_time_is_asked_about_and_stays() {
    let bench = Bench::new().await;
    bench.hold(purchase(1)).await;
    let inquiry = bench.inquiry();
    assert_eq!(inquiry.ask().await.unwrap(), 0, "its time is not over");

    bench.time_passes(3_599).await;
    assert_eq!(inquiry.ask().await.unwrap(), 0, "one second is left");
    bench.time_passes(2).await;
    assert_eq!(inquiry.ask().await.unwrap(), 1, "both products are one question");

    let sent = bench.sent().await;
    assert_eq!(sent.len(), 1);
    assert_eq!(
        sent[0].aggregateid,
        purchase(1).to_string(),
        "the key is the saga's"
    );
    let question = bench.question(&sent[0]).await;
    assert_eq!((question.purchase_id, question.asked), (purchase(1), 1));
    let passed = bench
        .number("select (extract(epoch from min(expires_at)) * 1000000)::bigint from reservation")
        .await;
    assert_eq!(question.expired_at, passed);

    assert_eq!(bench.states(purchase(1)).await, ["held", "held"]);
    assert_eq!(bench.level(seeded(AXE)).await, (220, 1), "nothing was given back");
    bench.audit().await;
}

#[tokio::test]
async fn what_is_not_answered_is_asked_again_under_the_same_command_after_a_growing_pause() {
    let bench = Bench::new().await;
    bench.hold(purchase(1)).await;
    bench.time_passes(3_600).await;
    let inquiry = bench.inquiry();
    let mut questions = Vec::new();
    for (asked, pause) in [(1, 60), (2, 120), (3, 240)] {
        assert_eq!(inquiry.ask().await.unwrap(), 1);
        let sent = bench.sent().await.remove(0);
        assert_eq!(bench.question(&sent).await.asked, asked);
        questions.push(sent);
        bench.time_passes(pause - 1).await;
        assert_eq!(inquiry.ask().await.unwrap(), 0, "{pause} s are not over");
        // The pause, and the tenth of it by which it may be longer.
        bench.time_passes(pause / 10 + 2).await;
    }
    for _ in 0..12 {
        inquiry.ask().await.unwrap();
        bench.sent().await;
        bench.time_passes(4_000).await;
    }
    inquiry.ask().await.unwrap();
    let longest = "select count(*) from reservation where ask_at > now() + interval '66 minutes'";
    assert_eq!(
        bench.number(longest).await,
        0,
        "the pause ends growing at an hour"
    );
    assert_eq!(questions[0].command_id, questions[2].command_id);
    assert_ne!(
        questions[0].id, questions[1].id,
        "each send is a message of its own"
    );
}

#[tokio::test]
async fn a_question_that_is_still_in_the_outbox_is_not_asked_again() {
    let bench = Bench::new().await;
    bench.hold(purchase(1)).await;
    bench.time_passes(3_600).await;
    let inquiry = bench.inquiry();
    assert_eq!(inquiry.ask().await.unwrap(), 1);
    for _ in 0..5 {
        bench.time_passes(7_200).await;
        assert_eq!(inquiry.ask().await.unwrap(), 0, "the broker is away");
    }
    let sent = bench.sent().await;
    assert_eq!(sent.len(), 1);
    bench.time_passes(7_200).await;
    assert_eq!(inquiry.ask().await.unwrap(), 1, "it is back");
    assert_eq!(
        bench.question(&bench.sent().await[0]).await.asked,
        2,
        "what was never sent was not asked"
    );
}

#[tokio::test]
async fn what_is_decided_is_not_asked_about() {
    let bench = Bench::new().await;
    for n in 1..=3 {
        bench.hold(purchase(n)).await;
    }
    bench.handle(&[bench.confirm(purchase(1)).await]).await;
    bench.handle(&[bench.release(purchase(2)).await]).await;
    bench.time_passes(3_600).await;
    assert_eq!(bench.inquiry().ask().await.unwrap(), 1);
    assert_eq!(bench.sent().await[0].aggregateid, purchase(3).to_string());
    // Now the answer comes: released, and that is the end of it.
    bench.handle(&[bench.release(purchase(3)).await]).await;
    bench.time_passes(7_200).await;
    assert_eq!(bench.inquiry().ask().await.unwrap(), 0);
    bench.audit().await;
}

/// Four instances look at once: every purchase is asked about once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_look_at_once_share_the_questions() {
    let bench = Bench::new().await;
    for n in 1..=60 {
        bench.hold(purchase(n)).await;
    }
    bench.time_passes(3_600).await;
    let inquiry = bench.inquiry();
    let looks = (0..4).map(|_| inquiry.ask());
    let asked: u64 = futures::future::join_all(looks)
        .await
        .into_iter()
        .map(|asked| asked.unwrap())
        .sum();
    assert_eq!(asked, 60);
    let sent = bench.sent().await;
    let mut keys: Vec<_> = sent.iter().map(|question| &question.aggregateid).collect();
    keys.dedup();
    assert_eq!((sent.len(), keys.len()), (60, 60));
}

/// The confirmation comes while the reservation expires. Whoever is first, the units are sold, and nothing waits in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_confirmation_that_races_with_the_expiry_wins() {
    let bench = Bench::new().await;
    let purchases: Vec<PurchaseId> = (1..=30).map(purchase).collect();
    for purchase in &purchases {
        let line = [(seeded(ROPE), 1), (seeded(AXE), 1)];
        let reserved = bench.handle(&[bench.reserve(*purchase, &line).await]).await;
        let _: ProductsReserved = decoded(&bench.codec, &reserved[0]).await;
    }
    bench.time_passes(3_600).await;
    let inquiry = bench.inquiry();
    let looks = async {
        for _ in 0..20 {
            inquiry.ask().await.unwrap();
            bench.time_passes(60).await;
        }
    };
    let confirmations = async {
        for purchase in &purchases {
            let outgoing = bench.handle_until_done(&[bench.confirm(*purchase).await]).await;
            let _: ReservationConfirmed = decoded(&bench.codec, &outgoing[0]).await;
        }
    };
    tokio::join!(looks, confirmations);
    let left = "select count(*) from reservation where state <> 'confirmed'";
    assert_eq!(bench.number(left).await, 0);
    let sent = bench.sent().await;
    assert!(sent.len() <= 30, "at most one question waits for a purchase");
    bench.time_passes(7_200).await;
    assert_eq!(inquiry.ask().await.unwrap(), 0);
    bench.audit().await;
}

/// Two instances with clocks ten minutes apart write and read the same times, because neither looks at its own: the time to
/// live is added by PostgreSQL. A reservation of each is shown to pass its time at the same moment. Had a process written its
/// time, the questions would come ten minutes apart.
#[tokio::test]
async fn the_clocks_of_the_processes_do_not_matter() {
    let bench = Bench::new().await;
    let instances = [
        ParticipantHandler::new(StockKeeper::new(bench.codec.clone(), TTL), bench.codec.clone()),
        ParticipantHandler::new(StockKeeper::new(bench.codec.clone(), TTL), bench.codec.clone()),
    ];
    for (n, instance) in (1..).zip(&instances) {
        let mut tx = bench.pool.begin().await.unwrap();
        let command = bench.reserve(purchase(n), &[(seeded(ROPE), 1)]).await;
        mailbox::Handler::handle(instance, &mut tx, &[command])
            .await
            .unwrap();
        // Within its own transaction, whose time is PostgreSQL's: exactly the time to live, to the microsecond.
        let exact: bool = sqlx::query_scalar(
            "select bool_and(expires_at = now() + interval '1 hour' and ask_at = expires_at)
             from reservation where purchase_id = $1",
        )
        .bind(purchase(n).0)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        assert!(exact);
        tx.commit().await.unwrap();
    }
    // Rows as a database would have them whose clock is five minutes ahead of ours, and five minutes behind: it is the
    // database's view that decides when they are asked about.
    for (ahead, asked) in [(300, 0), (-300, 2)] {
        sqlx::query(
            "update reservation set expires_at = now() + make_interval(secs => $1),
                                    ask_at = now() + make_interval(secs => $1)",
        )
        .bind(f64::from(ahead))
        .execute(&bench.pool)
        .await
        .unwrap();
        assert_eq!(bench.inquiry().ask().await.unwrap(), asked);
    }
}

/// A program of the release before knows nothing of times and reserves all the same.
#[tokio::test]
async fn a_reservation_of_the_release_before_has_a_time_too() {
    let bench = Bench::new().await;
    sqlx::query(
        "with taken as (update product set reserved = reserved + 1 where id = $1)
         insert into reservation (purchase_id, product_id, quantity, state) values ($2, $1, 1, 'held')",
    )
    .bind(seeded(ROPE).0)
    .bind(purchase(1).0)
    .execute(&bench.pool)
    .await
    .unwrap();
    let default = "select extract(epoch from max(expires_at - updated_at))::bigint from reservation";
    assert_eq!(bench.number(default).await, i64::from(RESERVATION_TTL_SECONDS));
    bench.time_passes(3_600).await;
    assert_eq!(bench.inquiry().ask().await.unwrap(), 1);
}

/// A reservation made with another time to live keeps it.
#[tokio::test]
async fn the_time_to_live_is_the_configured_one() {
    let bench = Bench::new().await;
    let keeper = StockKeeper::new(bench.codec.clone(), Duration::from_secs(90));
    let handler = ParticipantHandler::new(keeper, bench.codec.clone());
    let command = ReserveProducts {
        purchase_id: purchase(1),
        lines: vec![contracts::product_admin::ReserveLine {
            product_id: seeded(ROPE),
            quantity: 1,
        }],
    };
    let command = testkit::command(&bench.codec, PRODUCT_ADMIN_COMMANDS, purchase(1), &command).await;
    handle(&bench.pool, &handler, &[command]).await.unwrap();
    bench.time_passes(89).await;
    assert_eq!(bench.inquiry().ask().await.unwrap(), 0);
    bench.time_passes(2).await;
    assert_eq!(bench.inquiry().ask().await.unwrap(), 1);
}
