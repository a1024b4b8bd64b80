use contracts::{ids::PurchaseId, orders::OrderRejected, topics::PURCHASE_REPLIES};
use mailbox::tail::Tail;
use testkit::eventually;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    LIMIT,
    bench::{Bench, Record},
};

#[tokio::test]
async fn a_tail_sees_what_comes_and_passes_over_what_cannot_be_read() {
    let bench = Bench::new().await;
    bench
        .send(&[Record::of(&bench.message(PurchaseId::fresh(), "before"), None)])
        .await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let tail = Tail::new(
        "live",
        PURCHASE_REPLIES,
        bench.kafka.settings(),
        bench.codec.clone(),
    );
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let task = tokio::spawn(async move {
        let each = move |message: mailbox::Received| {
            let _ = sender.send(message.decode::<OrderRejected>().unwrap().reason);
        };
        tail.run(token, each).await.unwrap();
    });
    // What comes before the tail is in place is missed, so something is sent until it has seen one.
    let mut seen = eventually("the tail is in place", LIMIT, async || {
        let broken = Record {
            payload: None,
            ..Record::of(&bench.message(PurchaseId::fresh(), "-"), None)
        };
        bench
            .send(&[
                broken,
                Record::of(&bench.message(PurchaseId::fresh(), "ping"), None),
            ])
            .await;
        receiver.try_recv().ok()
    })
    .await;
    bench
        .send(&[Record::of(&bench.message(PurchaseId::fresh(), "last"), None)])
        .await;
    while seen != "last" {
        assert_eq!(seen, "ping");
        seen = tokio::time::timeout(LIMIT, receiver.recv())
            .await
            .unwrap()
            .unwrap();
    }
    shutdown.cancel();
    tokio::time::timeout(LIMIT, task).await.unwrap().unwrap();
}
