//! Goal: `belay saga versions` and `belay saga activate` say what is and do what they say. Method: the program on a whole system.

use e2e::World;

use crate::commands::{belay, stderr, stdout};

#[tokio::test(flavor = "multi_thread")]
async fn the_version_that_new_purchases_follow_is_shown_and_changed_by_command() {
    let world = World::start().await;
    let service = format!(
        "--service-url=purchase-manager={}",
        world.info().services["purchase-manager"]
    );
    let key = format!("--identity-key={}", world.info().identity_key);
    let run = async |arguments: &'static [&'static str]| {
        let (service, key) = (service.clone(), key.clone());
        let output = tokio::task::spawn_blocking(move || {
            let all = ["saga"].into_iter().chain(arguments.iter().copied());
            belay(all.map(str::to_owned).chain([service, key]))
        });
        output.await.unwrap()
    };

    let shown = run(&["versions"]).await;
    assert!(shown.status.success(), "{}", stderr(&shown));
    let text = stdout(&shown);
    assert!(
        text.starts_with("New purchases follow version 1 of purchase. Open purchases: none."),
        "{text}"
    );
    assert!(
        text.contains("INSTANCE") && text.contains("the first version of an empty database"),
        "{text}"
    );

    let foretold = run(&["activate", "--version", "1", "--reason", "a look", "--dry-run"]).await;
    assert!(foretold.status.success(), "{}", stderr(&foretold));
    assert!(stdout(&foretold).contains("already: nothing changes"));

    for arguments in [
        &["activate", "--version", "2", "--reason", "too early", "--dry-run"][..],
        &["activate", "--version", "2", "--reason", "too early"][..],
    ] {
        let refused = run(arguments).await;
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(stdout(&refused), "");
        assert!(
            stderr(&refused).contains("1 of 1 instances at work lack it"),
            "{}",
            stderr(&refused)
        );
    }
    let unknown = run(&[
        "activate",
        "--definition",
        "tour",
        "--version",
        "1",
        "--reason",
        "a slip",
    ])
    .await;
    assert!(
        stderr(&unknown).contains("There is no such saga"),
        "{}",
        stderr(&unknown)
    );
    let activations = world
        .count("purchase-manager", "select count(*) from activation")
        .await;
    assert_eq!(activations, 1, "nothing was changed");
}
