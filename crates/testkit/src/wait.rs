//! Waiting for a condition.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two looks. Short beside everything that tests wait for, long beside a query.
const TICK: Duration = Duration::from_millis(10);

/// Looks until there is something, and gives it.
///
/// # Panics
/// When nothing came within `limit`; the message says what was waited for.
pub async fn eventually<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    match timeout(limit, found).await {
        Ok(found) => found,
        Err(_) => panic!("this did not happen within {limit:?}: {what}"),
    }
}
