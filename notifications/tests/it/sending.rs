//! Mails on their way to a server that accepts, refuses, closes and hangs.

use std::time::Duration;

use clap::Parser;
use notifications::{Config, mailer::Mailer, sender::Sender, store};
use serde_json::json;
use testkit::{eventually, smtp::Manners};
use tokio_util::sync::CancellationToken;

use crate::world::{ADDRESS, CUSTOMER, World, send};

#[tokio::test]
async fn an_outcome_is_one_mail_with_text_and_html() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    let sender = world.sender(5);
    send(&sender).await;
    send(&sender).await;
    assert_eq!(world.row().await.state, "sent");
    let taken = world.mail.taken();
    let [mail] = taken.as_slice() else {
        panic!("one mail was expected: {taken:?}")
    };
    assert_eq!(
        (mail.from.as_str(), mail.to.as_str()),
        ("no-reply@belay.invalid", ADDRESS)
    );
    assert_eq!(mail.header("To").as_deref(), Some("Alice <alice@example.com>"));
    assert_eq!(
        mail.header("Subject").as_deref(),
        Some("Your purchase P-7F3K2QX is complete")
    );
    assert_eq!(mail.header("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert!(
        mail.header("Content-Type")
            .unwrap()
            .starts_with("multipart/alternative")
    );
    for part in ["Content-Type: text/plain", "Content-Type: text/html"] {
        assert!(mail.content.contains(part), "{}", mail.content);
    }
    let kept: Option<serde_json::Value> = sqlx::query_scalar("select purchase from notification")
        .fetch_one(&world.pool())
        .await
        .unwrap();
    assert_eq!(kept, None, "what was sent is not kept");
}

#[tokio::test]
async fn a_server_that_is_busy_gets_the_mail_later() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    let sender = world.sender(5);
    world
        .mail
        .behave(Manners::RefuseRecipient("451 4.7.1 greylisted, come again"));
    send(&sender).await;
    let row = world.row().await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 1));
    assert!(row.reason.unwrap().contains("451"));
    // Its pause is not over.
    world.mail.behave(Manners::Accept);
    send(&sender).await;
    assert!(world.mail.taken().is_empty());
    world.later().await;
    send(&sender).await;
    assert_eq!(world.row().await.state, "sent");
    assert_eq!(world.mail.taken().len(), 1);
}

#[tokio::test]
async fn a_refused_address_is_parked_without_the_address() {
    let world = World::new().await;
    world.hear(&[world.purchase("REJECTED").await]).await;
    world.mail.behave(Manners::RefuseRecipient(
        "550 5.1.1 <{}> unknown: no user alice here",
    ));
    send(&world.sender(5)).await;
    let row = world.row().await;
    assert_eq!((row.state.as_str(), row.attempts), ("failed", 1));
    let reason = row.reason.unwrap();
    assert!(reason.contains("550") && reason.contains("unknown"), "{reason}");
    assert!(!reason.contains("alice"), "{reason}");
    let counts = store::counts(&world.pool()).await.unwrap();
    assert_eq!((counts.waiting, counts.failed), (0, 1));
    assert_eq!(store::failed(&world.pool(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn refused_content_is_parked() {
    let world = World::new().await;
    world.hear(&[world.purchase("REJECTED").await]).await;
    world
        .mail
        .behave(Manners::RefuseContent("554 5.7.1 looks like spam"));
    send(&world.sender(5)).await;
    assert_eq!(world.row().await.state, "failed");
}

#[tokio::test]
async fn patience_ends_visibly() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    world.mail.behave(Manners::RefuseRecipient("450 not now"));
    let sender = world.sender(3);
    for _ in 0..5 {
        world.later().await;
        send(&sender).await;
    }
    let row = world.row().await;
    assert_eq!((row.state.as_str(), row.attempts), ("failed", 3));
    assert!(row.reason.unwrap().starts_with("given up after 3 attempts"));
}

#[tokio::test]
async fn a_login_that_is_refused_is_no_fault_of_the_mail() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    world.mail.behave(Manners::RefuseLogin);
    let sender = world.sender_with(5, &["--smtp-user=shop", "--smtp-password=wrong"]);
    send(&sender).await;
    let row = world.row().await;
    assert_eq!(row.state, "pending", "{row:?}");
    assert!(row.reason.unwrap().contains("535"));
}

#[tokio::test]
async fn a_server_that_closes_or_hangs_gets_the_mail_later() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    for manners in [Manners::CloseMidway, Manners::Hang] {
        world.mail.behave(manners);
        world.later().await;
        // A sender of its own has no connection yet that the server greeted before it began to hang.
        send(&world.sender(5)).await;
        assert_eq!(world.row().await.state, "pending", "{manners:?}");
    }
    world.mail.behave(Manners::Accept);
    world.later().await;
    send(&world.sender(5)).await;
    let row = world.row().await;
    assert_eq!((row.state.as_str(), row.attempts), ("sent", 3));
    assert_eq!(world.mail.taken().len(), 1);
}

#[tokio::test]
async fn a_mail_whose_answer_is_lost_comes_again_with_the_same_message_id() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    let sender = world.sender(5);
    world.mail.behave(Manners::TakeAndClose);
    send(&sender).await;
    world.mail.behave(Manners::Accept);
    world.later().await;
    send(&sender).await;
    let taken = world.mail.taken();
    assert_eq!(taken.len(), 2);
    assert!(taken[0].header("Message-ID").is_some());
    assert_eq!(taken[0], taken[1], "byte for byte");
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_when_tls_is_asked_for() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    send(&world.sender_with(5, &["--smtp-security=starttls"])).await;
    assert_eq!(world.row().await.state, "pending");
    let commands = world.mail.commands();
    assert!(!commands.contains(&"MAIL".to_owned()), "{commands:?}");
}

#[tokio::test]
async fn a_customer_without_an_address_is_skipped() {
    let world = World::without_contacts().await;
    world.knows(json!([])).await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    send(&world.sender(5)).await;
    world
        .knows(json!([{ "customer_id": CUSTOMER, "name": "Alice", "email": null }]))
        .await;
    world.hear(&[world.purchase("CANCELLED").await]).await;
    send(&world.sender(5)).await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.state == "skipped"), "{rows:?}");
    assert!(world.mail.taken().is_empty());
}

#[tokio::test]
async fn an_edge_that_is_away_costs_no_attempt() {
    let world = World::without_contacts().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    send(&world.sender(1)).await;
    let row = world.row().await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
    world
        .knows(json!([{ "customer_id": CUSTOMER, "name": null, "email": ADDRESS }]))
        .await;
    world.later().await;
    send(&world.sender(1)).await;
    assert_eq!(world.row().await.state, "sent");
}

#[tokio::test]
async fn a_claim_is_committed_before_the_server_is_called() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    world.mail.behave(Manners::Hang);
    let sender = world.sender(5);
    let sending = tokio::spawn(async move { send(&sender).await });
    eventually("the claim can be seen", Duration::from_secs(10), async || {
        (world.row().await.state == "sending").then_some(())
    })
    .await;
    // Another instance finds nothing to do meanwhile.
    let lease = Duration::from_secs(60);
    assert!(store::claim(&world.pool(), 10, lease).await.unwrap().is_empty());
    sending.await.unwrap();
}

/// A minute in the service, two seconds here.
const LEASE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_claim_is_kept_for_as_long_as_its_sender_works() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    world.mail.behave(Manners::Hang);
    // The server hangs for much longer than a lease.
    let sender = world
        .sender_with(5, &["--smtp-timeout-ms=6000"])
        .with_lease(LEASE);
    let pool = world.pool();
    let sending = tokio::spawn(async move { send(&sender).await });
    let due = async || -> Option<String> {
        sqlx::query_scalar("select due_at::text from notification where state = 'sending'")
            .fetch_optional(&pool)
            .await
            .unwrap()
    };
    let first = eventually("the mail is claimed", Duration::from_secs(10), due).await;
    let mut renewals = 0;
    let mut last = first;
    while renewals < 6 {
        last = eventually("the claim is renewed", Duration::from_secs(10), async || {
            due().await.filter(|due| *due != last)
        })
        .await;
        renewals += 1;
        assert!(
            store::claim(&world.pool(), 10, LEASE).await.unwrap().is_empty(),
            "another instance took it over"
        );
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn the_mails_of_a_killed_instance_wait_for_the_lease_and_no_longer() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    world.mail.behave(Manners::Hang);
    let sender = world.sender(5).with_lease(LEASE);
    let sending = tokio::spawn(async move { send(&sender).await });
    eventually("the mail is claimed", Duration::from_secs(10), async || {
        (world.row().await.state == "sending").then_some(())
    })
    .await;
    // Killed: nobody renews its claim, and nobody settles it.
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    world.mail.behave(Manners::Accept);
    let other = world.sender(5).with_lease(LEASE);
    eventually("another instance sends it", LEASE * 3, async || {
        send(&other).await;
        (world.row().await.state == "sent").then_some(())
    })
    .await;
    assert_eq!(world.mail.taken().len(), 1);
    let claimed: f64 = {
        // As the service claims: within a minute it is free again.
        world.hear(&[world.purchase("REJECTED").await]).await;
        world.mail.behave(Manners::Hang);
        let sender = world.sender(5);
        let sending = tokio::spawn(async move { send(&sender).await });
        let seconds = eventually("the other is claimed", Duration::from_secs(10), async || {
            sqlx::query_scalar(
                "select extract(epoch from due_at - now())::float8 from notification where state = 'sending'",
            )
            .fetch_optional(&world.pool())
            .await
            .unwrap()
        });
        let seconds = seconds.await;
        sending.abort();
        seconds
    };
    assert!(claimed <= 60.0, "{claimed} s");
}

#[tokio::test]
async fn a_sender_that_stood_still_begins_no_mail() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    // Its claim has lapsed before it comes to the mail, as after a stop of the whole process.
    let sender = world.sender(5).with_lease(Duration::ZERO);
    send(&sender).await;
    assert!(world.mail.taken().is_empty());
    let row = world.row().await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
}

#[tokio::test]
async fn a_claim_whose_owner_died_lapses_and_its_late_word_counts_no_more() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    let lost = store::claim(&world.pool(), 10, Duration::ZERO).await.unwrap();
    assert_eq!(lost.len(), 1);
    let again = store::claim(&world.pool(), 10, Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!((again.len(), again[0].attempt), (1, 2));
    let settled = store::Settled {
        id: lost[0].id,
        attempt: lost[0].attempt,
        next: notifications::domain::Next::Failed("late".to_owned()),
    };
    store::settle(&world.pool(), &[settled]).await.unwrap();
    assert_eq!(world.row().await.state, "sending");
}

#[tokio::test]
async fn several_instances_share_the_work() {
    let world = World::new().await;
    let mut told = Vec::new();
    for _ in 0..60 {
        told.push(world.purchase("COMPLETED").await);
    }
    world.hear(&told).await;
    let senders = [world.sender(5), world.sender(5), world.sender(5)];
    futures::future::join_all(senders.iter().map(drain)).await;
    let taken = world.mail.taken();
    let ids: std::collections::HashSet<_> = taken.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!((taken.len(), ids.len()), (60, 60));
    assert!(world.rows().await.iter().all(|row| row.state == "sent"));
}

async fn drain(sender: &Sender) {
    while sender.send_due(&CancellationToken::new()).await.unwrap() {}
}

#[tokio::test]
async fn a_service_that_stops_gives_back_what_it_has_not_begun() {
    let world = World::new().await;
    world.hear(&[world.purchase("COMPLETED").await]).await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    world.sender(5).send_due(&stopped).await.unwrap();
    let row = world.row().await;
    assert_eq!((row.state.as_str(), row.attempts), ("pending", 0));
    assert!(world.mail.taken().is_empty());
}

#[tokio::test]
async fn without_a_server_mails_are_files_that_only_their_owner_reads() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mail");
    world.hear(&[world.purchase("COMPLETED").await]).await;
    let config = Config::parse_from([
        "notifications",
        "--database-url=postgres://x",
        "--kafka=x:1",
        "--registry=http://x:1",
        "--caller=bff=A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
        "--identity-key=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA",
        "--purchase-manager=http://x:1",
        "--contacts=http://x:2",
        &format!("--mail-directory={}", path.display()),
    ]);
    let mailer = Mailer::new(&config).unwrap();
    let sender = Sender::new(
        world.pool(),
        world.clients(),
        mailer,
        5,
        std::sync::Arc::default(),
    );
    send(&sender).await;
    assert_eq!(world.row().await.state, "sent");
    let files: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    let [file] = files.as_slice() else {
        panic!("one file was expected: {files:?}")
    };
    assert_eq!(file.path().extension().unwrap(), "eml");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mail = std::fs::read_to_string(file.path()).unwrap();
    assert!(mail.contains("To: Alice <alice@example.com>"), "{mail}");
}
