//! Parts that are given are looked at before anything is started on them.

use std::time::Duration;

use anyhow::Context;
use mailbox::codec::RegistrySettings;
use reqwest::StatusCode;

/// How long a part that is given may take to answer at the start.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A service waits for a registry that is away. Whoever starts a system by hand wants to know at once.
pub(super) async fn registry(registry: &RegistrySettings) -> anyhow::Result<()> {
    let subjects = format!("{}/subjects", registry.url.trim_end_matches('/'));
    let request = registry
        .logged_in(registry.client()?.get(subjects))
        .timeout(LIMIT);
    let shown = registry.shown();
    let answer = request.send().await.with_context(|| {
        format!("the schema registry at {shown} does not answer: start it, or leave --registry out for the embedded one")
    })?;
    // Whoever may not list the subjects may still register schemas.
    anyhow::ensure!(
        answer.status().is_success() || answer.status() == StatusCode::FORBIDDEN,
        "the schema registry at {shown} answers {}: mend --registry, --registry-user and its password, or leave --registry out for \
         the embedded one",
        answer.status()
    );
    Ok(())
}
