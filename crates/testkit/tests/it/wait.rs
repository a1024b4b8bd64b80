use std::time::Duration;

use testkit::eventually;

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_is_given() {
    let mut looks = 0;
    let found = eventually("the third look finds it", Duration::from_secs(1), async || {
        looks += 1;
        (looks == 3).then_some("it")
    })
    .await;
    assert_eq!(found, "it");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "this did not happen within 1s: pigs fly")]
async fn what_never_comes_is_named() {
    eventually("pigs fly", Duration::from_secs(1), async || None::<()>).await;
}
