//! What product-admin is told at its start.

use host::ServiceConfig;

/// Owns the products and their stock: reserves, releases and confirms units for purchases.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "product-admin", version, about)]
pub struct Config {
    /// Settings that every service has.
    #[command(flatten)]
    pub service: ServiceConfig,
}
