//! A page to try things out: plain, our own, and nothing on it from elsewhere.

use axum::{
    Router,
    http::{HeaderName, header},
    response::IntoResponse,
    routing::get,
};

/// The page may load its own script and style and talk to its own origin; nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page and what it is made of.
pub(crate) fn routes() -> Router {
    Router::new()
        .route(
            "/playground",
            get(|| async { page("text/html", include_str!("../../assets/playground.html")) }),
        )
        .route(
            "/playground/playground.js",
            get(|| async { page("text/javascript", include_str!("../../assets/playground.js")) }),
        )
        .route(
            "/playground/playground.css",
            get(|| async { page("text/css", include_str!("../../assets/playground.css")) }),
        )
}

fn page(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, String); 4] = [
        (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, text)
}
