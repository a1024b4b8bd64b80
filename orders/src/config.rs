//! What the service is told.

/// Settings of the orders service. Each is a flag and an environment variable.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "orders", version, about = "Places and cancels orders")]
pub struct Config {
    /// What every service is told.
    #[command(flatten)]
    pub service: host::ServiceConfig,
}
