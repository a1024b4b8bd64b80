//! The program `belay`.

use std::{io::Write, process::ExitCode};

use belay::{audit, doctor, identity, load, operate, provision, token, topics, up};
use clap::Parser;

/// A purchase backend that never loses an order and never sells the last unit twice.
#[derive(Debug, Parser)]
#[command(name = "belay", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    // Boxed: they have by far the most options.
    Up(Box<up::Args>),
    Topics(Box<topics::Args>),
    Provision(provision::command::Args),
    Token(token::Args),
    Identity(identity::Args),
    Audit(audit::Args),
    Parked(operate::parked::Args),
    Saga(operate::saga::Args),
    Load(load::Args),
    Doctor(doctor::Args),
    /// Asks the continuous audit of this machine whether it is ready, and exits with 0 if it is.
    Probe(host::program::probe::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let program = Program::parse();
    let export = match &program.command {
        Command::Up(args) => args.export(),
        Command::Topics(_)
        | Command::Provision(_)
        | Command::Token(_)
        | Command::Identity(_)
        | Command::Audit(_)
        | Command::Parked(_)
        | Command::Saga(_)
        | Command::Load(_)
        | Command::Doctor(_)
        | Command::Probe(_) => None,
    };
    // What runs for ever is read by programs.
    let (format, filter) = match &program.command {
        Command::Audit(args) if args.watch => (host::telemetry::LogFormat::Json, "info"),
        _ => (
            host::telemetry::LogFormat::Text,
            "warn,librdkafka=off,rdkafka=off",
        ),
    };
    let started = host::telemetry::init(format, filter, export);
    let telemetry = match started {
        Ok(telemetry) => telemetry,
        Err(error) => {
            // There is no log yet.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let result = match program.command {
        Command::Up(args) => up::run(*args).await,
        Command::Topics(args) => topics::run(*args).await,
        Command::Provision(args) => provision::command::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Identity(args) => identity::run(&args),
        Command::Audit(args) => audit::run(args).await,
        Command::Parked(args) => operate::parked::run(args).await,
        Command::Saga(args) => operate::saga::run(args).await,
        Command::Load(args) => load::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Probe(args) => host::program::probe::run(args).await.map(|()| ExitCode::SUCCESS),
    };
    telemetry.flush().await;
    match result {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
