//! The body of every `main`.
//!
//! Besides running its service, every program checks its configuration (`--check-config`, [`check`]) and asks its running
//! self how it is (`probe`, [`probe`]), so that an image without a shell can do both.

pub mod check;
pub mod probe;

use std::io::Write;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Parser};
use mailbox::{capture::CaptureError, codec::RegistryError, kafka::token::TokenError};
use tokio_util::sync::CancellationToken;

use crate::{Running, database::DatabaseError, telemetry};

/// The flag that checks instead of starting.
const CHECK: &str = "check-config";

/// Reads the configuration, starts the service, and drains it at SIGINT or SIGTERM.
///
/// `C` holds a flattened [`ServiceConfig`](crate::ServiceConfig). With `--check-config` the settings are checked and listed, and
/// nothing is started; `probe` asks the running service.
///
/// # Errors
/// What kept the service from starting, or made it fail; a setting that cannot be used; a service that is not well.
pub async fn run<C, F>(start: impl FnOnce(C, CancellationToken) -> F) -> anyhow::Result<()>
where
    C: Parser,
    F: Future<Output = anyhow::Result<Running>>,
{
    run_checked(start, |_| Ok(())).await
}

/// Like [`run`], for a service with settings whose check is more than reading them, such as files that it opens. `check`
/// touches no network.
///
/// # Errors
/// Like [`run`], and what `check` says, with or without `--check-config`.
pub async fn run_checked<C, F>(
    start: impl FnOnce(C, CancellationToken) -> F,
    check: impl FnOnce(&C) -> anyhow::Result<()>,
) -> anyhow::Result<()>
where
    C: Parser,
    F: Future<Output = anyhow::Result<Running>>,
{
    let command = command::<C>();
    let matches = command.clone().get_matches();
    if let Some((_, asked)) = matches.subcommand() {
        // There is one subcommand.
        return probe::run(probe::Args::from_arg_matches(asked)?).await;
    }
    let config = match C::from_arg_matches(&matches) {
        Ok(config) => config,
        Err(error) => error.format(&mut command.clone()).exit(),
    };
    check(&config)?;
    if matches.get_flag(CHECK) {
        return say(&command, &matches);
    }
    let telemetry = telemetry::init(
        telemetry::LogFormat::Json,
        "info,librdkafka=off,rdkafka=off",
        telemetry::Export::from_environment(),
    )?;
    let shutdown = CancellationToken::new();
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        if stop_signal().await.is_ok() {
            signalled.cancel();
        }
    });
    let ended = match start(config, shutdown).await {
        Ok(mut running) => running.ended().await,
        Err(error) if was_stopped(&error) => Ok(()),
        Err(error) => Err(error),
    };
    telemetry.flush().await;
    ended
}

/// The command line of a service: its own settings, `--check-config` and `probe`.
#[must_use]
pub fn command<C: Parser>() -> Command {
    C::command()
        .arg(
            Arg::new(CHECK)
                .long(CHECK)
                .action(ArgAction::SetTrue)
                .help("Check all settings, list them without secrets, and start nothing"),
        )
        .subcommand(probe::command())
        // Whoever asks how the service is need not say how it is to run.
        .subcommand_negates_reqs(true)
}

fn say(command: &Command, matches: &ArgMatches) -> anyhow::Result<()> {
    let report = check::report(command, matches)
        .with_context(|| format!("{} cannot be started so", command.get_name()))?;
    std::io::stdout().lock().write_all(report.as_bytes())?;
    Ok(())
}

/// Whether a start ended because it was asked to while it waited for a part. That is no failure: the program ends with 0.
#[must_use]
pub fn was_stopped(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DatabaseError::Stopped))
        || matches!(error.downcast_ref(), Some(RegistryError::Stopped))
        || matches!(error.downcast_ref(), Some(CaptureError::Stopped))
        || matches!(error.downcast_ref(), Some(TokenError::Stopped))
}

/// Resolves at SIGINT or SIGTERM.
///
/// # Errors
/// When the process may not listen for signals.
pub async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Cancel-safe: receiving a signal has no state.
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServiceConfig;

    #[derive(Debug, Parser)]
    #[command(name = "sample")]
    struct Sample {
        #[command(flatten)]
        service: ServiceConfig,
    }

    #[test]
    fn a_probe_needs_no_settings_and_a_start_does() {
        let command = command::<Sample>();
        command.clone().debug_assert();
        let probe = command
            .clone()
            .try_get_matches_from(["sample", "probe", "--live"])
            .unwrap();
        let (name, asked) = probe.subcommand().unwrap();
        assert_eq!(name, "probe");
        let asked = probe::Args::from_arg_matches(asked).unwrap();
        assert!(asked.live && asked.http.port() == 8080);
        assert!(command.try_get_matches_from(["sample"]).is_err());
    }
}
