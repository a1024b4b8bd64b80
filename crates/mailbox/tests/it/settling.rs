//! What operators do with parked messages: replay and discard, as a library and at work in the consumer and the relay.

use std::sync::atomic::Ordering;

use contracts::{
    ids::PurchaseId,
    parked::{SettleParked, SettledOutcome},
    topics::PURCHASE_REPLIES,
};
use mailbox::{
    KafkaSettings,
    parked::{
        list::{self, Filter},
        settle::{self, Action, Answer},
    },
};
use rdkafka::{
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use testkit::eventually;
use uuid::Uuid;

use crate::{
    LIMIT,
    bench::{Bench, GROUP, Record, published, words},
    recorder::{POISON, Recorder},
};

fn request(ids: &[Uuid]) -> SettleParked {
    SettleParked {
        idempotency_key: contracts::ids::fresh(),
        ids: ids.to_vec(),
        actor: "operator-1".to_owned(),
        reason: "the cause is gone".to_owned(),
    }
}

impl Bench {
    async fn settle(&self, action: Action, ids: &[Uuid]) -> Vec<SettledOutcome> {
        let answer = settle::settle(&self.pool(), &self.outbox, action, &request(ids)).await;
        let Answer::Done(done) = answer.unwrap() else {
            panic!("a new key is new");
        };
        done.settled.into_iter().map(|settled| settled.outcome).collect()
    }

    /// Waiting messages, first come first.
    async fn waiting(&self) -> Vec<contracts::parked::ParkedMessage> {
        let page = list::list(&self.pool(), "mailbox", &Filter::default())
            .await
            .unwrap();
        page.parked.into_iter().rev().collect()
    }

    async fn waiting_are(&self, count: usize) -> Vec<contracts::parked::ParkedMessage> {
        eventually("as many messages wait", LIMIT, async || {
            Some(self.waiting().await).filter(|waiting| waiting.len() == count)
        })
        .await
    }

    fn record(&self, key: PurchaseId, words: &str) -> Record {
        Record::of(&self.message(key, words), None)
    }
}

#[tokio::test]
async fn a_replay_after_the_cause_is_gone_handles_the_line_in_order() {
    let bench = Bench::with_one_partition().await;
    let (sick, other) = (PurchaseId::fresh(), PurchaseId::fresh());
    let records = [POISON, "second", "third"].map(|words| bench.record(sick, words));
    bench.send(&records).await;
    bench.send(&[bench.record(other, POISON)]).await;
    let recorder = Recorder {
        answer: Some(bench.message(PurchaseId::fresh(), "answer")),
        ..Recorder::default()
    };
    let consumer = bench.consumer(recorder.clone());
    let waiting = bench.waiting_are(4).await;
    recorder.mended.store(true, Ordering::SeqCst);

    // Whichever of a line is named, the line begins with its first.
    assert_eq!(
        bench.settle(Action::Replay, &[waiting[1].id, Uuid::nil()]).await,
        [SettledOutcome::Replaying, SettledOutcome::Unknown]
    );
    let handled = bench.handled_count(3).await;
    assert_eq!(handled, [POISON, "second", "third"]);
    let left = bench.waiting_are(1).await;
    assert_eq!(
        left[0].key.as_deref(),
        Some(other.to_string().as_str()),
        "nobody asked for it"
    );
    assert_eq!(bench.outbox_rows().await, 3, "an answer for each");

    bench.send(&[bench.record(sick, "fourth")]).await;
    assert_eq!(bench.handled_count(4).await[3], "fourth", "the key is free");
    consumer.stop().await;
    let shown = list::show(&bench.pool(), &bench.codec, "mailbox", waiting[1].id).await;
    let shown = shown.unwrap().unwrap();
    assert_eq!(shown.resolution.as_deref(), Some("replayed"));
    assert_eq!(shown.resolved_by.as_deref(), Some("operator-1"));
    assert_eq!(shown.reason.as_deref(), Some("the cause is gone"));
    let content = shown.content.unwrap();
    assert_eq!(content.message.unwrap()["reason"], "second");
    assert_eq!(content.actions[0].actor, "operator-1");
}

#[tokio::test]
async fn a_message_that_fails_again_keeps_its_place_with_the_new_error() {
    let bench = Bench::with_one_partition().await;
    let key = PurchaseId::fresh();
    bench
        .send(&[POISON, "second"].map(|words| bench.record(key, words)))
        .await;
    let recorder = Recorder::default();
    let consumer = bench.consumer(recorder.clone());
    let waiting = bench.waiting_are(2).await;
    *recorder.complaint.lock().unwrap() = Some("it fails in another way now".to_owned());
    bench.settle(Action::Replay, &[waiting[0].id]).await;
    let again = eventually("it has failed again", LIMIT, async || {
        Some(bench.waiting().await).filter(|waiting| waiting[0].attempts == 2)
    })
    .await;
    assert_eq!(
        (again.len(), again[0].id, again[0].cause.as_str()),
        (2, waiting[0].id, "failed")
    );
    assert!(again[0].error.contains("in another way"), "{}", again[0].error);
    assert!(!again[0].replaying, "the line waits for the operator again");
    assert!(bench.handled().await.is_empty());

    recorder.mended.store(true, Ordering::SeqCst);
    bench.settle(Action::Replay, &[waiting[0].id]).await;
    assert_eq!(bench.handled_count(2).await, [POISON, "second"]);
    consumer.stop().await;
}

#[tokio::test]
async fn a_discard_frees_the_key_and_the_discarded_message_is_never_handled() {
    let bench = Bench::with_one_partition().await;
    let key = PurchaseId::fresh();
    let records = [POISON, "second", "third"].map(|words| bench.record(key, words));
    bench.send(&records).await;
    let recorder = Recorder::default();
    let consumer = bench.consumer(recorder.clone());
    let waiting = bench.waiting_are(3).await;
    assert_eq!(
        bench.settle(Action::Discard, &[waiting[2].id]).await,
        [SettledOutcome::Discarded]
    );
    assert!(
        bench.waiting().await.iter().all(|message| !message.replaying),
        "the first one has failed"
    );
    bench.settle(Action::Discard, &[waiting[0].id]).await;
    assert_eq!(bench.handled_count(1).await, ["second"], "it had only waited");
    bench.waiting_are(0).await;

    // All of them are delivered again, now that they could be handled.
    recorder.mended.store(true, Ordering::SeqCst);
    bench.send(&records).await;
    bench.send(&[bench.record(key, "fourth")]).await;
    assert_eq!(bench.handled_count(2).await, ["second", "fourth"]);
    consumer.stop().await;
}

#[tokio::test]
async fn settling_twice_is_settling_once() {
    let bench = Bench::with_one_partition().await;
    bench.send(&[bench.record(PurchaseId::fresh(), POISON)]).await;
    let recorder = Recorder::default();
    let consumer = bench.consumer(recorder.clone());
    let id = bench.waiting_are(1).await[0].id;
    recorder.mended.store(true, Ordering::SeqCst);
    let replay = request(&[id]);
    let settle = async |action, request: &SettleParked| {
        settle::settle(&bench.pool(), &bench.outbox, action, request)
            .await
            .unwrap()
    };
    let first = settle(Action::Replay, &replay).await;
    bench.handled_count(1).await;
    assert_eq!(settle(Action::Replay, &replay).await, first);
    let other = SettleParked {
        reason: "another one".to_owned(),
        ..replay
    };
    assert_eq!(settle(Action::Replay, &other).await, Answer::KeyReused);
    for action in [Action::Replay, Action::Discard] {
        assert_eq!(
            bench.settle(action, &[id]).await,
            [SettledOutcome::AlreadyReplayed]
        );
    }
    let nobody = SettleParked {
        actor: " ".to_owned(),
        ..request(&[id])
    };
    assert!(matches!(
        settle(Action::Replay, &nobody).await,
        Answer::Malformed(_)
    ));
    assert_eq!(bench.handled().await, [POISON], "once");
    let actions: i64 = sqlx::query_scalar("select count(*) from parked_action")
        .fetch_one(&bench.pool())
        .await
        .unwrap();
    assert_eq!(actions, 1, "what changed nothing is not recorded");
    consumer.stop().await;
}

/// Goal: nothing is put behind a message that is just being settled, for it would wait for nobody. Method: the replay is held up
/// in its handler until the consumer waits for the parked row.
#[tokio::test]
async fn a_message_that_arrives_while_its_line_is_replayed_is_handled_last() {
    let bench = Bench::with_one_partition().await;
    let key = PurchaseId::fresh();
    bench.send(&[bench.record(key, POISON)]).await;
    let recorder = Recorder::default();
    let consumer = bench.consumer(recorder.clone());
    let waiting = bench.waiting_are(1).await;
    recorder.mended.store(true, Ordering::SeqCst);
    let mut gate = bench.pool().begin().await.unwrap();
    sqlx::query("lock table handled in exclusive mode")
        .execute(&mut *gate)
        .await
        .unwrap();
    bench.settle(Action::Replay, &[waiting[0].id]).await;
    held_up(&bench, 1).await;
    bench.send(&[bench.record(key, "later")]).await;
    held_up(&bench, 2).await;
    gate.commit().await.unwrap();

    assert_eq!(bench.handled_count(2).await, [POISON, "later"]);
    consumer.stop().await;
    bench.waiting_are(0).await;
    assert_eq!(bench.parked().await.len(), 1, "it was never put behind");
}

/// Waits until so many sessions of this database wait for a lock.
async fn held_up(bench: &Bench, sessions: i64) {
    eventually("the sessions wait for a lock", LIMIT, async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&bench.pool())
        .await
        .unwrap();
        (waiting == sessions).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_without_a_key_is_replayed_alone() {
    let bench = Bench::with_one_partition().await;
    let keyless = Record {
        key: None,
        ..bench.record(PurchaseId::fresh(), "keyless")
    };
    bench.send(&[keyless.clone(), keyless]).await;
    let consumer = bench.consumer(Recorder::default());
    let waiting = bench.waiting_are(2).await;
    bench.settle(Action::Replay, &[waiting[0].id]).await;
    eventually("it has failed again", LIMIT, async || {
        (bench.waiting().await[0].attempts == 2).then_some(())
    })
    .await;
    assert_eq!(bench.waiting().await[1].attempts, 1);
    bench
        .settle(Action::Discard, &[waiting[0].id, waiting[1].id])
        .await;
    bench.waiting_are(0).await;
    consumer.stop().await;
}

#[tokio::test]
async fn what_the_broker_refused_is_sent_again_in_its_old_order() {
    let bench = Bench::new().await;
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic(PURCHASE_REPLIES, 1, 1).unwrap();
    let kafka = KafkaSettings {
        bootstrap: broker.bootstrap_servers(),
        ..bench.kafka.settings()
    };
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    let key = PurchaseId::fresh();
    let refuse = |times: usize| broker.request_errors(RDKafkaApiKey::Produce, &vec![refused; times]);
    // All in company, then the first one alone.
    refuse(2);
    bench
        .write(&["0", "1", "2"].map(|words| bench.message(key, words)))
        .await;
    let relay = bench.relay_to(kafka.clone());
    let waiting = bench.waiting_are(3).await;
    let described: Vec<_> = waiting
        .iter()
        .map(|w| (w.consumer.as_str(), w.cause.as_str()))
        .collect();
    assert_eq!(
        described,
        [("relay", "failed"), ("relay", "behind"), ("relay", "behind")]
    );

    // It is refused once more, and waits again.
    refuse(2);
    bench.settle(Action::Replay, &[waiting[0].id]).await;
    eventually("it is refused again", LIMIT, async || {
        let waiting = bench.waiting().await;
        (waiting.len() == 3 && waiting[0].attempts == 2).then_some(())
    })
    .await;
    bench.write(&[bench.message(key, "3")]).await;
    bench.waiting_are(4).await;
    bench.settle(Action::Replay, &[waiting[2].id]).await;
    bench.waiting_are(0).await;
    bench.outbox_drains().await;
    relay.stop().await;
    let mut sent = Vec::new();
    for message in published(&kafka, 1, 4).await {
        sent.push(words(&bench.codec, &message).await);
    }
    assert_eq!(sent, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_list_is_filtered_and_paged() {
    let bench = Bench::with_one_partition().await;
    for _ in 0..5 {
        bench.send(&[bench.record(PurchaseId::fresh(), POISON)]).await;
    }
    let consumer = bench.consumer(Recorder::default());
    let waiting = bench.waiting_are(5).await;
    consumer.stop().await;
    let list = async |filter: Filter| list::list(&bench.pool(), "mailbox", &filter).await.unwrap();
    let two = Filter {
        limit: Some(2),
        ..Filter::default()
    };
    let page = list(two.clone()).await;
    assert!(page.more);
    assert_eq!(page.parked, [waiting[4].clone(), waiting[3].clone()]);
    let last = list(Filter {
        before: Some(waiting[1].seq),
        ..two
    });
    let last = last.await;
    assert_eq!((last.parked.len(), last.more), (1, false));

    let of = |consumer: &str, topic: &str, class: &str| Filter {
        consumer: Some(consumer.to_owned()),
        topic: Some(topic.to_owned()),
        error_class: Some(class.to_owned()),
        ..Filter::default()
    };
    assert_eq!(
        list(of(GROUP, PURCHASE_REPLIES, "handling")).await.parked.len(),
        5
    );
    for other in [
        of("relay", PURCHASE_REPLIES, "handling"),
        of(GROUP, "another", "handling"),
        of(GROUP, PURCHASE_REPLIES, "data"),
    ] {
        assert!(list(other).await.parked.is_empty());
    }
    bench.settle(Action::Discard, &[waiting[0].id]).await;
    assert_eq!(list(Filter::default()).await.parked.len(), 4);
    let all = Filter {
        all: true,
        ..Filter::default()
    };
    assert_eq!(list(all).await.parked.len(), 5);
    let settled = |resolution: &str| Filter {
        resolution: Some(resolution.to_owned()),
        ..Filter::default()
    };
    assert_eq!(list(settled("discarded")).await.parked.len(), 1);
    assert!(list(settled("replayed")).await.parked.is_empty());
}
