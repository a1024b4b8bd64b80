//! What product-admin is told at its start.

use std::time::Duration;

use host::ServiceConfig;

/// How long units are held before the saga is asked, when nothing else is said. The longest that a saga can take by itself is
/// every budget of every step, there and back: 44 minutes (test `a_reservation_outlives_the_slowest_saga` in
/// `purchase-manager`).
pub const RESERVATION_TTL_SECONDS: u32 = 3_600;

/// Owns the products and their stock: reserves, releases and confirms units for purchases.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "product-admin", version, about)]
pub struct Config {
    /// Settings that every service has.
    #[command(flatten)]
    pub service: ServiceConfig,
    /// How long units are held for a purchase before its saga is asked whether they are still wanted, in seconds. They are
    /// never given back without its word.
    #[arg(long, env = "BELAY_RESERVATION_TTL_S", default_value_t = RESERVATION_TTL_SECONDS, value_parser = clap::value_parser!(u32).range(1..=2_592_000))]
    pub reservation_ttl_s: u32,
}

impl Config {
    /// [`Config::reservation_ttl_s`].
    #[must_use]
    pub fn reservation_ttl(&self) -> Duration {
        Duration::from_secs(self.reservation_ttl_s.into())
    }
}
