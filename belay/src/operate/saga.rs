//! `belay saga`: purchases that wait for an operator.

use std::process::ExitCode;

use anyhow::{Context, bail};
use contracts::{
    http::Purchases,
    operator::{OperatorView, OperatorViews, ResolveOutcome, SagaActed, SagaAction, StuckPurchases},
    purchase_manager::PurchaseUpdated,
};
use serde::Serialize;
use uuid::Uuid;

use super::{Deed, Place, Services, time};
use crate::output;

const SERVICE: &str = "purchase-manager";

/// Shows purchases that wait for an operator, and acts on them (docs/operations.md).
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the purchases that wait for an operator, newest first. Ends with 1 when one has been forgotten.
    Stuck {
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=contracts::http::MAX_PAGE))]
        limit: i64,
    },
    /// Shows one with its steps, what can be done about it, and who did what.
    Show {
        /// The purchase.
        id: Uuid,
    },
    /// Sends what it waits for again, with a fresh budget.
    Retry(Act),
    /// Rolls everything back, the order included.
    Compensate(Act),
    /// Declares it ended, after things were put right by hand.
    Resolve {
        /// How it ends.
        #[arg(long, value_enum)]
        outcome: Outcome,
        #[command(flatten)]
        act: Act,
    },
}

/// The end that is declared.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Outcome {
    Completed,
    Cancelled,
}

#[derive(Debug, clap::Args)]
struct Act {
    /// The purchase.
    id: Uuid,
    /// The version that was looked at; the present one when it is not given.
    #[arg(long, value_name = "N")]
    expected_version: Option<i32>,
    /// Says what would happen, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    deed: Deed,
}

/// A purchase as `show` has it.
#[derive(Serialize)]
struct Shown {
    purchase: PurchaseUpdated,
    operator: OperatorView,
}

/// Does what is asked.
///
/// # Errors
/// When no system runs, purchase-manager does not answer, there is no such purchase, or the action is refused.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let services = Services::open(&args.place)?;
    let json = args.place.json;
    match args.command {
        Command::Stuck { limit } => stuck(&services, limit, json).await,
        Command::Show { id } => {
            let shown = look(&services, id).await?;
            let text = if json {
                serde_json::to_string_pretty(&shown)?
            } else {
                in_full(&shown)
            };
            output::result(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Retry(act) => self::act(&services, "retry", None, &act, json).await,
        Command::Compensate(act) => self::act(&services, "compensate", None, &act, json).await,
        Command::Resolve { outcome, act } => {
            let outcome = match outcome {
                Outcome::Completed => ResolveOutcome::MarkCompleted,
                Outcome::Cancelled => ResolveOutcome::MarkCancelled,
            };
            self::act(&services, "resolve", Some(outcome), &act, json).await
        }
    }
}

async fn stuck(services: &Services, limit: i64, json: bool) -> anyhow::Result<ExitCode> {
    let found: Option<StuckPurchases> = services
        .read(SERVICE, "/operator/stuck", &[("limit", limit.to_string())])
        .await?;
    let found = found.context("this purchase-manager is too old to say what is stuck")?;
    if json {
        output::result(&serde_json::to_string_pretty(&found)?)?;
    } else if found.purchases.is_empty() {
        output::note("No purchase waits for an operator.");
    } else {
        let rows: Vec<_> = found
            .purchases
            .iter()
            .map(|purchase| {
                [
                    time(purchase.updated_at),
                    purchase.reference.clone(),
                    purchase.purchase_id.to_string(),
                    purchase.version.to_string(),
                    waits_for(purchase),
                ]
            })
            .collect();
        output::result(&output::table(
            ["SINCE", "REFERENCE", "ID", "VERSION", "WAITS FOR"],
            &rows,
        ))?;
    }
    for id in &found.forgotten {
        output::note(&format!(
            "nothing is due for {id}, which has not ended: this is a fault in the program"
        ));
    }
    Ok(if found.forgotten.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn waits_for(purchase: &PurchaseUpdated) -> String {
    let failed = purchase.steps.iter().filter(|step| step.state == "FAILED");
    let words = failed.map(|step| format!("{} ({})", step.name, step.direction.to_lowercase()));
    words.collect::<Vec<_>>().join(", ")
}

async fn look(services: &Services, id: Uuid) -> anyhow::Result<Shown> {
    let query = [("ids", id.to_string())];
    let purchases: Option<Purchases> = services.read(SERVICE, "/purchases", &query).await?;
    let views: Option<OperatorViews> = services.read(SERVICE, "/operator/purchases", &query).await?;
    let purchase = purchases.and_then(|mut found| found.purchases.pop());
    let operator = views.and_then(|mut found| found.purchases.pop());
    match (purchase, operator) {
        (Some(purchase), Some(operator)) => Ok(Shown { purchase, operator }),
        (_, _) => bail!("there is no purchase {id}"),
    }
}

fn in_full(shown: &Shown) -> String {
    let Shown { purchase, operator } = shown;
    let steps: Vec<_> = purchase
        .steps
        .iter()
        .map(|step| {
            let error = operator
                .errors
                .iter()
                .find(|error| error.step == step.name && error.direction == step.direction);
            [
                step.name.clone(),
                step.direction.to_lowercase(),
                step.state.clone(),
                format!("{}/{}", step.attempt, step.max_attempts),
                error.map(|error| error.error.clone()).unwrap_or_default(),
            ]
        })
        .collect();
    let possible = match operator.allowed_actions.as_slice() {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    };
    let mut text = format!(
        "{} ({}) is {} at version {}, since {}. Possible now: {possible}.\n\n{}",
        purchase.reference,
        purchase.purchase_id,
        purchase.state,
        purchase.version,
        time(purchase.updated_at),
        output::table(["STEP", "DIRECTION", "STATE", "TRIES", "ERROR"], &steps)
    );
    if !operator.audit.is_empty() {
        let deeds: Vec<_> = operator
            .audit
            .iter()
            .map(|deed| {
                [
                    time(deed.at),
                    deed.action.clone(),
                    deed.actor.clone(),
                    deed.reason.clone(),
                ]
            })
            .collect();
        text.push_str("\n\n");
        text.push_str(&output::table(["AT", "ACTION", "ACTOR", "REASON"], &deeds));
    }
    text
}

async fn act(
    services: &Services,
    action: &str,
    outcome: Option<ResolveOutcome>,
    act: &Act,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let expected_version = match act.expected_version {
        Some(version) => version,
        None => look(services, act.id).await?.purchase.version,
    };
    let request = SagaAction {
        idempotency_key: act.deed.key(),
        expected_version,
        actor: act.deed.actor.clone(),
        reason: act.deed.reason.clone(),
        dry_run: act.dry_run,
        outcome,
    };
    let path = format!("/purchases/{}/{action}", act.id);
    let acted: SagaActed = services.write(SERVICE, &path, &act.deed.actor, &request).await?;
    if json {
        output::result(&serde_json::to_string_pretty(&acted)?)?;
    } else {
        output::note(if act.dry_run {
            "This would happen:"
        } else {
            "This was done:"
        });
        output::result(&acted.effects.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
