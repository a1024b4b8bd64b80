//! What purchase-manager is told.

use saga::RetryPolicy;

/// The orchestrator of purchases.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "purchase-manager", version)]
pub struct Config {
    /// What every service is told.
    #[command(flatten)]
    pub service: host::ServiceConfig,
    /// Pauses between re-sends of an unanswered command. Not a flag: they belong to the definition, and only a test has
    /// a reason for others.
    #[arg(skip)]
    pub retry: RetryPolicy,
}
