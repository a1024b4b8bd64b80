//! The body of every `main`.

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::{Running, telemetry};

/// Reads the configuration, starts the service, and drains it at SIGINT or SIGTERM.
///
/// # Errors
/// What kept the service from starting, or made it fail.
pub async fn run<C, F>(start: impl FnOnce(C, CancellationToken) -> F) -> anyhow::Result<()>
where
    C: Parser,
    F: Future<Output = anyhow::Result<Running>>,
{
    let config = C::parse();
    telemetry::init(telemetry::LogFormat::Json, "info,librdkafka=off,rdkafka=off");
    let shutdown = CancellationToken::new();
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        if stop_signal().await.is_ok() {
            signalled.cancel();
        }
    });
    let mut running = start(config, shutdown).await?;
    running.ended().await
}

/// Resolves at SIGINT or SIGTERM.
///
/// # Errors
/// When the process may not listen for signals.
pub async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Cancel-safe: receiving a signal has no state.
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
