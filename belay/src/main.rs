//! The program `belay`.

use std::process::ExitCode;

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
    Up(belay::up::Up),
}

#[tokio::main]
async fn main() -> ExitCode {
    let program = Program::parse();
    host::telemetry::init(host::telemetry::LogFormat::Text, "warn");
    let result = match program.command {
        Command::Up(up) => up.run().await,
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
