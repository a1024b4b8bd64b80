//! The process between Belay and the server, which stops the server when Belay is gone.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin},
    time::timeout,
};

use super::account::Account;

/// How long a fast shutdown may take before the immediate one, and that before the kill.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Runs its arguments as the server and stops it when standard input ends.
///
/// A signal handler in Belay could not do this: nothing runs in a process that is killed with
/// SIGKILL, but its end of the pipe is closed all the same. The shell waits for the server, a
/// second one for the pipe, so that either end is noticed at once. An order on the pipe makes the
/// server shut down fast or immediately; the end of the pipe makes the second shell repeat the fast
/// signal, because a server that is just starting does not listen to it yet, and turn to the
/// immediate one after ten seconds.
const SCRIPT: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(
    while read -r order <&3; do
        case "$order" in
            fast) kill -INT "$server" ;;
            immediate) kill -QUIT "$server" ;;
        esac
    done
    tries=0
    signal=INT
    while kill -"$signal" "$server"; do
        sleep 1
        tries=$((tries + 1))
        if [ "$tries" -ge 10 ]; then signal=QUIT; fi
    done
) 2>/dev/null &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$status"
"#;

/// A guarded server. Dropping it, or the end of this process for whatever reason, makes the guard
/// shut the server down.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
    orders: Option<ChildStdin>,
    group: Pid,
}

impl Guard {
    /// Starts `program` under a guard, both in a process group of their own so that a terminal's
    /// Ctrl-C reaches Belay alone, which then stops the server last.
    pub(super) fn spawn(
        account: &Account,
        program: &Path,
        arguments: &[OsString],
        log: File,
    ) -> io::Result<Self> {
        let mut shell = account
            .command("/bin/sh")
            .args(["-c", SCRIPT, "belay-postgres-guard"])
            .arg(program)
            .args(arguments)
            .env_remove("PGDATA")
            .env_remove("PGOPTIONS")
            .stdin(Stdio::piped())
            .stderr(log.try_clone()?)
            .stdout(log)
            .process_group(0)
            .spawn()?;
        let orders = shell.stdin.take();
        let pid = shell.id().and_then(|id| i32::try_from(id).ok());
        let group = pid.ok_or_else(|| io::Error::other("the guard ended at once"))?;
        Ok(Self {
            shell,
            orders,
            group: Pid::from_raw(group),
        })
    }

    /// Waits until the server has ended. Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.shell.wait().await
    }

    /// Stops the server: fast, after [`STOP_LIMIT`] immediately, after the same again by SIGKILL.
    pub(super) async fn stop(mut self) {
        for order in ["fast\n", "immediate\n"] {
            if let Some(orders) = &mut self.orders {
                // A guard that has ended cannot be written to, and needs no order.
                let _ = orders.write_all(order.as_bytes()).await;
            }
            if timeout(STOP_LIMIT, self.shell.wait()).await.is_ok() {
                return;
            }
            tracing::warn!(order = order.trim(), "PostgreSQL does not stop");
        }
        if let Err(error) = killpg(self.group, Signal::SIGKILL) {
            tracing::warn!(%error, "PostgreSQL cannot be killed");
        }
    }
}
