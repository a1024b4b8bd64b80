//! How the services are, as they tell it themselves.

use std::sync::Arc;

use async_graphql::{Context, Enum, SimpleObject};
use contracts::report::{GroupReport, ServiceReport};

use super::{failure::Failure, scalars::Long};
use crate::{SERVICE, app::App};

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum Health {
    /// It answers, and all is well.
    Up,
    /// It answers, and something waits for long or for people.
    Degraded,
    /// It does not answer.
    Down,
}

/// A service as it is at the moment.
#[derive(Debug, SimpleObject)]
#[graphql(name = "ServiceHealth")]
pub(crate) struct ServiceObject {
    name: String,
    health: Health,
    /// Empty while it does not answer.
    version: String,
    /// Those that were alive within the last half minute; 0 while none answers.
    instances: i32,
    /// What is not as it should be.
    detail: Option<String>,
}

/// What a consumer group has still to read of a topic.
#[derive(Debug, SimpleObject)]
#[graphql(name = "ConsumerGroup")]
pub(crate) struct GroupObject {
    name: String,
    topic: String,
    /// Instances that read it.
    members: i32,
    /// Messages that are not handled yet.
    lag: Long,
    /// How long the oldest message at hand has waited; null when none is at hand.
    oldest_unprocessed_seconds: Option<i32>,
}

impl From<GroupReport> for GroupObject {
    fn from(report: GroupReport) -> Self {
        let GroupReport {
            group,
            topic,
            members,
            lag,
            oldest_seconds,
        } = report;
        Self {
            name: group,
            topic,
            members,
            lag: Long(lag),
            oldest_unprocessed_seconds: oldest_seconds,
        }
    }
}

/// Every service, by name.
pub(super) async fn services(ctx: &Context<'_>) -> Vec<ServiceObject> {
    let told = reports(ctx).await.into_iter().map(|(name, report)| {
        let name = name.to_owned();
        match report {
            Ok(report) => ServiceObject {
                name,
                health: if report.troubles.is_empty() {
                    Health::Up
                } else {
                    Health::Degraded
                },
                version: report.version,
                instances: report.instances,
                detail: (!report.troubles.is_empty()).then(|| report.troubles.join("; ")),
            },
            Err(_) => ServiceObject {
                name,
                health: Health::Down,
                version: String::new(),
                instances: 0,
                detail: Some("it does not answer".to_owned()),
            },
        }
    });
    told.collect()
}

/// The groups of every service that answers.
///
/// # Errors
/// Why the last one does not answer, when none does.
pub(super) async fn groups(ctx: &Context<'_>) -> Result<Vec<GroupObject>, Failure> {
    let (mut groups, mut answered, mut failure) = (Vec::new(), false, None);
    for (_, report) in reports(ctx).await {
        match report {
            Ok(report) => {
                answered = true;
                groups.extend(report.groups.into_iter().map(GroupObject::from));
            }
            Err(failed) => failure = Some(failed),
        }
    }
    match failure {
        Some(failure) if !answered => Err(failure),
        Some(_) | None => Ok(groups),
    }
}

/// Every service's report, in the order of the names.
async fn reports(ctx: &Context<'_>) -> Vec<(&'static str, Result<ServiceReport, Failure>)> {
    let app = ctx.data_unchecked::<Arc<App>>();
    let mut names: Vec<&'static str> = app.clients.parking().chain([SERVICE]).collect();
    names.sort_unstable();
    let asked = names
        .into_iter()
        .map(|name| async move { (name, report(app, name).await) });
    futures::future::join_all(asked).await
}

async fn report(app: &App, name: &'static str) -> Result<ServiceReport, Failure> {
    if name == SERVICE {
        return Ok(mailbox::report::read(&app.pool, SERVICE, host::service::VERSION).await?);
    }
    match app.clients.report(name).await? {
        Some(report) => Ok(report),
        None => Err(Failure::Unavailable(name)),
    }
}
