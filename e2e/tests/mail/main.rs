//! The customer's e-mail, by SMTP, as a mail catcher takes it.
//!
//! Runs in `make test-real`, or by itself: `cargo test -p e2e --test mail`. It needs Node.js, and the first time the network.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeSet;

use e2e::{World, world::PATIENCE};
use parts::Mail;
use serde_json::Value;
use testkit::eventually;

/// Every message that the catcher took, to this address.
async fn messages_to(mail: &Mail, address: &str) -> Vec<Value> {
    let answer = reqwest::get(format!("{}/email", mail.http())).await.unwrap();
    let all: Vec<Value> = answer.error_for_status().unwrap().json().await.unwrap();
    let is_to = |message: &Value| {
        let to = message["to"].as_array().unwrap();
        to.iter().any(|receiver| receiver["address"] == address)
    };
    all.into_iter().filter(is_to).collect()
}

/// Goal: each outcome is one mail to its customer, in text and HTML, and a restart on a broker that has forgotten everything
/// makes none of them come again.
#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_one_mail_also_after_a_lost_topic() {
    let mail = Mail::start().await.unwrap();
    let smtp = format!("smtp://{}", mail.smtp());
    let mut world = World::start_with(|options| options.smtp = Some(smtp)).await;
    let admin = world.someone("ada", "admin");
    let (alice, bob) = (world.customer("alice"), world.customer("bob"));
    let rope = admin.create_product("Rope 60 m", "159.90", 5).await;
    let bought = alice.submit(&[(&rope, 2)], "tok_ok").await;
    let refused = alice.submit(&[(&rope, 9)], "tok_ok").await;
    let others = bob.submit(&[(&rope, 1)], "tok_ok").await;
    let bought = alice.ended(&bought).await;
    let refused = alice.ended(&refused).await;
    assert_eq!(
        (&bought["state"], &refused["state"]),
        (&"COMPLETED".into(), &"REJECTED".into())
    );
    bob.ended(&others).await;
    let found = eventually("both of alice's mails are there", PATIENCE, async || {
        let found = messages_to(&mail, "alice@example.com").await;
        (found.len() >= 2).then_some(found)
    })
    .await;
    for purchase in [&bought, &refused] {
        let reference = purchase["reference"].as_str().unwrap();
        let about: Vec<&Value> = found
            .iter()
            .filter(|message| message["subject"].as_str().unwrap().contains(reference))
            .collect();
        assert_eq!(about.len(), 1, "{reference}: {found:?}");
        for part in ["text", "html"] {
            assert!(
                about[0][part].as_str().unwrap().contains(reference),
                "{part} of {about:?}"
            );
        }
    }

    // The events are gone with the broker; the feed of ended purchases tells of them again. A purchase that ends now is mailed
    // after whatever would come a second time.
    world.stop().await;
    world.restart().await;
    let alice = world.customer("alice");
    let third = alice.submit(&[(&rope, 1)], "tok_ok").await;
    alice.ended(&third).await;
    let found = eventually("the third mail is there", PATIENCE, async || {
        let found = messages_to(&mail, "alice@example.com").await;
        (found.len() >= 3).then_some(found)
    })
    .await;
    let ids: BTreeSet<&str> = found
        .iter()
        .map(|message| message["headers"]["message-id"].as_str().unwrap())
        .collect();
    assert_eq!((found.len(), ids.len()), (3, 3), "{found:?}");
    assert_eq!(messages_to(&mail, "bob@example.com").await.len(), 1);
    world.audit_is_clean().await;
}
