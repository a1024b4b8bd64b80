//! A runtime that outlives every test, for what the tests of one process share.
//!
//! Each `#[tokio::test]` has a runtime of its own that ends with it, and takes with it whatever was started there.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        // Two, because what runs there may drop a database, which blocks one thread until another has done it.
        .worker_threads(2)
        .thread_name("testkit")
        .enable_all()
        .build()
        .expect("a process that runs tests may start a thread")
});

/// Runs `work` there and waits for its result.
pub(crate) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    RUNTIME
        .spawn(work)
        .await
        .expect("what the tests share does not panic")
}

/// Runs `work` there and blocks this thread until it is done. For `drop`, which cannot wait otherwise.
pub(crate) fn block_on<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    RUNTIME.spawn(async move {
        // Nobody listens any more only when the test's process ends.
        drop(sender.send(work.await));
    });
    receiver.recv().ok()
}
