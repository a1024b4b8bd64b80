//! How much each viewer may ask for over time: a bucket of points that fills by itself, and from which every operation takes
//! what it costs.
//!
//! Kept in the memory of each instance, so a viewer has as many buckets as the edge has instances: a bound, not a bill. Without
//! a token there is no viewer; what strangers may do together is for the proxy before the edge, which knows their addresses.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_graphql::Value;
use tokio::time::Instant;

/// Viewers whose buckets are remembered. Full ones are forgotten first, which changes nothing for anybody.
const REMEMBERED: usize = 50_000;

/// The buckets of all viewers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Throttle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    capacity: u32,
    per_second: u32,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at: Instant,
}

/// How a viewer's bucket stands after an operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    /// Points of a full bucket.
    pub limit: u32,
    /// Points that are left.
    pub remaining: u32,
    /// What the operation costs.
    pub cost: u32,
    /// Points that come back in a second.
    pub per_second: u32,
    /// How long until the bucket is full.
    pub full_in: Duration,
}

impl Standing {
    /// As `extensions.cost` shows it.
    pub fn extension(&self) -> Value {
        let number = |value: u32| Value::from(i64::from(value));
        let throttle: [(&str, Value); 3] = [
            ("maximumAvailable", number(self.limit)),
            ("currentlyAvailable", number(self.remaining)),
            ("restoreRate", number(self.per_second)),
        ];
        let object = |pairs: Vec<(&str, Value)>| {
            let pairs = pairs
                .into_iter()
                .map(|(name, value)| (async_graphql::Name::new(name), value));
            Value::Object(pairs.collect())
        };
        object(vec![
            ("requestedQueryCost", number(self.cost)),
            ("throttleStatus", object(throttle.into())),
        ])
    }
}

impl Throttle {
    /// Buckets of `capacity` points, into which `per_second` come back.
    pub fn new(capacity: u32, per_second: u32) -> Self {
        Self(Arc::new(Inner {
            capacity,
            per_second,
            buckets: Mutex::default(),
        }))
    }

    /// Takes `cost` points from `viewer`'s bucket.
    ///
    /// # Errors
    /// When there are fewer: nothing is taken, and the time is said after which there will be enough.
    pub fn take(&self, viewer: &str, cost: u32) -> Result<Standing, (Standing, Duration)> {
        let now = Instant::now();
        let capacity = f64::from(self.0.capacity);
        let rate = f64::from(self.0.per_second);
        let mut buckets = self.0.buckets.lock().expect("nobody panics with it");
        let filled = |bucket: &Bucket| {
            (bucket.level + now.saturating_duration_since(bucket.at).as_secs_f64() * rate).min(capacity)
        };
        if buckets.len() >= REMEMBERED && !buckets.contains_key(viewer) {
            buckets.retain(|_, bucket| filled(bucket) < capacity);
            if buckets.len() >= REMEMBERED {
                // More viewers than that at once are no longer one viewer's doing.
                buckets.clear();
            }
        }
        let level = buckets.get(viewer).map_or(capacity, filled);
        let wanted = f64::from(cost);
        let standing = |level: f64| Standing {
            limit: self.0.capacity,
            remaining: whole(level),
            cost,
            per_second: self.0.per_second,
            full_in: Duration::from_secs_f64((capacity - level) / rate),
        };
        // What costs more than a bucket holds could never be asked for: a full bucket pays for anything.
        if wanted > level && level < capacity {
            let wait = (wanted.min(capacity) - level) / rate;
            return Err((standing(level), Duration::from_secs_f64(wait)));
        }
        let level = (level - wanted).max(0.0);
        buckets.insert(viewer.to_owned(), Bucket { level, at: now });
        Ok(standing(level))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a level lies between zero and a capacity of 32 bits"
)]
fn whole(level: f64) -> u32 {
    level as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_empties_and_fills_by_itself() {
        let throttle = Throttle::new(100, 10);
        let first = throttle.take("anna", 60).unwrap();
        assert_eq!((first.limit, first.remaining, first.cost), (100, 40, 60));
        assert_eq!(first.full_in, Duration::from_secs(6));
        let (standing, wait) = throttle.take("anna", 60).unwrap_err();
        assert_eq!((standing.remaining, wait), (40, Duration::from_secs(2)));
        // Another viewer has a bucket of their own.
        assert!(throttle.take("ben", 60).is_ok());
        tokio::time::advance(wait).await;
        assert_eq!(throttle.take("anna", 60).unwrap().remaining, 0);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(throttle.take("anna", 0).unwrap().remaining, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_costs_more_than_a_bucket_holds_needs_a_full_one() {
        let throttle = Throttle::new(100, 10);
        assert_eq!(throttle.take("anna", 500).unwrap().remaining, 0);
        let (_, wait) = throttle.take("anna", 500).unwrap_err();
        assert_eq!(wait, Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn no_number_of_viewers_fills_the_memory() {
        let throttle = Throttle::new(100, 1);
        for viewer in 0..REMEMBERED + 10 {
            throttle.take(&viewer.to_string(), 1).unwrap();
        }
        assert!(throttle.0.buckets.lock().unwrap().len() <= REMEMBERED);
    }
}
