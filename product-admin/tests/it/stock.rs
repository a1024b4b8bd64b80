//! Goal: commands of purchases keep the stock right, whoever else is at work. Method: commands as the consumer hands
//! them over, each batch in a transaction of its own, then a look at the tables.

use contracts::{
    product_admin::{
        ConfirmReservation, ProductChanged, ProductsReleased, ProductsReserved, ReleaseProducts,
        ReservationConfirmed, ReservationRejected, ReservationShortage, ReserveLine, ReserveProducts,
    },
    purchase_manager::CommandSuperseded,
    topics::{self, PRODUCT_ADMIN_COMMANDS},
};
use mailbox::{Fault, Outgoing, Received};
use product_admin::{domain::stock::Changes, store};
use testkit::{decoded, handle, repeated};

use super::*;

impl Bench {
    pub(crate) async fn reserve(&self, purchase_id: PurchaseId, lines: &[(ProductId, i32)]) -> Received {
        let lines = lines
            .iter()
            .map(|&(product_id, quantity)| ReserveLine { product_id, quantity })
            .collect();
        let command = ReserveProducts { purchase_id, lines };
        testkit::command(&self.codec, PRODUCT_ADMIN_COMMANDS, purchase_id, &command).await
    }

    pub(crate) async fn release(&self, purchase_id: PurchaseId) -> Received {
        let command = ReleaseProducts { purchase_id };
        testkit::command(&self.codec, PRODUCT_ADMIN_COMMANDS, purchase_id, &command).await
    }

    pub(crate) async fn confirm(&self, purchase_id: PurchaseId) -> Received {
        let command = ConfirmReservation { purchase_id };
        testkit::command(&self.codec, PRODUCT_ADMIN_COMMANDS, purchase_id, &command).await
    }

    pub(crate) async fn handle(&self, batch: &[Received]) -> Vec<Outgoing> {
        handle(&self.pool, &self.keeper, batch).await.unwrap()
    }

    /// As the consumer does: what a race has cost is tried again.
    pub(crate) async fn handle_until_done(&self, batch: &[Received]) -> Vec<Outgoing> {
        for _ in 0..100 {
            match handle(&self.pool, &self.keeper, batch).await {
                Ok(outgoing) => return outgoing,
                Err(fault) => assert!(fault.is_transient(), "{fault}"),
            }
        }
        panic!("a hundred tries were not enough");
    }

    pub(crate) async fn states(&self, purchase: PurchaseId) -> Vec<String> {
        sqlx::query_scalar("select state from reservation where purchase_id = $1 order by product_id")
            .bind(purchase.0)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

fn is<M: contracts::Message>(outgoing: &Outgoing) -> bool {
    outgoing.message_type == M::message_type().name
}

#[tokio::test]
async fn units_are_held_then_sold_and_given_back_by_an_operator() {
    let bench = Bench::new().await;
    let replies = bench
        .handle(&[bench
            .reserve(purchase(1), &[(seeded(ROPE), 2), (seeded(FLEECE), 1)])
            .await])
        .await;
    let reply: ProductsReserved = decoded(&bench.codec, &replies[0]).await;
    assert_eq!(reply.purchase_id, purchase(1));
    assert_eq!(bench.states(purchase(1)).await, ["held", "held"]);
    assert_eq!(
        (bench.level(seeded(ROPE)).await, bench.level(seeded(FLEECE)).await),
        ((500, 2), (10, 1))
    );

    let replies = bench.handle(&[bench.confirm(purchase(1)).await]).await;
    assert!(is::<ReservationConfirmed>(&replies[0]));
    assert_eq!(bench.states(purchase(1)).await, ["confirmed", "confirmed"]);
    assert_eq!(
        bench.level(seeded(ROPE)).await,
        (500, 2),
        "sold units wait to be dispatched"
    );

    let replies = bench.handle(&[bench.release(purchase(1)).await]).await;
    assert!(is::<ProductsReleased>(&replies[0]));
    assert_eq!(bench.states(purchase(1)).await, ["released", "released"]);
    assert_eq!(
        (bench.level(seeded(ROPE)).await, bench.level(seeded(FLEECE)).await),
        ((500, 0), (10, 0))
    );
    bench.audit().await;
}

#[tokio::test]
async fn a_purchase_that_is_short_holds_nothing_and_learns_every_short_line() {
    let bench = Bench::new().await;
    let unknown = seeded(99);
    let lines = [
        (seeded(ROPE), 1),
        (seeded(BOOTS), 1),
        (seeded(FLEECE), 11),
        (unknown, 3),
    ];
    let replies = bench.handle(&[bench.reserve(purchase(1), &lines).await]).await;
    let reply: ReservationRejected = decoded(&bench.codec, &replies[0]).await;
    let short = |product_id, requested, available| ReservationShortage {
        product_id,
        requested,
        available,
    };
    assert_eq!(
        reply.shortages,
        [
            short(seeded(BOOTS), 1, 0),
            short(seeded(FLEECE), 11, 10),
            short(unknown, 3, 0)
        ]
    );
    assert_eq!(bench.number("select count(*) from reservation").await, 0);
    assert_eq!(bench.level(seeded(ROPE)).await, (500, 0));
}

#[tokio::test]
async fn a_command_that_is_sent_again_is_answered_again_and_done_once() {
    let bench = Bench::new().await;
    let reserve = bench.reserve(purchase(1), &[(seeded(ROPE), 2)]).await;
    let batch = [reserve.clone(), repeated(&reserve)];
    let replies = bench.handle(&batch).await;
    assert_eq!(
        replies
            .iter()
            .filter(|reply| is::<ProductsReserved>(reply))
            .count(),
        2
    );
    assert!(is::<ProductsReserved>(
        &bench.handle(&[repeated(&reserve)]).await[0]
    ));
    assert_eq!(bench.level(seeded(ROPE)).await, (500, 2));
}

#[tokio::test]
async fn a_release_that_overtakes_its_reservation_wins() {
    let bench = Bench::new().await;
    assert!(is::<ProductsReleased>(
        &bench.handle(&[bench.release(purchase(1)).await]).await[0]
    ));
    let late = bench.reserve(purchase(1), &[(seeded(ROPE), 2)]).await;
    assert!(is::<CommandSuperseded>(&bench.handle(&[late]).await[0]));
    assert_eq!(bench.level(seeded(ROPE)).await, (500, 0));
}

#[tokio::test]
async fn a_batch_is_decided_in_order_and_written_once() {
    let bench = Bench::new().await;
    let fleece = seeded(FLEECE);
    let batch = [
        bench.reserve(purchase(1), &[(fleece, 6)]).await,
        bench.reserve(purchase(2), &[(fleece, 6)]).await,
        bench.release(purchase(1)).await,
        bench.reserve(purchase(3), &[(fleece, 10)]).await,
        bench.confirm(purchase(3)).await,
    ];
    let outgoing = bench.handle(&batch).await;
    assert!(is::<ProductsReserved>(&outgoing[0]));
    assert!(is::<ReservationRejected>(&outgoing[1]));
    assert!(is::<ProductsReleased>(&outgoing[2]));
    assert!(is::<ProductsReserved>(&outgoing[3]));
    assert!(is::<ReservationConfirmed>(&outgoing[4]));
    assert!(
        is::<ProductChanged>(&outgoing[5]),
        "sold out in the end: announced once"
    );
    assert_eq!(outgoing.len(), 6);
    assert_eq!(bench.level(fleece).await, (10, 10));
    bench.audit().await;
}

#[tokio::test]
async fn a_product_is_announced_only_when_its_availability_crosses() {
    let bench = Bench::new().await;
    let fleece = seeded(FLEECE);
    let quiet = bench
        .handle(&[bench.reserve(purchase(1), &[(fleece, 4)]).await])
        .await;
    assert_eq!(quiet.len(), 1, "6 are left, as the catalogue believes");

    let low = bench
        .handle(&[bench.reserve(purchase(2), &[(fleece, 1)]).await])
        .await;
    assert_eq!(
        (low[1].topic, low[1].key.clone()),
        (topics::PRODUCT_EVENTS, fleece.to_string())
    );
    let low: ProductChanged = decoded(&bench.codec, &low[1]).await;
    assert_eq!((low.availability.as_str(), low.version), ("LOW_STOCK", 2));

    let quiet = bench
        .handle(&[bench.reserve(purchase(3), &[(fleece, 1)]).await])
        .await;
    assert_eq!(quiet.len(), 1, "4 are left, and that is still low");

    let high = bench.handle(&[bench.release(purchase(1)).await]).await;
    let high: ProductChanged = decoded(&bench.codec, &high[1]).await;
    assert_eq!((high.availability.as_str(), high.version), ("IN_STOCK", 3));
    assert!(high.updated_at >= low.updated_at);

    let read = store::products::changes(&bench.pool, chrono::DateTime::UNIX_EPOCH, None, 200)
        .await
        .unwrap();
    assert!(
        read.contains(&high),
        "the event and the read are the same document"
    );
}

#[tokio::test]
async fn a_command_that_contradicts_what_is_stored_is_parked() {
    let bench = Bench::new().await;
    let nothing_held = bench.confirm(purchase(1)).await;
    let no_units = bench.reserve(purchase(2), &[(seeded(ROPE), 0)]).await;
    let no_lines = bench.reserve(purchase(3), &[]).await;
    for message in [nothing_held, no_units, no_lines] {
        let fault = handle(&bench.pool, &bench.keeper, &[message]).await.unwrap_err();
        assert!(matches!(fault, Fault::Deterministic(_)), "{fault}");
    }
    assert_eq!(bench.number("select count(*) from operation").await, 0);
}

/// 50 buyers, each a transaction of its own, want the last 10 units, half of them together with another product and in
/// the other order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_buyers_of_the_last_units_never_oversell() {
    let bench = Bench::new().await;
    let (rope, fleece) = (seeded(ROPE), seeded(FLEECE));
    let buyers = (0..50).map(|n| {
        let bench = &bench;
        async move {
            let lines: &[(ProductId, i32)] = if n % 2 == 0 {
                &[(fleece, 1)]
            } else {
                &[(fleece, 1), (rope, 1)]
            };
            let outgoing = bench
                .handle_until_done(&[bench.reserve(purchase(n), lines).await])
                .await;
            is::<ProductsReserved>(&outgoing[0])
        }
    });
    let served = futures::future::join_all(buyers)
        .await
        .into_iter()
        .filter(|served| *served)
        .count();
    assert_eq!(served, 10);
    assert_eq!(bench.level(fleece).await, (10, 10));
    bench.audit().await;
}

/// Two instances get the same command at once, as during a rebalance.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_command_at_two_instances_is_done_once() {
    let bench = Bench::new().await;
    for n in 1..=10 {
        let reserve = bench.reserve(purchase(n), &[(seeded(ROPE), 1)]).await;
        let (one, other) = ([reserve.clone()], [repeated(&reserve)]);
        let (one, other) = tokio::join!(bench.handle_until_done(&one), bench.handle_until_done(&other));
        assert!(is::<ProductsReserved>(&one[0]) && is::<ProductsReserved>(&other[0]));
    }
    assert_eq!(bench.level(seeded(ROPE)).await, (500, 10));
    bench.audit().await;
}

#[tokio::test]
async fn a_constraint_stands_behind_the_decision() {
    let bench = Bench::new().await;
    let mut connection = bench.pool.acquire().await.unwrap();
    let stock = store::stock::load(&mut connection, &[seeded(FLEECE)], &[])
        .await
        .unwrap();
    assert_eq!(stock.changes(), Changes::default());
    let level = store::products::lock_shelf(&mut connection, seeded(FLEECE))
        .await
        .unwrap()
        .unwrap()
        .level;
    for (reserved, constraint) in [
        (11, "product_not_oversold"),
        (-1, "product_reserved_not_negative"),
    ] {
        let mut wrong = level;
        wrong.reserved = reserved;
        let changes = Changes {
            levels: vec![(seeded(FLEECE), wrong)],
            reservations: Vec::new(),
        };
        let error = store::stock::save(&mut connection, &changes, TTL)
            .await
            .unwrap_err();
        assert_eq!(
            error.as_database_error().and_then(|e| e.constraint()),
            Some(constraint)
        );
        let fault = Fault::from(error);
        assert_eq!(
            (fault.is_transient(), fault.class()),
            (false, "data"),
            "it parks the message"
        );
    }
}
