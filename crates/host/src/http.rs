//! The listener, up before anything else, so that probes are answered while the service still waits for its parts.
//!
//! `/healthz` says that the process lives; `/readyz` that it has its parts and the database answers; `/metrics` speaks
//! Prometheus. Everything else goes to the service's own routes as soon as it has them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::Instrument;

/// How long a readiness probe waits for the database.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the routes are made of, filled in while the service starts.
#[derive(Debug, Clone, Default)]
pub struct Front(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    routes: OnceLock<Router>,
    pool: OnceLock<PgPool>,
    service: OnceLock<&'static str>,
    /// What the start waits for at the moment.
    waits_for: Mutex<&'static str>,
    draining: AtomicBool,
}

impl Front {
    /// Opens the routes of `service`, each request in a span that continues the caller's trace. Before, they answer 503.
    pub fn open(&self, service: &'static str, pool: PgPool, routes: Router) {
        // A second call would be a fault of the caller's; the first one stands.
        drop(self.0.pool.set(pool));
        self.0.service.set(service).ok();
        let traced = routes.layer(axum::middleware::from_fn_with_state(service, traced));
        drop(self.0.routes.set(traced));
    }

    /// Says in `/readyz` what the start waits for, until the routes are open.
    pub fn waits_for(&self, what: &'static str) {
        *self.0.waits_for.lock().expect("nobody panics with it") = what;
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
    let no = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response();
    if front.0.draining.load(Ordering::Acquire) {
        return no("draining");
    }
    let (Some(pool), Some(_)) = (front.0.pool.get(), front.0.routes.get()) else {
        let waits_for = *front.0.waits_for.lock().expect("nobody panics with it");
        return no(&format!("starting: waits for {waits_for}"));
    };
    match tokio::time::timeout(PROBE_TIMEOUT, pool.acquire()).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(_)) | Err(_) => no("the database does not answer"),
    }
}

async fn metrics(State(front): State<Front>) -> impl IntoResponse {
    let recorder = crate::telemetry::metrics();
    if let (Some(service), Some(pool)) = (front.0.service.get(), front.0.pool.get()) {
        count_connections(service, pool);
    }
    let body = recorder.render();
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        body,
    )
}

/// The pool as it is at this moment: a gauge that is set on every change would cost more than it tells.
fn count_connections(service: &'static str, pool: &PgPool) {
    let idle = pool.num_idle();
    let used = (pool.size() as usize).saturating_sub(idle);
    for (state, count) in [("idle", idle), ("used", used)] {
        metrics::gauge!("belay_database_connections", "service" => service, "state" => state)
            .set(count as f64);
    }
    let most = f64::from(pool.options().get_max_connections());
    metrics::gauge!("belay_database_connections_max", "service" => service).set(most);
}

/// A request in its span. The route is the template, not the path, and the query stays out: it may name a customer.
async fn traced(State(service): State<&'static str>, request: Request, next: Next) -> Response {
    let (trace, tracestate) = spans::of_headers(request.headers());
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let span = spans::http_server(service, request.method().as_str(), route, trace, tracestate);
    let response = next.run(request).instrument(span.clone()).await;
    spans::finished(&span, response.status().as_u16(), 500);
    response
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
