//! What the edge is told, from the command line or the environment.

use std::net::SocketAddr;

use contracts::money::Currency;
use host::{ServiceConfig, identity::IdentityArgs};
use reqwest::Url;

use crate::auth::Viewer;

/// Settings of the edge.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "bff", about = "The edge of Belay: GraphQL for customers and staff.")]
pub struct Config {
    /// What every service has.
    #[command(flatten)]
    pub service: ServiceConfig,
    /// Who the edge is to the services that it asks.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// The token issuer, as it names itself: https://host/path. Its keys are found by OpenID discovery.
    #[arg(long, env = "BELAY_ISSUER", value_parser = parse_issuer)]
    pub issuer: String,
    /// The audience that tokens must be for.
    #[arg(long, env = "BELAY_AUDIENCE", default_value = "belay")]
    pub audience: String,
    /// Where a token has its roles (customer, operator, admin): names of nested claims, separated by dots.
    #[arg(long, env = "BELAY_ROLES_CLAIM", default_value = "realm_access.roles")]
    pub roles_claim: String,
    /// Where the edge tells its own services how to reach customers: an address that the public never reaches, port 0 for a
    /// free one. Without it nobody is told, and no mails are sent.
    #[arg(long, env = "BELAY_INTERNAL_HTTP")]
    pub internal_http: Option<SocketAddr>,
    /// Address of purchase-manager: http://host:port
    #[arg(long, env = "BELAY_PURCHASE_MANAGER", value_parser = parse_address)]
    pub purchase_manager: Url,
    /// Address of product-admin: http://host:port
    #[arg(long, env = "BELAY_PRODUCT_ADMIN", value_parser = parse_address)]
    pub product_admin: Url,
    /// Address of orders: http://host:port
    #[arg(long, env = "BELAY_ORDERS", value_parser = parse_address)]
    pub orders: Url,
    /// Address of payments: http://host:port
    #[arg(long, env = "BELAY_PAYMENTS", value_parser = parse_address)]
    pub payments: Url,
    /// Address of consolidator, to show and settle its parked messages: http://host:port
    #[arg(long, env = "BELAY_CONSOLIDATOR", value_parser = parse_address)]
    pub consolidator: Option<Url>,
    /// Address of notifications, to show and settle its parked messages: http://host:port
    #[arg(long, env = "BELAY_NOTIFICATIONS", value_parser = parse_address)]
    pub notifications: Option<Url>,
    /// Payment method tokens that are taken, separated by commas. The default is what the simulated provider knows.
    #[arg(
        long,
        env = "BELAY_PAYMENT_METHODS",
        value_delimiter = ',',
        default_value = "tok_ok,tok_declined"
    )]
    pub payment_methods: Vec<String>,
    /// The currency of the shop (ISO 4217).
    #[arg(long, env = "BELAY_CURRENCY", default_value = "EUR")]
    pub currency: Currency,
    /// Who may read the schema: operators alone, or everyone, who then get the playground and hints in refusals too.
    #[arg(long, env = "BELAY_INTROSPECTION", value_enum, default_value_t = Introspection::Operators)]
    pub introspection: Introspection,
    /// What one request may ask for.
    #[command(flatten)]
    pub limits: Limits,
    /// Points that a viewer may spend at once: every field costs one, those of a page as often as `first` says.
    #[arg(long, env = "BELAY_VIEWER_COST_LIMIT", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub viewer_cost_limit: u32,
    /// Points that come back to a viewer in a second.
    #[arg(long, env = "BELAY_VIEWER_COST_PER_SECOND", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub viewer_cost_per_second: u32,
    /// Purchases that a customer may have under way. More are refused until one has ended, or ten minutes are over.
    #[arg(long, env = "BELAY_MAX_OPEN_PURCHASES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_open_purchases: u32,
    /// A web origin, besides our own, whose pages may open WebSockets: https://host; may be repeated.
    #[arg(long = "allowed-origin", env = "BELAY_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = parse_origin)]
    pub allowed_origins: Vec<String>,
}

/// What one request may ask for. What asks for more is refused with `COST_EXCEEDED` before anything is done for it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Limits {
    /// Fields of the longest way down. Introspection is exempt: its standard query goes deeper than any of ours.
    #[arg(long, env = "BELAY_MAX_DEPTH", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=40))]
    pub max_depth: u16,
    /// Fields altogether, fragments unfolded.
    #[arg(long, env = "BELAY_MAX_FIELDS", default_value_t = 1_500, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_fields: u16,
    /// Fields at the root of an operation: each may be a whole query of its own.
    #[arg(long, env = "BELAY_MAX_ROOT_FIELDS", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_root_fields: u16,
    /// Fields under another name, fragments unfolded: only so can one field be asked for many times.
    #[arg(long, env = "BELAY_MAX_ALIASES", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..))]
    pub max_aliases: u16,
    /// Directives, fragments unfolded.
    #[arg(long, env = "BELAY_MAX_DIRECTIVES", default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..))]
    pub max_directives: u16,
}

/// Who may read the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Introspection {
    /// Operators and administrators. There is no playground, and refusals do not guess what was meant.
    Operators,
    /// Everyone, for development.
    Everyone,
}

impl Introspection {
    /// Whether `viewer` may.
    pub(crate) fn allows(self, viewer: &Viewer) -> bool {
        match self {
            Self::Everyone => true,
            Self::Operators => viewer.is_operator(),
        }
    }
}

fn parse_address(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => Err(format!(
            "`{text}` is no address of a service: write http://host:port"
        )),
    }
}

fn parse_issuer(text: &str) -> Result<String, String> {
    // Kept as it is written: a token's `iss` must be the same text.
    parse_address(text).map(|_| text.to_owned())
}

fn parse_origin(text: &str) -> Result<String, String> {
    let url = parse_address(text)?;
    let origin = url.origin().ascii_serialization();
    if origin == text.trim_end_matches('/') {
        Ok(origin)
    } else {
        Err(format!(
            "`{text}` is no origin: write scheme and host alone, such as {origin}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(
            parse_origin("https://shop.example/"),
            Ok("https://shop.example".to_owned())
        );
        assert!(parse_origin("https://shop.example/pay").is_err());
        assert!(parse_origin("shop.example").is_err());
    }
}
