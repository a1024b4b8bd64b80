//! A directory in the mail server's place: one `.eml` file for each mail, which any mail program opens.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;
use uuid::Uuid;

use crate::domain::Tried;

/// The directory. Its files are their owner's alone: there are addresses in them.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory, made where it does not exist.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("the mail directory {} cannot be made", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Writes a mail whole or not at all. The same mail again takes the same place.
    pub async fn write(&self, id: Uuid, mail: &[u8]) -> Tried {
        let file = self.path.join(format!("{id}.eml"));
        let partial = file.with_extension("partial");
        let written = async {
            tokio::fs::write(&partial, mail).await?;
            tokio::fs::set_permissions(&partial, fs::Permissions::from_mode(0o600)).await?;
            tokio::fs::rename(&partial, &file).await
        };
        match written.await {
            Ok(()) => Tried::Sent,
            Err(error) => Tried::Later(format!("the mail directory cannot be written: {error}")),
        }
    }
}
