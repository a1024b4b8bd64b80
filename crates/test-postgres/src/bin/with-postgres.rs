//! `with-postgres COMMAND ARGS…` runs a command with a private PostgreSQL whose address is in `BELAY_TEST_POSTGRES`, ends
//! as the command ends, and leaves nothing behind. Where the variable is set already, the command is just run.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use test_postgres::{PrivateServer, VARIABLE};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

/// How long the command may take to end after a signal before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(status) => exit_code(status),
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a command line program says why it failed")]
            {
                eprintln!("with-postgres: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<ExitStatus> {
    let mut words = std::env::args_os().skip(1);
    let program = words
        .next()
        .context("say what to run: with-postgres COMMAND ARGS…")?;
    // Listening begins before the server does, so that a signal at any time leads through its end.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut command = Command::new(&program);
    command.args(words);
    let server = match std::env::var_os(VARIABLE) {
        Some(_) => None,
        None => {
            let server = PrivateServer::start().await?;
            command.env(VARIABLE, server.url());
            Some(server)
        }
    };
    let result = async {
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
        // Cancel-safe: waiting for a child and for a signal keep their state in the system.
        let signalled = tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
        };
        forward(&child, signalled);
        match tokio::time::timeout(PATIENCE, child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                child.kill().await?;
                Ok(child.wait().await?)
            }
        }
    }
    .await;
    if let Some(server) = server {
        server.stop().await;
    }
    result
}

/// A terminal's Ctrl-C has reached the command already; it bears a second one.
fn forward(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // A command that has just ended needs no signal.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// As a shell does it: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|number| 128 + number))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
