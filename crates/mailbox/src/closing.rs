//! Closing a Kafka client without letting it hold up anything.
//!
//! A consumer that is dropped leaves its group and waits for the broker's answer, for ever when the broker is gone. On a
//! thread of the runtime that would keep the runtime, and so the process, from ending.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

/// A client that is closed on a thread of its own, however it is dropped.
#[derive(Debug)]
pub struct Closing<C: Send + 'static>(Option<C>);

impl<C: Send + 'static> Closing<C> {
    /// Takes a client over.
    #[must_use]
    pub fn new(client: C) -> Self {
        Self(Some(client))
    }

    /// Runs `last` and closes the client, and waits for both for up to `limit`. What takes longer goes on by itself, and ends
    /// with the process at the latest.
    pub async fn close(mut self, limit: Duration, last: impl FnOnce(&C) + Send + 'static) {
        let Some(client) = self.0.take() else { return };
        let (done, closed) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            last(&client);
            drop(client);
            // Nobody listens any more when it took too long.
            let _ = done.send(());
        });
        let _ = tokio::time::timeout(limit, closed).await;
    }
}

impl<C: Send + 'static> Drop for Closing<C> {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            std::thread::spawn(move || drop(client));
        }
    }
}

impl<C: Send + 'static> Deref for Closing<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.0.as_ref().expect("it is taken only when it is consumed")
    }
}

impl<C: Send + 'static> DerefMut for Closing<C> {
    fn deref_mut(&mut self) -> &mut C {
        self.0.as_mut().expect("it is taken only when it is consumed")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A client that closes only when the test lets it.
    struct Stuck(Receiver<()>);

    impl Drop for Stuck {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    fn stuck() -> (Closing<Stuck>, Sender<()>) {
        let (release, held) = channel();
        (Closing::new(Stuck(held)), release)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_closes_is_waited_for_as_long_as_said() {
        let (client, _held) = stuck();
        let before = tokio::time::Instant::now();
        client.close(Duration::from_secs(3), |_| {}).await;
        assert_eq!(before.elapsed().as_secs(), 3);
    }

    #[test]
    fn a_client_that_never_closes_does_not_keep_a_runtime_from_ending() {
        let (client, _held) = stuck();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.spawn(async move {
            let _client = client;
            std::future::pending::<()>().await;
        });
        // Would wait for ever if the client were closed on one of the runtime's threads.
        drop(runtime);
    }
}
