//! The listener, up before anything else, so that probes are answered while the service still waits for its parts.
//!
//! `/healthz` says that the process lives; `/readyz` that it has its parts and the database answers; `/metrics` speaks
//! Prometheus. Everything else goes to the service's own routes as soon as it has them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long a readiness probe waits for the database.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the routes are made of, filled in while the service starts.
#[derive(Debug, Clone, Default)]
pub struct Front(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    routes: OnceLock<Router>,
    pool: OnceLock<PgPool>,
    draining: AtomicBool,
}

impl Front {
    /// Opens the service's own routes. Before, they answer 503.
    pub fn open(&self, pool: PgPool, routes: Router) {
        // A second call would be a fault of the caller's; the first one stands.
        drop(self.0.pool.set(pool));
        drop(self.0.routes.set(routes));
    }

    /// Makes `/readyz` say no, so that no new work is sent here.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }
}

/// Binds the address.
///
/// # Errors
/// When the port is taken or may not be bound; the message says what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: choose another address with --http, or port 0 for a free one")
    })
}

/// Serves until `shutdown`, then finishes the requests under way.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, front: Front, shutdown: CancellationToken) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(routes)
        .with_state(front);
    axum::serve(
        listener,
        router.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(shutdown.cancelled_owned())
    .await?;
    Ok(())
}

async fn ready(State(front): State<Front>) -> Response {
    let no = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    if front.0.draining.load(Ordering::Acquire) {
        return no("draining\n");
    }
    let (Some(pool), Some(_)) = (front.0.pool.get(), front.0.routes.get()) else {
        return no("starting\n");
    };
    match tokio::time::timeout(PROBE_TIMEOUT, pool.acquire()).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(_)) | Err(_) => no("the database does not answer\n"),
    }
}

async fn metrics() -> impl IntoResponse {
    let body = crate::telemetry::metrics().render();
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        body,
    )
}

async fn routes(State(front): State<Front>, request: Request) -> Response {
    match front.0.routes.get() {
        Some(routes) => match routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
    }
}
