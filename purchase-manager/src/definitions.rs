//! The versions of the purchase saga that this program has.
//!
//! A saga keeps the version it began with. A release carries the next version first; it is activated, by the row in
//! `active_definition`, once every instance has it ([`crate::rollout`], docs/versions.md).

use saga::{Definition, RetryPolicy, ShapeError};

use crate::{
    exchange::{Command, Reply},
    purchase::Purchase,
    purchase_saga::{VERSIONS, Version},
};

/// The saga of a purchase.
pub type PurchaseSaga = Definition<Purchase, Command, Reply>;

/// Every version that this program has.
#[derive(Debug)]
pub struct Definitions {
    versions: Vec<PurchaseSaga>,
}

/// The database speaks of a version that this program lacks.
#[derive(Debug, thiserror::Error)]
pub enum LiveVersionError {
    /// Sagas of that version are open.
    #[error(
        "{open} open purchases follow version {version} of the saga `{name}`, which this program lacks (it has {known:?}): start a release that has it, which takes them to their end"
    )]
    Open {
        /// The saga.
        name: String,
        /// The version that is missing.
        version: i32,
        /// How many sagas are open on it.
        open: i64,
        /// What this program has.
        known: Vec<u16>,
    },
    /// New sagas are to follow that version.
    #[error(
        "new purchases follow version {version} of the saga `{name}`, which this program lacks (it has {known:?}): start a release that has it, or have new purchases follow another version with `belay saga activate` and a program that runs"
    )]
    Active {
        /// The saga.
        name: String,
        /// The version that is missing.
        version: i32,
        /// What this program has.
        known: Vec<u16>,
    },
    /// The database failed.
    #[error("the live versions of the saga cannot be read")]
    Database(#[from] sqlx::Error),
}

impl Definitions {
    /// Builds and checks every version of this program.
    ///
    /// # Errors
    /// When a definition's shape is wrong: the program must not start.
    pub fn new(retry: RetryPolicy) -> Result<Self, ShapeError> {
        Self::with(VERSIONS, retry)
    }

    /// Builds and checks these versions, oldest first.
    ///
    /// # Errors
    /// When a definition's shape is wrong: the program must not start.
    ///
    /// # Panics
    /// When there is none, or they are not in order: the program's own text.
    pub fn with(versions: &[Version], retry: RetryPolicy) -> Result<Self, ShapeError> {
        let versions: Vec<PurchaseSaga> = versions
            .iter()
            .map(|version| version(retry))
            .collect::<Result<_, _>>()?;
        assert!(
            !versions.is_empty(),
            "a program has a version of the purchase saga"
        );
        assert!(
            versions.is_sorted_by(|one, next| one.version() < next.version() && one.name() == next.name()),
            "the versions of one saga are listed from the oldest to the newest"
        );
        Ok(Self { versions })
    }

    /// The definition of a saga of `version`.
    #[must_use]
    pub fn of(&self, version: i32) -> Option<&PurchaseSaga> {
        self.versions.iter().find(|d| i32::from(d.version()) == version)
    }

    /// The newest version, activated on an empty database.
    #[must_use]
    pub fn newest(&self) -> &PurchaseSaga {
        self.versions.last().expect("there is at least one version")
    }

    /// The saga's name, the same for all versions.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.newest().name()
    }

    /// The versions that this program has, oldest first.
    #[must_use]
    pub fn known(&self) -> Vec<u16> {
        self.versions.iter().map(Definition::version).collect()
    }

    /// Whether this program can work on a database whose active version is `active` and whose open sagas follow `open`:
    /// versions, and how many sagas follow each.
    ///
    /// # Errors
    /// [`LiveVersionError`], which names the version that is lacking and says what to do.
    pub fn can_run(&self, active: i32, open: &[(i32, i64)]) -> Result<(), LiveVersionError> {
        let (name, known) = (self.name().to_owned(), self.known());
        if self.of(active).is_none() {
            return Err(LiveVersionError::Active {
                name,
                version: active,
                known,
            });
        }
        match open.iter().find(|(version, _)| self.of(*version).is_none()) {
            Some(&(version, open)) => Err(LiveVersionError::Open {
                name,
                version,
                open,
                known,
            }),
            None => Ok(()),
        }
    }
}
