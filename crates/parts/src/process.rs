//! A part as a child process, under a guard that ends it when this process is gone.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin, Command},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::home::Home;

/// How long a part may take to end in good order. Kafka writes its log out, which takes a second or two.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks whether a part is ready.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How much of a log an error shows.
const LAST_LINES: usize = 12;

/// Runs its arguments after the first as the part. The first is the part's directory.
///
/// Standard input brings signals to send, by name. Its end is the end of the process that started the part, which could do
/// nothing about that itself when it was killed: the part is then killed, and its directory removed.
const GUARD: &str = r#"
directory=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
part=$!
(
    while read -r signal <&3; do kill -"$signal" "$part"; done
    trap '' TERM
    kill -KILL "$part"
    while kill -0 "$part"; do sleep 0.05; done
    rm -rf -- "$directory"
) 2>/dev/null >&2 &
watcher=$!
exec 3<&-
wait "$part"
status=$?
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$status"
"#;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The part's name, for its log and for errors.
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(&'static str, String)>,
}

/// A running part.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    guard: Child,
    signals: Option<ChildStdin>,
    group: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts the part in its directory.
    ///
    /// # Errors
    /// When its log cannot be written or the program not run.
    pub fn spawn(launch: &Launch, home: &Home) -> anyhow::Result<Self> {
        let log = home.log(launch.name)?;
        let file = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let mut guard = Command::new("/bin/sh");
        guard
            .args(["-c", GUARD, "belay-part-guard"])
            .arg(home.path())
            .arg(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (*name, value)))
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stderr(file.try_clone()?)
            .stdout(file)
            // A terminal's Ctrl-C is for the process that started it, which then stops its parts.
            .process_group(0);
        let mut guard = guard
            .spawn()
            .with_context(|| format!("{} cannot be run", launch.program.display()))?;
        let signals = guard.stdin.take();
        let pid = guard.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            name: launch.name,
            signals,
            group: Pid::from_raw(pid.context("the guard of a part ended at once")?),
            guard,
            log,
        })
    }

    /// Waits until `ready` finds that the part answers.
    ///
    /// # Errors
    /// When the part ends, or does not answer within `limit`; with the last lines of its log.
    pub async fn ready<T>(
        &mut self,
        limit: Duration,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let name = self.name;
        let found = async {
            let mut tick = interval(LOOK_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                if let Some(found) = look().await {
                    return found;
                }
            }
        };
        let why = tokio::select! {
            // Both arms only wait and ask; either may be dropped at any point.
            biased;
            status = self.guard.wait() => format!("{name} ended while it started ({})", status?),
            found = timeout(limit, found) => match found {
                Ok(found) => return Ok(found),
                Err(_) => format!("{name} did not answer within {} s", limit.as_secs()),
            },
        };
        anyhow::bail!(
            "{why}. The end of {}:\n{}",
            self.log.display(),
            last_lines(&self.log)
        );
    }

    /// Ends the part in good order, after 10 s by force, and waits until it is gone.
    pub async fn stop(&mut self) {
        self.signal("TERM").await;
        if timeout(STOP_LIMIT, self.guard.wait()).await.is_err() {
            tracing::warn!(part = self.name, "does not stop and is killed");
            self.kill().await;
        }
    }

    /// Ends the part at once, as a power cut would, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.signal("KILL").await;
        if timeout(STOP_LIMIT, self.guard.wait()).await.is_err()
            && let Err(error) = killpg(self.group, Signal::SIGKILL)
        {
            tracing::warn!(part = self.name, %error, "cannot be killed");
        }
    }

    /// Where the part writes what it has to say.
    pub fn log(&self) -> &Path {
        &self.log
    }

    async fn signal(&mut self, name: &str) {
        if let Some(signals) = &mut self.signals {
            // A guard that has ended cannot be written to, and has nothing left to end.
            let _ = signals.write_all(format!("{name}\n").as_bytes()).await;
        }
    }
}

/// The end of a log, for an error.
pub(crate) fn last_lines(log: &Path) -> String {
    match fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
        }
        Err(error) => format!("(cannot be read: {error})"),
    }
}

/// Ports of 127.0.0.1 that were free a moment ago, all different.
///
/// # Errors
/// When there are none.
pub(crate) fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let listeners: Vec<std::net::TcpListener> = (0..N)
        .map(|_| std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
