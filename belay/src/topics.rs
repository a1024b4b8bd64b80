//! `belay topics`: makes the topics of a broker as the repository declares them (`contracts::topics`), says where they
//! differ, and prints the rights that each service needs.
//!
//! | file | job |
//! |---|---|
//! | `topics/plan.rs` | from what is declared and what is there to what is to be done: pure |
//! | `topics/cluster.rs` | asks and tells the broker |
//! | `topics/acls.rs` | rights per service, from `contracts::traffic` |

pub mod acls;
pub mod cluster;
pub mod plan;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use host::kafka::KafkaArgs;
use mailbox::KafkaSettings;
use serde_json::{Value, json};

use crate::{
    output,
    topics::{
        cluster::Cluster,
        plan::{Action, Declared, plan},
    },
};

/// The exit code when it could not be found out whether the topics are as declared.
const COULD_NOT_RUN: u8 = 2;
/// How long the token issuer and the broker may take to answer at first.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Makes and checks Kafka's topics, and prints the rights that the services need.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Creates what is missing and alters what differs. When anything is refused, nothing is changed.
    Apply(Apply),
    /// Says where the broker differs: exit code 0 when nowhere, 1 when somewhere, 2 when it cannot be found out.
    Check(Check),
    /// Prints the rights that each service needs.
    Acls(acls::Args),
}

/// Options of `belay topics apply`.
#[derive(Debug, clap::Args)]
struct Apply {
    #[command(flatten)]
    broker: Broker,
    /// Says what would be done, and does nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Options of `belay topics check`.
#[derive(Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    broker: Broker,
}

#[derive(Debug, clap::Args)]
struct Broker {
    /// Kafka's bootstrap servers: host:port[,host:port]
    #[arg(long, env = "BELAY_KAFKA")]
    kafka: String,
    #[command(flatten)]
    connection: KafkaArgs,
    /// Copies of each partition, in place of the declared 3: 1 for a single broker. Other topics than new ones are only
    /// compared with it.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=32))]
    replication_factor: Option<i32>,
    /// Prints JSON, alone on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the broker cannot be asked or refuses; of `check`, only when standard output cannot be written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Apply(args) => apply(&args).await,
        Command::Check(args) => match check(&args).await {
            Ok(code) => Ok(code),
            Err(error) => {
                output::note(&format!("the topics could not be checked: {error:#}"));
                Ok(ExitCode::from(COULD_NOT_RUN))
            }
        },
        Command::Acls(args) => acls::run(&args),
    }
}

impl Broker {
    async fn cluster(&self) -> anyhow::Result<Cluster> {
        let settings = self.connection.settings(&self.kafka, 500)?;
        Cluster::connect(settings, ANSWER_LIMIT).await
    }

    fn declared(&self) -> Vec<Declared> {
        plan::declared(|declared| self.replication_factor.unwrap_or(declared))
    }
}

async fn apply(args: &Apply) -> anyhow::Result<ExitCode> {
    let cluster = args.broker.cluster().await?;
    let declared = args.broker.declared();
    let actions = plan(&declared, &cluster.read(&declared).await?);
    let refused = actions.iter().any(Action::is_refusal);
    if refused || args.dry_run || actions.is_empty() {
        let tense = if refused {
            "nothing was changed"
        } else {
            "would be done"
        };
        output::result(&report(&actions, args.broker.json, tense))?;
        return Ok(exit_code(!refused));
    }
    for action in &actions {
        cluster.carry_out(action).await?;
        // As it happens: when the next one fails, it can be seen how far it went.
        output::note(&action.name_and_topic());
    }
    cluster.wait_until(&declared).await?;
    output::result(&report(&actions, args.broker.json, "done"))?;
    Ok(ExitCode::SUCCESS)
}

async fn check(args: &Check) -> anyhow::Result<ExitCode> {
    let cluster = args.broker.cluster().await?;
    let declared = args.broker.declared();
    let actions = plan(&declared, &cluster.read(&declared).await?);
    output::result(&report(&actions, args.broker.json, "differs"))?;
    Ok(exit_code(actions.is_empty()))
}

fn exit_code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn report(actions: &[Action], as_json: bool, tense: &str) -> String {
    if as_json {
        let actions: Vec<Value> = actions.iter().map(Action::json).collect();
        let state = if actions.is_empty() { "as declared" } else { tense };
        return json!({ "state": state, "actions": actions }).to_string();
    }
    if actions.is_empty() {
        return "every topic is as declared".to_owned();
    }
    let rows: Vec<[String; 3]> = actions.iter().map(Action::row).collect();
    format!("{}\n\n{tense}", output::table(["TOPIC", "ACTION", "WHAT"], &rows))
}

/// For `belay up` on a broker that is given: creates the topics that are missing, says so, and points at what differs.
///
/// Whoever starts everything with one command on a laptop wants it to run; nothing that is there is altered. New topics get
/// as many copies as there are brokers, three at most.
///
/// # Errors
/// When the broker does not answer, or will not create a topic.
pub async fn prepare(settings: KafkaSettings, limit: Duration) -> anyhow::Result<()> {
    let bootstrap = settings.bootstrap.clone();
    let cluster = Cluster::connect(settings, limit).await.with_context(|| {
        format!(
            "Kafka at {bootstrap} does not answer or does not let us in: start it, mend --kafka-…, or leave --kafka out for the embedded broker"
        )
    })?;
    let present = cluster.topics().await?;
    let brokers = cluster.brokers().await?;
    let missing: Vec<Declared> = plan::declared(|declared| declared.min(brokers))
        .into_iter()
        .filter(|declared| !present.contains_key(declared.name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|declared| declared.name).collect();
    for action in plan(&missing, &std::collections::BTreeMap::new()) {
        cluster.carry_out(&action).await.with_context(|| {
            format!("topics are missing and cannot be created here: run `belay topics apply --kafka {bootstrap}` with a user that may")
        })?;
    }
    cluster.wait_until_present(&names).await?;
    output::note(&format!(
        "created on {bootstrap}, where they were missing, as `belay topics apply` does: {}",
        names.join(", ")
    ));
    Ok(())
}
