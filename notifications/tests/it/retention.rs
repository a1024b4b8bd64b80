//! What is forgotten of outcomes that were told.

use std::time::Duration;

use notifications::{
    retention::{LEAST_DAYS, kept_days},
    store,
};

use crate::world::{World, ended};

/// The days of the tests' own rows.
async fn prune(world: &World, limit: i64) -> u64 {
    let mut connection = world.pool().acquire().await.unwrap();
    store::prune(&mut connection, LEAST_DAYS, limit).await.unwrap()
}

#[tokio::test]
async fn what_was_told_long_ago_goes_and_what_waits_stays() {
    let world = World::new().await;
    for _ in 0..6 {
        world.hear(&[world.purchase("COMPLETED").await]).await;
    }
    sqlx::raw_sql(
        "with numbered as (select notification_id, row_number() over () as n from notification)
         update notification t
         set ended_at = now() - case when n = 4 then interval '89 days' else interval '91 days' end,
             state = case n when 1 then 'sent' when 2 then 'skipped' when 3 then 'failed' when 4 then 'sent'
                            when 5 then 'pending' else 'sending' end,
             purchase = case when n in (1, 2, 4) then null else purchase end,
             due_at = case when n in (5, 6) then now() end,
             reason = 'because'
         from numbered where numbered.notification_id = t.notification_id",
    )
    .execute(&world.pool())
    .await
    .unwrap();
    assert_eq!(prune(&world, 1).await, 1, "no more than a batch");
    assert_eq!(prune(&world, 10).await, 1);
    assert_eq!(prune(&world, 10).await, 0);
    let mut left: Vec<String> = world.rows().await.into_iter().map(|row| row.state).collect();
    left.sort();
    assert_eq!(left, ["failed", "pending", "sending", "sent"]);
}

/// A topic that is read again from its beginning, or a feed, tells of it once more: no second mail may come of that.
#[tokio::test]
async fn an_outcome_that_is_forgotten_is_too_old_to_be_told_again() {
    let world = World::new().await;
    let day_micros = 24 * 60 * 60 * 1_000_000;
    let old = ended(
        "COMPLETED",
        world.now_micros().await - i64::from(LEAST_DAYS + 1) * day_micros,
    );
    world.hear(std::slice::from_ref(&old)).await;
    assert_eq!(world.row().await.state, "skipped");
    assert_eq!(prune(&world, 10).await, 1);
    world.hear(&[old]).await;
    assert_eq!(world.row().await.state, "skipped", "and not pending");

    // Whoever has mails sent for a year remembers longer than that.
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    assert_eq!(kept_days(90, hours(168)), 90);
    assert_eq!(kept_days(90, hours(8_760)), 366);
    assert_eq!(kept_days(400, hours(8_760)), 400);
    assert_eq!(kept_days(1, hours(1)), LEAST_DAYS);
}
