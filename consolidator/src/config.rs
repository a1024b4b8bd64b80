//! What the consolidator is told at its start.

use host::ServiceConfig;

/// Says whether a purchase is possible: every product for sale, in stock, and at the price that the customer saw.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "consolidator", version, about)]
pub struct Config {
    /// Settings that every service has.
    #[command(flatten)]
    pub service: ServiceConfig,
}
