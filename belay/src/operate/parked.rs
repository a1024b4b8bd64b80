//! `belay parked`: messages that wait for an operator.

use std::process::ExitCode;

use anyhow::bail;
use contracts::parked::{ParkedMessage, ParkedPage, SettleParked, Settled, SettledOutcome, SettledParked};
use uuid::Uuid;

use super::{Deed, Place, Services, time};
use crate::output;

/// Shows the messages that wait for an operator, and settles them (docs/operations.md).
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists parked messages, newest first.
    List(List),
    /// Shows one with its content, its headers, and who did what about it.
    Show(Show),
    /// Has them handled again, each with all that waits for it, first come first.
    Replay(Settle),
    /// Has them never handled. What merely waited for them is handled.
    Discard(Settle),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Of this service alone; of all of them when it is not given.
    #[arg(long)]
    service: Option<String>,
    /// Of this consumer group alone, or `relay`.
    #[arg(long)]
    consumer: Option<String>,
    /// From this topic alone.
    #[arg(long)]
    topic: Option<String>,
    /// With this class of error alone.
    #[arg(long)]
    error_class: Option<String>,
    /// Also those that are settled.
    #[arg(long)]
    all: bool,
    /// Only those before this one of the same service, by its number: the next page.
    #[arg(long, value_name = "SEQ", requires = "service")]
    before: Option<i64>,
    /// At most so many of each service.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=contracts::http::MAX_PAGE))]
    limit: i64,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The parked message.
    id: Uuid,
    /// The service that holds it; all of them are asked when it is not given.
    #[arg(long)]
    service: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Settle {
    /// The parked messages.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Uuid>,
    /// The service that holds them; all of them are asked when it is not given.
    #[arg(long)]
    service: Option<String>,
    #[command(flatten)]
    deed: Deed,
}

/// Does what is asked.
///
/// # Errors
/// When no system runs, a service does not answer, or nothing is known of the messages.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let services = Services::open(&args.place)?;
    let json = args.place.json;
    match args.command {
        Command::List(list) => self::list(&services, &list, json).await,
        Command::Show(show) => self::show(&services, &show, json).await,
        Command::Replay(settle) => self::settle(&services, "/parked/replay", &settle, json).await,
        Command::Discard(settle) => self::settle(&services, "/parked/discard", &settle, json).await,
    }
}

fn chosen<'a>(services: &'a Services, one: Option<&'a str>) -> Vec<&'a str> {
    one.map_or_else(|| services.names().collect(), |one| vec![one])
}

async fn list(services: &Services, list: &List, json: bool) -> anyhow::Result<ExitCode> {
    let mut query = vec![("all", list.all.to_string()), ("limit", list.limit.to_string())];
    query.extend(list.consumer.clone().map(|it| ("consumer", it)));
    query.extend(list.topic.clone().map(|it| ("topic", it)));
    query.extend(list.error_class.clone().map(|it| ("error_class", it)));
    query.extend(list.before.map(|it| ("before", it.to_string())));
    let mut parked = Vec::new();
    for service in chosen(services, list.service.as_deref()) {
        let page: Option<ParkedPage> = services.read(service, "/parked", &query).await?;
        let Some(page) = page else {
            bail!("{service} keeps no parked messages");
        };
        if page.more {
            let last = page.parked.last().map_or(0, |message| message.seq);
            output::note(&format!(
                "{service} has more: --service {service} --before {last}"
            ));
        }
        parked.extend(page.parked);
    }
    if json {
        output::result(&serde_json::to_string_pretty(&parked)?)?;
    } else if parked.is_empty() {
        output::note("No message is parked.");
    } else {
        let rows: Vec<_> = parked.iter().map(row).collect();
        output::result(&output::table(
            [
                "PARKED", "SERVICE", "ID", "TOPIC", "KEY", "STATE", "TRIES", "ERROR",
            ],
            &rows,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(message: &ParkedMessage) -> [String; 8] {
    let error: String = message.error.chars().take(60).collect();
    [
        time(message.parked_at),
        message.service.clone(),
        message.id.to_string(),
        message.topic.clone(),
        message.key.clone().unwrap_or_default(),
        state(message).to_owned(),
        message.attempts.to_string(),
        error.replace('\n', " "),
    ]
}

fn state(message: &ParkedMessage) -> &str {
    match &message.resolution {
        Some(resolution) => resolution,
        None if message.replaying => "replaying",
        None => &message.cause,
    }
}

async fn show(services: &Services, show: &Show, json: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/parked/{}", show.id);
    for service in chosen(services, show.service.as_deref()) {
        let found: Option<ParkedMessage> = services.read(service, &path, &[]).await?;
        if let Some(message) = found {
            output::result(&if json {
                serde_json::to_string_pretty(&message)?
            } else {
                in_full(&message)?
            })?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    bail!("no service of this system has parked a message {}", show.id)
}

fn in_full(message: &ParkedMessage) -> anyhow::Result<String> {
    let place = match (message.partition, message.offset) {
        (Some(partition), Some(offset)) => {
            format!("{}, partition {partition}, offset {offset}", message.topic)
        }
        (_, _) => message.topic.clone(),
    };
    let mut rows = vec![
        ["id".to_owned(), message.id.to_string()],
        ["service".to_owned(), message.service.clone()],
        ["consumer".to_owned(), message.consumer.clone()],
        ["from".to_owned(), place],
        ["key".to_owned(), message.key.clone().unwrap_or_default()],
        [
            "type".to_owned(),
            message.message_type.clone().unwrap_or_default(),
        ],
        ["state".to_owned(), state(message).to_owned()],
        [
            "tries".to_owned(),
            format!("{}, the last at {}", message.attempts, time(message.failed_at)),
        ],
        [
            "error".to_owned(),
            format!("{}: {}", message.error_class, message.error),
        ],
    ];
    let content = message.content.as_ref();
    for action in content.into_iter().flat_map(|content| &content.actions) {
        let said = format!(
            "{} {} by {}: {}",
            time(action.at),
            action.action,
            action.actor,
            action.reason
        );
        rows.push(["action".to_owned(), said]);
    }
    let mut text = output::table(["PARKED", ""], &rows);
    if let Some(content) = content {
        text.push_str("\n\nheaders: ");
        text.push_str(&serde_json::to_string_pretty(&content.headers)?);
        match &content.message {
            Some(read) => {
                text.push_str("\nmessage: ");
                text.push_str(&serde_json::to_string_pretty(read)?);
            }
            None => text.push_str("\nmessage: its bytes cannot be read"),
        }
    }
    Ok(text)
}

async fn settle(services: &Services, path: &str, settle: &Settle, json: bool) -> anyhow::Result<ExitCode> {
    let request = SettleParked {
        idempotency_key: settle.deed.key(),
        ids: settle.ids.clone(),
        actor: settle.deed.actor.clone(),
        reason: settle.deed.reason.clone(),
    };
    let mut settled: Vec<Settled> = Vec::new();
    for service in chosen(services, settle.service.as_deref()) {
        let answer: SettledParked = services.write(service, path, &request.actor, &request).await?;
        let known = answer
            .settled
            .into_iter()
            .filter(|one| one.outcome != SettledOutcome::Unknown);
        settled.extend(known);
    }
    let unknown: Vec<Uuid> = settle
        .ids
        .iter()
        .copied()
        .filter(|id| settled.iter().all(|one| one.id != *id))
        .collect();
    let missing = !unknown.is_empty();
    settled.extend(unknown.into_iter().map(|id| Settled {
        id,
        outcome: SettledOutcome::Unknown,
    }));
    if json {
        output::result(&serde_json::to_string_pretty(&settled)?)?;
    } else {
        let rows: Vec<_> = settled
            .iter()
            .map(|one| [one.id.to_string(), in_words(one.outcome).to_owned()])
            .collect();
        output::result(&output::table(["ID", "OUTCOME"], &rows))?;
    }
    Ok(if missing {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn in_words(outcome: SettledOutcome) -> &'static str {
    match outcome {
        SettledOutcome::Replaying => "will be handled again, with what waits for it",
        SettledOutcome::Discarded => "discarded",
        SettledOutcome::AlreadyReplayed => "was replayed before: nothing was changed",
        SettledOutcome::AlreadyDiscarded => "was discarded before: nothing was changed",
        SettledOutcome::Unknown => "no service has parked it",
    }
}
