//! The PostgreSQL that the tests share.
//!
//! `make test` starts one server for all test programs by way of the program `with-postgres` (`crates/test-postgres`), which
//! tells them its address in [`VARIABLE`]. A test program that is started alone finds no such variable and starts a server
//! of its own, once, which ends with the process.

pub use test_postgres::{PrivateServer, VARIABLE};
use tokio::sync::OnceCell;

use crate::background;

/// The address of the shared server, started at the first call if [`VARIABLE`] names none.
///
/// # Panics
/// When it is needed and cannot be started.
pub async fn url() -> &'static str {
    static URL: OnceCell<String> = OnceCell::const_new();
    URL.get_or_init(|| async {
        if let Ok(url) = std::env::var(VARIABLE) {
            return url.trim_end_matches('/').to_owned();
        }
        background::run(async {
            let server = PrivateServer::start()
                .await
                .unwrap_or_else(|error| panic!("the tests need a PostgreSQL: {error:#}"));
            let url = server.url();
            // It ends with the process, by its guard and its reaper.
            std::mem::forget(server);
            url
        })
        .await
    })
    .await
}
