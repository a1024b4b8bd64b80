//! A small HTTP server on the loopback interface, shared by the registry and the issuer.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long requests in progress may take once a stop was asked for. The whole of `belay up`
/// drains within 5 s, and these answer in milliseconds.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A port of the loopback interface that requests already reach but nobody answers yet: what the
/// server says about itself may contain its own address.
#[derive(Debug)]
pub(crate) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// A running server; dropping it stops it at once, without draining.
#[derive(Debug)]
pub(crate) struct LocalServer {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Listening {
    /// Binds `listen`; port 0 takes a free one.
    pub(crate) async fn bind(part: &str, listen: SocketAddr) -> anyhow::Result<Self> {
        if !listen.ip().is_loopback() {
            bail!("the {part} listens on 127.0.0.1 only, not on {listen}");
        }
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("the {part} cannot listen on {listen}; give another port, or 0 for a free one")
        })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address with `http://` and the real port, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests until `shutdown` is cancelled.
    pub(crate) fn serve(
        self,
        part: &'static str,
        router: Router,
        shutdown: &CancellationToken,
    ) -> LocalServer {
        let shutdown = shutdown.child_token();
        let drain = shutdown.clone().cancelled_owned();
        let server = axum::serve(self.listener, router).with_graceful_shutdown(drain);
        let task = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(part, %error, "a local server ended");
            }
        });
        LocalServer { shutdown, task }
    }
}

impl LocalServer {
    /// Takes no more requests, lets those in progress finish for [`DRAIN_LIMIT`], then ends.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        if timeout(DRAIN_LIMIT, &mut self.task).await.is_err() {
            tracing::warn!("a local server still had requests open when its time to drain ended");
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}
