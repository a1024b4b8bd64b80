//! Noticing that another cluster answers at the broker's address: one that was set up anew and has forgotten everything.
//!
//! librdkafka keeps the leader epochs that it knew of each partition and takes whatever the new cluster says for older news
//! (<https://github.com/confluentinc/librdkafka/issues/4898>), so its clients stand still for ever. The way out is a new client.
//! A topic that alone is deleted and made again has the same effect and is not noticed here: docs/kafka.md says what to do.

use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use tokio::time::{Interval, MissedTickBehavior};

/// Between two looks. A look asks nobody: the client remembers which cluster answered last.
const LOOK: Duration = Duration::from_secs(1);

/// The cluster that a client belongs to.
#[derive(Debug)]
pub(crate) struct ClusterWatch {
    known: Option<String>,
    look: Interval,
}

impl ClusterWatch {
    /// For a client that was just made.
    pub(crate) fn new() -> Self {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { known: None, look }
    }

    /// Waits until another cluster answers than the first one. Cancel-safe: what is known is kept.
    pub(crate) async fn replaced<C: ClientContext>(&mut self, client: &Client<C>) {
        loop {
            self.look.tick().await;
            if self.is_another(client.fetch_cluster_id(Duration::ZERO)) {
                return;
            }
        }
    }

    /// Nothing is known until the first metadata have come.
    fn is_another(&mut self, answered: Option<String>) -> bool {
        match (&self.known, answered) {
            (_, None) => false,
            (None, first) => {
                self.known = first;
                false
            }
            (Some(known), Some(now)) => *known != now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_another_name_is_another_cluster() {
        let mut watch = ClusterWatch::new();
        let some = |name: &str| Some(name.to_owned());
        assert!(!watch.is_another(None), "nobody has answered yet");
        assert!(!watch.is_another(some("a")));
        assert!(!watch.is_another(some("a")));
        assert!(!watch.is_another(None));
        assert!(watch.is_another(some("b")));
    }
}
