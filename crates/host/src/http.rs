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
use mailbox::limit::STATEMENT_LIMIT;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::Instrument;

/// How long a readiness probe waits for the database.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest that a request may take until its answer begins. Within it falls whatever a request waits for: a connection, a
/// lock, another service. What is beyond has most likely met a connection that fell silent.
const REQUEST_LIMIT: Duration = STATEMENT_LIMIT;

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
        let traced =
            limited(routes, REQUEST_LIMIT).layer(axum::middleware::from_fn_with_state(service, traced));
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

/// Has the routes answer 503 when their own answer has not begun within `limit`. What they were doing is dropped: a transaction
/// that was not committed is rolled back, and whether one was is for the caller's idempotency key to find out.
///
/// Tests: `a_request_that_is_not_answered_in_time_is_given_up` and
/// `a_request_to_a_silent_database_is_given_up_and_the_next_one_answered`.
pub fn limited(routes: Router, limit: Duration) -> Router {
    routes.layer(axum::middleware::from_fn(
        move |request: Request, next: Next| async move {
            match tokio::time::timeout(limit, next.run(request)).await {
                Ok(response) => response,
                Err(_) => {
                    tracing::warn!("a request was not answered within {limit:?} and is given up");
                    (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment\n").into_response()
                }
            }
        },
    ))
}

/// The same with the limit that every service has.
pub(crate) fn limited_as_usual(routes: Router) -> Router {
    limited(routes, REQUEST_LIMIT)
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

/// Serves `/healthz`, `/readyz` and `/metrics` alone until `shutdown`: for a program that is asked for nothing else.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(
    listener: TcpListener,
    is_ready: Arc<AtomicBool>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let ready = async |is_ready: Arc<AtomicBool>| match is_ready.load(Ordering::Acquire) {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(move || ready(is_ready.clone())))
        .route("/metrics", get(|| metrics(State(Front::default()))));
    axum::serve(listener, router)
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

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use axum::body::Body;
    use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
    use testkit::{Database, Proxy, eventually};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn get_root(routes: &Router) -> StatusCode {
        let request = Request::get("/").body(Body::empty()).unwrap();
        routes.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_answered_in_time_is_given_up() {
        let never = Router::new().route("/", get(std::future::pending::<()>));
        let before = tokio::time::Instant::now();
        assert_eq!(
            get_root(&limited_as_usual(never)).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(before.elapsed(), REQUEST_LIMIT);
        let at_once = Router::new().route("/", get(|| async { "here" }));
        assert_eq!(get_root(&limited_as_usual(at_once)).await, StatusCode::OK);
    }

    /// Goal: a database's end that vanishes in the middle of a request costs this request, and its place in the pool comes back.
    /// Method: a pool of one connection through a proxy that falls silent while the request waits for a lock.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_request_to_a_silent_database_is_given_up_and_the_next_one_answered() {
        let database = Database::empty("orders").await;
        let options: PgConnectOptions = database.url().parse().unwrap();
        let server = (options.get_host(), options.get_port())
            .to_socket_addrs()
            .unwrap()
            .next()
            .unwrap();
        let proxy = Proxy::start(server).await;
        let through = options
            .host(&proxy.address().ip().to_string())
            .port(proxy.address().port());
        let none = sqlx::migrate::Migrator::with_migrations(Vec::new());
        let url = through.to_url_lossy().to_string();
        let pool = crate::database::open(&url, "orders", 1, &none, &CancellationToken::new())
            .await
            .unwrap();
        let waits = async |State(pool): State<PgPool>| {
            #[expect(clippy::disallowed_methods, reason = "a test's own statement")]
            let locked = sqlx::query("select pg_advisory_xact_lock(1)")
                .execute(&pool)
                .await;
            locked
                .map(|_| "locked")
                .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
        };
        let routes = limited(
            Router::new().route("/", get(waits)).with_state(pool),
            Duration::from_millis(500),
        );
        assert_eq!(get_root(&routes).await, StatusCode::OK);

        let mut holder = PgConnection::connect(&database.admin_url()).await.unwrap();
        execute(&mut holder, "select pg_advisory_lock(1)").await;
        let asking = tokio::spawn({
            let routes = routes.clone();
            async move { get_root(&routes).await }
        });
        eventually("the request waits for the lock", LIMIT, async || {
            let waiting = "select 1 from pg_locks where locktype = 'advisory' and not granted
                           and database = (select oid from pg_database where datname = current_database())";
            (execute(&mut holder, waiting).await > 0).then_some(())
        })
        .await;
        let frozen = proxy.freeze();
        assert_eq!(asking.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
        execute(&mut holder, "select pg_advisory_unlock_all()").await;
        eventually("the next request is answered", LIMIT, async || {
            (get_root(&routes).await == StatusCode::OK).then_some(())
        })
        .await;
        frozen.cut();
    }

    async fn execute(connection: &mut PgConnection, statement: &'static str) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "a test's own statements")]
        let done = sqlx::query(statement).execute(connection).await;
        done.unwrap().rows_affected()
    }
}
