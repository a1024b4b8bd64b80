//! A rolling upgrade of the definition: which programs are at work, which versions each has, and which version new purchases follow.
//!
//! A program says that it is there before it takes any work, and every ten seconds. A version is activated only when every
//! program that was seen within the last minute has it. A program that lacks a live version (the active one, or that of an
//! open purchase) does not start; one that was overlooked, because it hung for longer than that minute, ends as soon as it
//! looks, so that its partitions go to one that has the version.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use contracts::operator::{
    ActivateVersion, ActivationView, DefinitionView, DefinitionViews, InstanceView, OpenVersion,
    VersionActivated,
};
use mailbox::{
    Fault,
    limit::{STATEMENT_LIMIT, on_connection},
    request::{self, Claim},
};
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    definitions::{Definitions, LiveVersionError},
    http::{Failure, key_reused, refusal_body, stored},
    orchestrator::Orchestrator,
    store::versions::{self, Instance},
};

/// Between two signs of life. Six of them fit into the minute for which a program counts as at work.
const BEAT: Duration = Duration::from_secs(10);
/// How long the last word of a program that ends may take; below the time that a drain has.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Activations that are shown.
const SHOWN_ACTIVATIONS: i64 = 20;

/// This program among those at work.
#[derive(Debug)]
pub struct Rollout {
    pool: PgPool,
    instance: Uuid,
    name: &'static str,
    versions: Vec<i32>,
}

impl Rollout {
    /// Says that a program with `definitions` is there. Activates its newest version on an empty database.
    ///
    /// # Errors
    /// [`LiveVersionError`] when it lacks a live version; then it is not there.
    pub async fn enter(pool: PgPool, definitions: &Definitions) -> Result<Self, LiveVersionError> {
        let rollout = Self {
            pool,
            instance: contracts::ids::fresh(),
            name: definitions.name(),
            versions: definitions.known().into_iter().map(i32::from).collect(),
        };
        let newest = i32::from(definitions.newest().version());
        versions::activate_if_none(&rollout.pool, rollout.name, newest).await?;
        let mut connection = rollout.pool.acquire().await?;
        if let Err(lacks) = rollout.beat(&mut connection, definitions).await {
            versions::gone(&mut connection, rollout.instance).await?;
            return Err(lacks);
        }
        Ok(rollout)
    }

    /// Gives signs of life until `shutdown`, and then says that this program is gone.
    ///
    /// # Errors
    /// [`LiveVersionError`] when a version is live that this program lacks: it must end. A database that is away is none.
    pub async fn run(
        self,
        orchestrator: Arc<Orchestrator>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut tick = interval(BEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            // Cancel-safe: a tick that is not taken comes again.
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                _ = tick.tick() => {}
            }
            let beaten = on_connection(&self.pool, STATEMENT_LIMIT, async |connection| {
                Ok(self.beat(connection, orchestrator.definitions()).await)
            });
            match beaten.await {
                Ok(Ok(())) => {}
                Ok(Err(LiveVersionError::Database(error))) => {
                    tracing::warn!("this program could not say that it is there: {error}");
                }
                Ok(Err(lacks @ (LiveVersionError::Open { .. } | LiveVersionError::Active { .. }))) => {
                    break Err(lacks.into());
                }
                Err(fault) => tracing::warn!("this program could not say that it is there: {fault}"),
            }
        };
        let last_word = async {
            let mut connection = self.pool.acquire().await?;
            versions::gone(&mut connection, self.instance).await
        };
        // Whoever cannot say it has not been seen for a minute soon.
        drop(tokio::time::timeout(LAST_WORD, last_word).await);
        ended
    }

    /// One sign of life, and a look at what is live.
    async fn beat(
        &self,
        connection: &mut PgConnection,
        definitions: &Definitions,
    ) -> Result<(), LiveVersionError> {
        let mut tx = connection.begin().await?;
        let active = versions::seen(&mut tx, self.instance, self.name, &self.versions).await?;
        let open = versions::open(&mut tx).await?;
        tx.commit().await?;
        definitions.can_run(active, &open)
    }
}

/// The routes.
pub(crate) fn routes(orchestrator: Arc<Orchestrator>) -> Router {
    Router::new()
        .route("/operator/definitions", get(show))
        .route("/operator/definitions/{name}/activate", post(activate))
        .with_state(orchestrator)
}

async fn show(State(orchestrator): State<Arc<Orchestrator>>) -> Result<Json<DefinitionViews>, Failure> {
    let name = orchestrator.definitions().name();
    let mut connection = orchestrator.pool().acquire().await.map_err(Fault::from)?;
    let active = versions::active(&mut connection, name).await?;
    let open = versions::open(&mut connection).await.map_err(Fault::from)?;
    let instances = versions::instances(&mut connection, name)
        .await
        .map_err(Fault::from)?;
    let activations = versions::activations(&mut connection, name, SHOWN_ACTIVATIONS)
        .await
        .map_err(Fault::from)?;
    let view = DefinitionView {
        name: name.to_owned(),
        active,
        open: open
            .into_iter()
            .map(|(version, purchases)| OpenVersion { version, purchases })
            .collect(),
        instances: instances
            .into_iter()
            .map(|instance| InstanceView {
                id: instance.id,
                versions: instance.versions,
                started_at: instance.started_at.timestamp_micros(),
                seen_at: instance.seen_at.timestamp_micros(),
            })
            .collect(),
        activations: activations
            .into_iter()
            .map(|activation| ActivationView {
                version: activation.version,
                replaced: activation.replaced,
                actor: activation.actor,
                reason: activation.reason,
                at: activation.at.timestamp_micros(),
            })
            .collect(),
    };
    Ok(Json(DefinitionViews {
        definitions: vec![view],
    }))
}

async fn activate(
    State(orchestrator): State<Arc<Orchestrator>>,
    Path(name): Path<String>,
    Json(body): Json<ActivateVersion>,
) -> Result<Response, Failure> {
    if body.actor.trim().is_empty() || body.reason.trim().is_empty() {
        return Err(Failure::BadRequest("say who asks for it, and why".to_owned()));
    }
    if name != orchestrator.definitions().name() {
        return Ok(stored(&refusal_body("NOT_FOUND", "There is no such saga.")?));
    }
    let mut tx = orchestrator.pool().begin().await.map_err(Fault::from)?;
    let scope = format!("activate-version:{}", body.actor);
    if !body.dry_run {
        let hash =
            request::hash(&(&name, &body)).map_err(|error| Failure::Fault(Fault::deterministic(error)))?;
        match request::claim(&mut tx, &scope, body.idempotency_key, &hash)
            .await
            .map_err(Fault::from)?
        {
            Claim::Fresh => {}
            Claim::Repeated(response) => return Ok(stored(&response)),
            Claim::Reused => return Ok(key_reused()),
        }
    }
    let active = versions::lock_active(&mut tx, &name).await.map_err(Fault::from)?;
    let instances = versions::instances(&mut tx, &name).await.map_err(Fault::from)?;
    let open = versions::open(&mut tx).await.map_err(Fault::from)?;
    let response = match plan(&name, active, body.version, &instances, &open) {
        Err(refused) => refusal_body("STATE_CONFLICT", &refused)?,
        Ok(effects) => {
            if !body.dry_run && active != body.version {
                versions::activate(&mut tx, &name, active, body.version, &body.actor, &body.reason)
                    .await
                    .map_err(Fault::from)?;
                tracing::info!(
                    definition = name,
                    version = body.version,
                    replaced = active,
                    "activated"
                );
            }
            accepted(effects)?
        }
    };
    if !body.dry_run {
        request::answer(&mut tx, &scope, body.idempotency_key, &response)
            .await
            .map_err(Fault::from)?;
        tx.commit().await.map_err(Fault::from)?;
    }
    Ok(stored(&response))
}

fn accepted(effects: Vec<String>) -> Result<Value, Fault> {
    let activated = serde_json::to_value(VersionActivated { effects }).map_err(Fault::deterministic)?;
    Ok(serde_json::json!({ "ok": activated }))
}

/// What an activation does, in words, or why it is refused.
fn plan(
    name: &str,
    active: i32,
    version: i32,
    instances: &[Instance],
    open: &[(i32, i64)],
) -> Result<Vec<String>, String> {
    let lacking: Vec<String> = instances
        .iter()
        .filter(|instance| !instance.versions.contains(&version))
        .map(|instance| format!("{} (has {:?})", instance.id, instance.versions))
        .collect();
    if !lacking.is_empty() {
        return Err(format!(
            "Version {version} of {name} cannot be activated: {} of {} instances at work lack it: {}. Start a release that has it \
             in their place; one that has ended without a word counts for a minute.",
            lacking.len(),
            instances.len(),
            lacking.join(", ")
        ));
    }
    if active == version {
        return Ok(vec![format!(
            "version {version} of {name} is active already: nothing changes"
        )]);
    }
    let mut effects = vec![format!(
        "new purchases follow version {version} of {name}, in place of version {active}"
    )];
    effects.extend(
        open.iter()
            .filter(|(other, _)| *other != version)
            .map(|(other, purchases)| format!("{purchases} open purchases go on with version {other}")),
    );
    effects.push(format!("a program without version {version} no longer starts"));
    Ok(effects)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn instance(id: u128, versions: &[i32]) -> Instance {
        Instance {
            id: Uuid::from_u128(id),
            versions: versions.to_vec(),
            started_at: DateTime::UNIX_EPOCH,
            seen_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_version_that_one_instance_lacks_is_refused_with_the_instances_name() {
        let instances = [instance(7, &[1]), instance(8, &[1, 2])];
        let refused = plan("purchase", 1, 2, &instances, &[]).unwrap_err();
        assert!(refused.contains("1 of 2 instances"), "{refused}");
        assert!(refused.contains(&Uuid::from_u128(7).to_string()), "{refused}");
        assert!(!refused.contains(&Uuid::from_u128(8).to_string()), "{refused}");
    }

    #[test]
    fn a_version_that_all_have_says_what_becomes_of_open_purchases() {
        let effects = plan("purchase", 1, 2, &[instance(8, &[1, 2])], &[(1, 3), (2, 4)]).unwrap();
        assert_eq!(
            effects,
            [
                "new purchases follow version 2 of purchase, in place of version 1",
                "3 open purchases go on with version 1",
                "a program without version 2 no longer starts",
            ]
        );
        let nothing = plan("purchase", 2, 2, &[instance(8, &[1, 2])], &[]).unwrap();
        assert_eq!(
            nothing,
            ["version 2 of purchase is active already: nothing changes"]
        );
    }
}
