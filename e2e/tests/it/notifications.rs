//! Customers hear how their purchases ended: once for each outcome, also where an event comes again or never.

use std::path::PathBuf;

use e2e::{World, world::PATIENCE};
use testkit::eventually;

/// The mails that were written so far, in no order.
fn mails(world: &World) -> Vec<String> {
    let directory = PathBuf::from(&world.info().mail);
    let files = std::fs::read_dir(directory).unwrap();
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

async fn sent(world: &World, count: i64) {
    eventually(&format!("{count} mails are sent"), PATIENCE, async || {
        let sent = "select count(*) from notification where state = 'sent'";
        (world.count("notifications", sent).await == count).then_some(())
    })
    .await;
}

/// Expects one mail to `to` whose subject says `words`.
fn expect_one(mails: &[String], to: &str, words: &str) -> String {
    let mut found = mails
        .iter()
        .filter(|mail| mail.contains(to) && mail.contains(words));
    let mail = found
        .next()
        .unwrap_or_else(|| panic!("no mail to {to} says {words}: {mails:?}"));
    assert!(
        found.next().is_none(),
        "a second mail to {to} says {words}: {mails:?}"
    );
    mail.clone()
}

/// Goal: each outcome is one mail to its own customer.
#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_one_mail_to_its_customer() {
    let mut world = World::start().await;
    let admin = world.someone("ada", "admin");
    let (alice, bob) = (world.customer("alice"), world.customer("bob"));
    let rope = admin.create_product("Rope 60 m", "15.00", 10).await;
    let bought = alice.submit(&[(&rope, 2)], "tok_ok").await;
    let refused = bob.submit(&[(&rope, 99)], "tok_ok").await;
    assert_eq!(alice.ended(&bought).await["state"], "COMPLETED");
    assert_eq!(bob.ended(&refused).await["state"], "REJECTED");
    world.system().stop_service("payments").await.unwrap();
    let unwanted = bob.submit(&[(&rope, 1)], "tok_ok").await;
    bob.cancel(&unwanted).await;
    world.system().start_service("payments").await.unwrap();
    assert_eq!(bob.ended(&unwanted).await["state"], "CANCELLED");
    sent(&world, 3).await;
    let mails = mails(&world);
    assert_eq!(mails.len(), 3);
    expect_one(&mails, "<alice@example.com>", "is complete");
    let rejected = expect_one(&mails, "<bob@example.com>", "could not be completed");
    assert!(rejected.contains("99 requested, 10"), "{rejected}");
    expect_one(&mails, "<bob@example.com>", "is cancelled");
    world.audit_is_clean().await;
}

/// Goal: the event is lost for good, and the customer hears of the outcome all the same, once.
/// Method: notifications is away while the purchase completes, and the broker forgets everything before it is back.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_whose_event_is_lost_is_told_once() {
    let mut world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    let told = alice.submit(&[(&rope, 1)], "tok_ok").await;
    alice.ended(&told).await;
    sent(&world, 1).await;
    world.system().stop_service("notifications").await.unwrap();
    let untold = alice.submit(&[(&rope, 1)], "tok_ok").await;
    assert_eq!(alice.ended(&untold).await["state"], "COMPLETED");
    eventually("the event is published", PATIENCE, async || {
        let waiting = world
            .count("purchase-manager", "select count(*) from outbox")
            .await;
        (waiting == 0).then_some(())
    })
    .await;
    world.stop().await;
    world.restart().await;
    sent(&world, 2).await;
    assert_eq!(mails(&world).len(), 2);
    world.audit_is_clean().await;
}

/// Goal: the edge, which alone knows addresses, may be away: mails wait for it and cost no attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_waits_for_the_edge() {
    let mut world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    world.system().stop_service("notifications").await.unwrap();
    let id = alice.submit(&[(&rope, 1)], "tok_ok").await;
    assert_eq!(alice.ended(&id).await["state"], "COMPLETED");
    world.system().stop_service("bff").await.unwrap();
    world.system().start_service("notifications").await.unwrap();
    eventually("the mail is put off", PATIENCE, async || {
        let put_off = "select count(*) from notification where state = 'pending' and attempts = 0 and reason is not null";
        (world.count("notifications", put_off).await == 1).then_some(())
    })
    .await;
    world.system().start_service("bff").await.unwrap();
    sent(&world, 1).await;
    assert_eq!(mails(&world).len(), 1);
    world.audit_is_clean().await;
}

/// Goal: an outcome that is told again, in a message of its own, is no second mail.
/// Method: the edge forgets that its submission was acknowledged and sends it again; purchase-manager answers a repeated
/// submission with the purchase as it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_told_again_is_no_second_mail() {
    let world = World::start().await;
    let alice = world.customer("alice");
    let rope = world
        .someone("ada", "admin")
        .create_product("Rope 60 m", "15.00", 10)
        .await;
    let id = alice.submit(&[(&rope, 1)], "tok_ok").await;
    assert_eq!(alice.ended(&id).await["state"], "COMPLETED");
    sent(&world, 1).await;
    let heard = "select count(*) from inbox";
    let before = world.count("notifications", heard).await;
    let again = "with again as (
                     update submission set acknowledged_at = null, expires_at = null, next_send_at = now() returning 1)
                 select count(*) from again";
    assert_eq!(world.count("bff", again).await, 1);
    eventually("the outcome is told again", PATIENCE, async || {
        (world.count("notifications", heard).await > before).then_some(())
    })
    .await;
    let rows = "select count(*) from notification where state = 'sent' and attempts = 1";
    assert_eq!(world.count("notifications", rows).await, 1);
    assert_eq!(mails(&world).len(), 1);
    world.audit_is_clean().await;
}
