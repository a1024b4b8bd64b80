//! The file in which PostgreSQL notes the process that serves a data directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

pub(super) fn pid_file(cluster: &Path) -> PathBuf {
    cluster.join("postmaster.pid")
}

/// Whom PostgreSQL's own file names as the server on these files.
pub(super) enum Named {
    /// There is no file, or its process is gone: PostgreSQL deals with that.
    Nobody,
    Server(i32),
    /// Process numbers are used again, in containers nearly always.
    AnotherProgram,
}

impl Named {
    /// Reads the file and looks at the process.
    pub(super) fn in_pid_file(cluster: &Path) -> Self {
        let content = fs::read_to_string(pid_file(cluster)).unwrap_or_default();
        let pid = content
            .lines()
            .next()
            .and_then(|line| line.trim().parse::<i32>().ok());
        let Some(pid) = pid.filter(|pid| *pid > 0) else {
            return Self::Nobody;
        };
        if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            return Self::Nobody;
        }
        match command_line(pid) {
            Some(line) if !contains(&line, cluster.as_os_str().as_encoded_bytes()) => Self::AnotherProgram,
            // What cannot be read may be a server.
            Some(_) | None => Self::Server(pid),
        }
    }
}

fn command_line(pid: i32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cmdline")).ok().or_else(|| {
        let output = Command::new("ps")
            .args(["-o", "args=", "-p", &pid.to_string()])
            .output()
            .ok()?;
        Some(output.stdout)
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
