//! Where a part's programs are: `parts/fetch` knows, and fetches what is missing.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, ensure};
use tokio::process::Command;

const FETCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../parts/fetch");

/// The directory of a part, fetched if need be.
///
/// # Errors
/// What `parts/fetch` says: what is missing on this machine, or why the part cannot be had.
pub(crate) async fn of(part: &str) -> anyhow::Result<PathBuf> {
    let output = Command::new(FETCH)
        .arg(part)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{FETCH} cannot be run"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim());
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
