//! The directory of a running part, and where its log is.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context;
use tempfile::TempDir;

use crate::environment;

/// A directory that ends with the part.
#[derive(Debug)]
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    /// Makes one.
    ///
    /// # Errors
    /// When the temporary directory cannot be written.
    pub fn create(part: &str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("belay-{part}-"))
            .tempdir()
            .context("a temporary directory cannot be made")?;
        Ok(Self { directory })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A new log file: in the directory that [`environment::LOGS`] names, where it stays, or else here.
    ///
    /// # Errors
    /// When that directory cannot be made.
    pub fn log(&self, part: &str) -> anyhow::Result<PathBuf> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Some(logs) = std::env::var_os(environment::LOGS) else {
            return Ok(self.path().join(format!("{part}.log")));
        };
        let logs = PathBuf::from(logs);
        std::fs::create_dir_all(&logs).with_context(|| format!("{} cannot be made", logs.display()))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(logs.join(format!("{part}-{}-{number}.log", std::process::id())))
    }

    /// Writes a file of the part's.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}
