//! Runs schedules, or one again: `cargo run --release -p simulation -- --schedules 1000000`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use simulation::{
    Mutation, Scenario, Simulation, Violation,
    sagas::{broken, flight::Flight, journey::Journey, purchase::Purchase},
};

/// Simulates sagas under every fault, and tells the first schedule that breaks a rule.
#[derive(Debug, Parser)]
struct Arguments {
    /// The saga; without one, the sound ones share the schedules.
    #[arg(long)]
    saga: Option<Saga>,
    /// The seed of the first schedule. Alone, it runs and tells that schedule.
    #[arg(long)]
    seed: Option<u64>,
    /// How many schedules, each with the next seed. 100,000 where no seed is given.
    #[arg(long, env = "BELAY_SCHEDULES")]
    schedules: Option<u64>,
    /// Plays one schedule by its choices, as a failure prints them where it has no seed.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["seed", "schedules"])]
    choices: Option<Vec<u32>>,
    /// Runs every schedule with at most so many departures from the fair one, instead of random ones.
    #[arg(long, conflicts_with_all = ["seed", "schedules", "choices"])]
    departures: Option<u32>,
    /// Departures follow one another within so many moves.
    #[arg(long, default_value_t = usize::MAX, requires = "departures")]
    apart: usize,
    /// Switches a part off: the rules must notice.
    #[arg(long, value_parser = mutation)]
    without: Option<Mutation>,
    /// Prints how often each thing happened to each step.
    #[arg(long)]
    coverage: bool,
}

/// What can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Saga {
    Purchase,
    Flight,
    Journey,
    Smallest,
    CopiedRollback,
    SwallowedRefusal,
    DriftingCommand,
}

fn mutation(name: &str) -> Result<Mutation, String> {
    let names = Mutation::ALL.map(Mutation::name).join(", ");
    let known = Mutation::ALL.into_iter().find(|its| its.name() == name);
    known.ok_or_else(|| format!("it is one of {names}"))
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let sagas = match arguments.saga {
        Some(saga) => vec![saga],
        None => vec![Saga::Purchase, Saga::Flight, Saga::Journey],
    };
    let mut out = io::stdout().lock();
    let (share, mut first) = (u64::try_from(sagas.len())?, true);
    for saga in sagas {
        let share = Share {
            of: share,
            takes_the_rest: std::mem::take(&mut first),
        };
        let failed = match saga {
            Saga::Purchase => simulate(&Purchase::new()?, &arguments, share, &mut out)?,
            Saga::Flight => simulate(&Flight::new()?, &arguments, share, &mut out)?,
            Saga::Journey => simulate(&Journey::new()?, &arguments, share, &mut out)?,
            Saga::Smallest => simulate(&Journey::smallest()?, &arguments, share, &mut out)?,
            Saga::CopiedRollback => simulate(&broken::copied_rollback()?, &arguments, share, &mut out)?,
            Saga::SwallowedRefusal => simulate(&broken::swallowed_refusal()?, &arguments, share, &mut out)?,
            Saga::DriftingCommand => simulate(&broken::drifting_command()?, &arguments, share, &mut out)?,
        };
        if let Some(violation) = failed {
            writeln!(out, "{violation}")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A saga's part of the schedules.
#[derive(Debug, Clone, Copy)]
struct Share {
    of: u64,
    takes_the_rest: bool,
}

fn simulate<S: Scenario>(
    scenario: &S,
    arguments: &Arguments,
    share: Share,
    out: &mut impl Write,
) -> anyhow::Result<Option<Box<Violation>>> {
    let mut simulation = Simulation::new(scenario).without(arguments.without);
    let name = scenario.name();
    if let Some(choices) = &arguments.choices {
        return Ok(tell(simulation.play(choices), out)?);
    }
    if let (Some(seed), None) = (arguments.seed, arguments.schedules) {
        return Ok(tell(simulation.tell(seed), out)?);
    }
    let result = match arguments.departures {
        Some(departures) => simulation.explore(departures, arguments.apart),
        None => {
            let all = arguments.schedules.unwrap_or(100_000);
            let rest = if share.takes_the_rest { all % share.of } else { 0 };
            simulation.run(arguments.seed.unwrap_or(1), all / share.of + rest)
        }
    };
    let (schedules, moves) = (simulation.schedules(), simulation.moves());
    writeln!(
        out,
        "{name}: {schedules} schedules of {} moves on average",
        moves / schedules.max(1)
    )
    .context("the figures cannot be printed")?;
    if arguments.coverage {
        writeln!(out, "{}", simulation.coverage())?;
    }
    Ok(result.err())
}

/// Prints the script of a schedule that breaks no rule; gives the violation of one that does.
fn tell(
    played: Result<Vec<String>, Box<Violation>>,
    out: &mut impl Write,
) -> io::Result<Option<Box<Violation>>> {
    match played {
        Ok(script) => {
            for line in script {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "\nNo rule is broken.")?;
            Ok(None)
        }
        Err(violation) => Ok(Some(violation)),
    }
}
