//! What the service is told.

/// Settings of the payments service. Each is a flag and an environment variable.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "payments", version, about = "Holds, takes and gives back money")]
pub struct Config {
    /// What every service is told.
    #[command(flatten)]
    pub service: host::ServiceConfig,
    /// Who holds and takes the money. There is no default, so that a system whose payments are not real has said so:
    /// nothing else keeps a test setting from reaching customers.
    #[arg(long = "provider", env = "BELAY_PAYMENT_PROVIDER", value_enum)]
    pub provider: Provider,
    /// The simulated provider declines what is over this amount, in hundredths of the currency's unit: 100000 lets
    /// 1000.00 pass and declines 1000.01. Currencies with other minor units are compared by the same amount of units:
    /// 1000 JPY pass and 1001 JPY do not; 1000.000 KWD pass and 1000.001 KWD do not.
    #[arg(long, env = "BELAY_DECLINE_OVER_MINOR", default_value_t = 100_000, value_parser = clap::value_parser!(i64).range(0..))]
    pub decline_over_minor: i64,
}

/// A payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Provider {
    /// [`SimulatedProvider`](crate::SimulatedProvider): no money moves.
    Simulated,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const NEEDED: [&str; 10] = [
        "payments",
        "--database-url",
        "postgres://x",
        "--kafka",
        "x:1",
        "--registry",
        "http://x:1",
        "--caller",
        "bff=A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
        "--provider=simulated",
    ];

    #[test]
    fn no_provider_is_taken_for_granted() {
        let unsaid = &NEEDED[..NEEDED.len() - 1];
        let refused = Config::try_parse_from(unsaid).unwrap_err().to_string();
        assert!(refused.contains("--provider"), "{refused}");
    }

    #[test]
    fn the_limit_is_a_thousand_units_unless_it_is_set() {
        assert_eq!(Config::parse_from(NEEDED).decline_over_minor, 100_000);
        let set = NEEDED.into_iter().chain(["--decline-over-minor", "5"]);
        assert_eq!(Config::parse_from(set).decline_over_minor, 5);
        let negative = NEEDED.into_iter().chain(["--decline-over-minor=-1"]);
        assert!(Config::try_parse_from(negative).is_err());
    }
}
