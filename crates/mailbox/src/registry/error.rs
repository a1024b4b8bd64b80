//! Why a registry cannot be used, in words that say what to do.

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry's address is not a URL, or the client could not be made.
    #[error("the schema registry's address `{url}` cannot be used: {reason}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The authority to believe is no certificate.
    #[error("the authority of the schema registry (--registry-ca) is no PEM with certificates: {0}")]
    Authority(String),
    /// The registry wants to know who we are, or does not believe it.
    #[error(
        "the schema registry at {url} does not let us in: {reason}. Give user and password (--registry-user, BELAY_REGISTRY_PASSWORD or --registry-password-file), or mend them"
    )]
    Login {
        /// The registry, without credentials.
        url: String,
        /// The registry's words.
        reason: String,
    },
    /// The registry refused one of our schemas.
    #[error(
        "the schema registry refuses {subject}: {reason}. Make the change compatible (FULL_TRANSITIVE): give new fields a default, remove none without one. `cargo test -p contracts` names the field"
    )]
    Refused {
        /// Topic and record.
        subject: String,
        /// The registry's words.
        reason: String,
    },
    /// Check mode, and one of our schemas is not registered.
    #[error(
        "{subject} is not registered as this program has it: {reason}. Register the schemas first, or start with --registry-mode register"
    )]
    NotRegistered {
        /// Topic and record.
        subject: String,
        /// The registry's words.
        reason: String,
    },
    /// Check mode, and a subject is kept at a weaker level than [`LEVEL`].
    #[error(
        "the schema registry keeps {subject} at compatibility {level}, which would let a change through that breaks running programs; it must be FULL_TRANSITIVE. Set it with\n  curl -X PUT {url}/config/{subject} -H 'content-type: application/vnd.schemaregistry.v1+json' -d '{{\"compatibility\":\"FULL_TRANSITIVE\"}}'\nor start once with --registry-mode register"
    )]
    Weak {
        /// Topic and record.
        subject: String,
        /// The level that holds for it.
        level: String,
        /// The registry, without credentials.
        url: String,
    },
    /// The level of a subject can be neither read nor set.
    #[error("the schema registry does not let the compatibility of {subject} be {wanted}: {reason}")]
    Level {
        /// Topic and record.
        subject: String,
        /// "read" or "set".
        wanted: &'static str,
        /// The registry's words.
        reason: String,
    },
    /// Shutdown was asked for while the registry was away.
    #[error("stopped while waiting for the schema registry")]
    Stopped,
    /// The ids are others than when the rows in the outbox were written.
    #[error(
        "this is another schema registry than before ({subject} had id {was}, now {now}), and {rows} messages in the outbox bear the old ids. Start once with the old registry and let the outbox drain, then change it"
    )]
    Exchanged {
        /// Topic and record.
        subject: String,
        /// The id under which it was known.
        was: i32,
        /// The id that the registry gives now.
        now: i32,
        /// Rows that wait in the outbox.
        rows: i64,
    },
    /// The list of ids could not be read or written.
    #[error("the registry's ids cannot be compared with the ones known")]
    Database(#[from] sqlx::Error),
}
