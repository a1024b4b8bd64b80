//! `probe`: asks the service of this container how it is. The image has no shell and no curl to do it with.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer is a line; whatever is longer is not ours.
const LONGEST_ANSWER: u64 = 16 * 1024;

/// What to ask, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Ask only whether the process lives (/healthz), not whether it is ready (/readyz).
    #[arg(long)]
    pub live: bool,
    /// Where the service listens. An address of all interfaces is asked on the loopback.
    #[arg(long = "http", env = "BELAY_HTTP", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// How long the answer may take, in milliseconds.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub timeout_ms: u64,
}

/// The subcommand as `--help` shows it.
#[must_use]
pub fn command() -> clap::Command {
    Args::augment_args(clap::Command::new("probe"))
        .about("Asks the running service whether it is ready, and exits with 0 if it is")
}

/// Asks, prints the answer, and fails when it is a "no" or none comes.
///
/// # Errors
/// The service's own words, or why there are none.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let path = if args.live { "/healthz" } else { "/readyz" };
    let address = reachable(args.http);
    let asked = tokio::time::timeout(Duration::from_millis(args.timeout_ms), ask(address, path));
    let (status, body) = asked
        .await
        .with_context(|| format!("no answer from {address} within {} ms", args.timeout_ms))??;
    let body = body.trim();
    if status != 200 {
        bail!("{address}{path} answers {status}: {body}");
    }
    writeln!(std::io::stdout().lock(), "{body}")?;
    Ok(())
}

/// Where a listener of `address` is reached from its own machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Status and body of a GET. Small enough by hand that no HTTP client has to be set up every few seconds.
async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("nobody listens on {address}"))?;
    // HTTP/1.0: the answer ends with the connection, and is never chunked.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("{address} does not speak HTTP"))?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::{Front, serve};

    fn asking(http: SocketAddr, live: bool) -> Args {
        Args {
            live,
            http,
            timeout_ms: 3000,
        }
    }

    #[test]
    fn all_interfaces_are_asked_on_the_loopback() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reached("[::]:8080"), "[::1]:8080");
        assert_eq!(reached("10.0.0.7:8080"), "10.0.0.7:8080");
    }

    #[tokio::test]
    async fn a_service_that_starts_lives_and_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let front = Front::default();
        front.waits_for("the database");
        let served = tokio::spawn(serve(listener, front, shutdown.clone()));
        run(asking(address, true)).await.unwrap();
        let refused = run(asking(address, false)).await.unwrap_err().to_string();
        assert!(
            refused.contains("503") && refused.contains("waits for the database"),
            "{refused}"
        );
        shutdown.cancel();
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_service_that_is_ready_is_said_to_be() {
        let database = testkit::Database::create("host", &sqlx::migrate::Migrator::DEFAULT).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let front = Front::default();
        front.open("host", database.pool(), Router::new());
        let served = tokio::spawn(serve(listener, front, shutdown.clone()));
        run(asking(address, false)).await.unwrap();
        let (_, metrics) = ask(address, "/metrics").await.unwrap();
        assert!(
            metrics.contains(r#"belay_database_connections_max{service="host"}"#),
            "{metrics}"
        );
        shutdown.cancel();
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn nobody_and_something_else_are_no_health() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 mail\r\n").await.unwrap();
            let mut request = [0; 4];
            stream.read_exact(&mut request).await.unwrap();
        });
        let refused = run(asking(address, true)).await.unwrap_err().to_string();
        // A connection that ends with unread bytes is reset: both are a no.
        assert!(
            refused.contains("does not speak HTTP") || refused.contains("reset"),
            "{refused}"
        );
        other.await.unwrap();
        let refused = run(asking(address, true)).await.unwrap_err().to_string();
        assert!(refused.contains("nobody listens"), "{refused}");
    }
}
