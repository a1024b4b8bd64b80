//! The environment variables by which `with-parts` tells a command where the parts are, and a test finds them.

/// A running Kafka's bootstrap servers, without protection.
pub const KAFKA: &str = "BELAY_PART_KAFKA";
/// The registry's address.
pub const REGISTRY: &str = "BELAY_PART_REGISTRY";
/// The test realm, as the issuer of its tokens.
pub const ISSUER: &str = "BELAY_PART_ISSUER";
/// The password of Keycloak's administrator, random with every start.
pub const KEYCLOAK_PASSWORD: &str = "BELAY_PART_KEYCLOAK_PASSWORD";
/// The mail catcher for senders: `host:port`.
pub const SMTP: &str = "BELAY_PART_SMTP";
/// The mail catcher for readers: `http://host:port`.
pub const MAIL: &str = "BELAY_PART_MAIL";
/// A file to which every started part adds a line: its name, a tabulator, its version.
pub const RECORD: &str = "BELAY_PART_RECORD";
/// A directory for the logs of all parts, which stay there.
pub const LOGS: &str = "BELAY_PART_LOGS";
