//! `belay saga versions` and `belay saga activate`: which version of their saga new purchases follow (docs/versions.md).

use std::process::ExitCode;

use anyhow::Context;
use contracts::operator::{ActivateVersion, DefinitionView, DefinitionViews, VersionActivated};

use super::{Deed, Services, saga::SERVICE, time};
use crate::output;

/// What is to be activated.
#[derive(Debug, clap::Args)]
pub(super) struct Activate {
    /// The saga.
    #[arg(long, default_value = "purchase", value_parser = parse_name)]
    definition: String,
    /// The version that new purchases are to follow.
    #[arg(long)]
    version: i32,
    /// Says what would happen, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    deed: Deed,
}

/// It becomes a part of an address.
fn parse_name(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no saga's name: letters, digits, - and _"))
    }
}

pub(super) async fn show(services: &Services, json: bool) -> anyhow::Result<ExitCode> {
    let found: Option<DefinitionViews> = services.read(SERVICE, "/operator/definitions", &[]).await?;
    let found = found.context("this purchase-manager is too old to say which versions it has")?;
    let text = if json {
        serde_json::to_string_pretty(&found)?
    } else {
        found
            .definitions
            .iter()
            .map(in_words)
            .collect::<Vec<_>>()
            .join("\n\n")
    };
    output::result(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn in_words(view: &DefinitionView) -> String {
    let open: Vec<String> = view
        .open
        .iter()
        .map(|open| format!("{} with version {}", open.purchases, open.version))
        .collect();
    let open = if open.is_empty() {
        "none".to_owned()
    } else {
        open.join(", ")
    };
    let instances: Vec<_> = view
        .instances
        .iter()
        .map(|instance| {
            [
                instance.id.to_string(),
                list(&instance.versions),
                time(instance.started_at),
                time(instance.seen_at),
            ]
        })
        .collect();
    let activations: Vec<_> = view
        .activations
        .iter()
        .map(|activation| {
            [
                time(activation.at),
                activation.version.to_string(),
                activation
                    .replaced
                    .map(|version| version.to_string())
                    .unwrap_or_default(),
                activation.actor.clone(),
                activation.reason.clone(),
            ]
        })
        .collect();
    format!(
        "New purchases follow version {} of {}. Open purchases: {open}.\n\n{}\n\n{}",
        view.active,
        view.name,
        output::table(["INSTANCE", "VERSIONS", "STARTED", "SEEN"], &instances),
        output::table(
            ["ACTIVATED", "VERSION", "REPLACED", "ACTOR", "REASON"],
            &activations
        )
    )
}

fn list(versions: &[i32]) -> String {
    versions.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) async fn activate(services: &Services, wish: &Activate, json: bool) -> anyhow::Result<ExitCode> {
    let request = ActivateVersion {
        idempotency_key: wish.deed.key(),
        version: wish.version,
        actor: wish.deed.actor.clone(),
        reason: wish.deed.reason.clone(),
        dry_run: wish.dry_run,
    };
    let path = format!("/operator/definitions/{}/activate", wish.definition);
    let activated: VersionActivated = services.write(SERVICE, &path, &wish.deed.actor, &request).await?;
    if json {
        output::result(&serde_json::to_string_pretty(&activated)?)?;
    } else {
        output::note(if wish.dry_run {
            "This would happen:"
        } else {
            "This was done:"
        });
        output::result(&activated.effects.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        assert_eq!(parse_name("purchase"), Ok("purchase".to_owned()));
        assert!(parse_name("../purchases").is_err());
        assert!(parse_name("").is_err());
    }
}
