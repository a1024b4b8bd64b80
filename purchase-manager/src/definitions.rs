//! The versions of the purchase saga that this program has.
//!
//! A saga keeps the version it began with. A release carries the next version first; it is activated, by the row in
//! `active_definition`, once every instance has it.

use saga::{Definition, RetryPolicy, ShapeError};
use sqlx::PgPool;

use crate::{
    exchange::{Command, Reply},
    purchase::Purchase,
    purchase_saga::purchase_saga,
    store,
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
        "{open} open purchases follow version {version} of the saga `{name}`, which this program lacks (it has {known:?}): start a release that has it"
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
        "version {version} of the saga `{name}` is activated, which this program lacks (it has {known:?}): start a release that has it, or activate another one"
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
    /// Builds and checks every definition.
    ///
    /// # Errors
    /// When a definition's shape is wrong: the program must not start.
    pub fn new(retry: RetryPolicy) -> Result<Self, ShapeError> {
        Ok(Self {
            versions: vec![purchase_saga(retry)?],
        })
    }

    /// The definition of a saga of `version`.
    #[must_use]
    pub fn of(&self, version: i32) -> Option<&PurchaseSaga> {
        self.versions.iter().find(|d| i32::from(d.version()) == version)
    }

    /// The newest version, activated where nothing else is said.
    #[must_use]
    pub fn newest(&self) -> &PurchaseSaga {
        self.versions.last().expect("there is at least one version")
    }

    /// Refuses to work on a database with live versions that this program lacks. Activates the first version on an empty
    /// database.
    ///
    /// # Errors
    /// [`LiveVersionError`], which names the version.
    pub async fn check_live(&self, pool: &PgPool) -> Result<(), LiveVersionError> {
        let name = self.newest().name();
        let known: Vec<u16> = self.versions.iter().map(Definition::version).collect();
        let active = store::activate_if_none(pool, name, i32::from(self.newest().version())).await?;
        if self.of(active).is_none() {
            return Err(LiveVersionError::Active {
                name: name.to_owned(),
                version: active,
                known,
            });
        }
        for (version, open) in store::open_versions(pool).await? {
            if self.of(version).is_none() {
                return Err(LiveVersionError::Open {
                    name: name.to_owned(),
                    version,
                    open,
                    known,
                });
            }
        }
        Ok(())
    }
}
