//! Asking a part over HTTP.

use std::time::Duration;

use serde_json::Value;

/// How long one answer may take while a part starts.
const LIMIT: Duration = Duration::from_secs(5);

/// A client for parts on this machine.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(LIMIT)
        .no_proxy()
        .build()
        .expect("a client without files or proxies can always be made")
}

/// The JSON at an address, if it answers so.
pub(crate) async fn json(client: &reqwest::Client, url: &str) -> Option<Value> {
    let answer = client.get(url).send().await.ok()?;
    answer.error_for_status().ok()?.json().await.ok()
}
