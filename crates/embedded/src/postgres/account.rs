//! Who runs the server: PostgreSQL refuses to run as root.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use nix::unistd::{Uid, User};
use tokio::process::Command;

use super::PostgresError;

/// Users that exist on most systems and own nothing of value, in order of preference.
const NAMES: [&str; 2] = ["postgres", "nobody"];

/// Who runs `initdb` and `postgres`.
#[derive(Debug, Clone)]
pub(super) enum Account {
    /// The user of this process, who is not root.
    Own,
    /// Another user, because this process is root.
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// Chooses the account for a data directory; existing data decides by its owner.
    pub(super) fn choose(cluster: &Path) -> Result<Self, PostgresError> {
        let owner = fs::metadata(cluster).ok().map(|metadata| metadata.uid());
        if !Uid::effective().is_root() {
            return match owner {
                Some(owner) if owner != Uid::effective().as_raw() => Err(PostgresError::OtherOwner {
                    directory: cluster.to_owned(),
                    owner,
                }),
                Some(_) | None => Ok(Self::Own),
            };
        }
        let by_owner = owner
            .filter(|owner| *owner != 0)
            .and_then(|owner| User::from_uid(Uid::from_raw(owner)).ok().flatten());
        by_owner
            .or_else(|| NAMES.iter().find_map(|name| User::from_name(name).ok().flatten()))
            .map(|user| Self::Other {
                name: user.name,
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            })
            .ok_or(PostgresError::NoAccount)
    }

    /// A command that runs as this account, in a directory that every account may enter.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir("/");
        match self {
            Self::Own => {}
            Self::Other { uid, gid, .. } => {
                // Leaves root's supplementary groups too.
                command.uid(*uid).gid(*gid);
            }
        }
        command
    }

    /// Hands a file over to this account.
    pub(super) fn own(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => chown(path, Some(*uid), Some(*gid)),
        }
    }

    /// The outermost part of the absolute `directory` that this account cannot enter. Tried out,
    /// not computed: groups, access lists and mounts all have a say.
    pub(super) async fn first_closed_parent(&self, directory: &Path) -> io::Result<Option<PathBuf>> {
        if self.can_enter(directory).await? {
            return Ok(None);
        }
        let outermost_first: Vec<&Path> = directory.ancestors().collect();
        for parent in outermost_first.into_iter().rev() {
            if !self.can_enter(parent).await? {
                return Ok(Some(parent.to_owned()));
            }
        }
        Ok(None)
    }

    async fn can_enter(&self, directory: &Path) -> io::Result<bool> {
        let status = self
            .command("/bin/sh")
            .args(["-c", r#"cd -- "$1""#, "sh"])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await?;
        Ok(status.success())
    }
}
