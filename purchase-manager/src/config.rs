//! What purchase-manager is told.

use saga::RetryPolicy;

use crate::purchase_saga::{VERSIONS, Version};

/// The orchestrator of purchases.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "purchase-manager", version)]
pub struct Config {
    /// What every service is told.
    #[command(flatten)]
    pub service: host::ServiceConfig,
    /// Days for which the log of an ended purchase is kept.
    #[arg(long, env = "BELAY_RETENTION_SAGA_EVENT_DAYS", default_value_t = 365, value_parser = host::config::days(crate::retention::LEAST_LOG_DAYS))]
    pub retention_saga_event_days: u32,
    /// Pauses between re-sends of an unanswered command. Not a flag: they belong to the definition, and only a test has
    /// a reason for others.
    #[arg(skip)]
    pub retry: RetryPolicy,
    /// The versions of the purchase saga, oldest first. Not a flag: they are the program's text, and only a test has others.
    #[arg(skip = VERSIONS)]
    pub versions: &'static [Version],
}
