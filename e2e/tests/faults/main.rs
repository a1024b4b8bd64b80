//! Goal: whatever fails around the system or in it, no accepted purchase is lost and nothing is sold twice.
//! Method: PostgreSQL, an Apache Kafka and every service are processes of their own, customers buy at the GraphQL edge, and one
//! fault after the other happens to them. After each the load ends, the system settles, and everything is audited.
//!
//! ```text
//! make test-faults                          every fault, then the guards switched off one at a time
//! make test-faults ARGS="faults --only broker"
//! make test-faults ARGS="guards"
//! make test-faults ARGS="endurance --purchases 10000"
//! ```
//!
//! The services are this program again, under the name of the service ([`serve`]): one program to link instead of seven, and
//! the same `host::program::run` as in theirs.
//!
//! | module | job |
//! |---|---|
//! | [`serve`] | this program as a service |
//! | [`stage`] | PostgreSQL, Kafka and the wires to them |
//! | [`fleet`] | the services' processes |
//! | [`traffic`] | customers |
//! | [`check`] | settling, the audit, and what the audit cannot see |
//! | [`ledger`] | whether everything that was committed was sent |
//! | [`world`] | all of it together |
//! | [`conditions`] | what a fault waits for |
//! | [`catalogue`] | the faults |
//! | [`kills`], [`halts`], [`outages`], [`messages`] | how each of them is done |
//! | [`guards`] | inbox, barrier, row lock and delete rule, switched off one at a time |
//! | [`endurance`] | thousands of purchases, a service killed every few seconds |
//! | [`report`] | the tables |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "the tables are what this program is for")]

mod catalogue;
mod check;
mod conditions;
mod endurance;
mod fleet;
mod guards;
mod halts;
mod kills;
mod ledger;
mod messages;
mod outages;
mod report;
mod serve;
mod stage;
mod traffic;
mod world;

use std::process::ExitCode;

use clap::Parser;

/// What to run.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Arguments {
    /// Decides which service, when and how often: the same seed makes the same choices.
    #[arg(long, default_value_t = 1, global = true)]
    seed: u64,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every fault, or those whose names contain a word.
    Faults {
        /// A part of a fault's name; may be repeated.
        #[arg(long)]
        only: Vec<String>,
    },
    /// Every guard of the system, switched off one at a time.
    Guards,
    /// Thousands of purchases, a service killed every few seconds.
    Endurance(endurance::Endurance),
}

fn main() -> ExitCode {
    if let Some(ended) = serve::as_service() {
        return ended;
    }
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let good: anyhow::Result<bool> = runtime.block_on(async {
        match arguments.what {
            None => {
                let survived = Box::pin(catalogue::run(arguments.seed, &[])).await?;
                Ok(Box::pin(guards::run(arguments.seed, false)).await? && survived)
            }
            Some(What::Guards) => Box::pin(guards::run(arguments.seed, true)).await,
            Some(What::Endurance(asked)) => Box::pin(endurance::run(arguments.seed, &asked)).await,
            Some(What::Faults { only }) => Box::pin(catalogue::run(arguments.seed, &only)).await,
        }
    });
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the suite could not go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}
