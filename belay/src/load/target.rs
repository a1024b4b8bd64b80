//! Where the running system is. It may be stopped and started again during a load, at another address and with another
//! issuer, as a shop's address outlives its servers.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use crate::{
    data_dir::{DataDir, SystemInfo},
    token::{Minter, Role},
};

/// The system as it is found now.
#[derive(Debug)]
pub(super) struct Place {
    /// Grows when the system is found elsewhere.
    pub epoch: u64,
    /// `http://host:port` of the edge.
    pub http: String,
    minter: Minter,
    token_lifetime: Duration,
}

impl Place {
    /// A token of this place's issuer.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn token(&self, role: Role, subject: &str) -> anyhow::Result<String> {
        self.minter.mint(role, subject, "Load", self.token_lifetime)
    }

    /// The WebSocket endpoint.
    pub fn socket(&self) -> String {
        format!("{}/graphql/ws", self.http.replacen("http", "ws", 1))
    }
}

/// The system that a data directory leads to.
#[derive(Debug)]
pub(super) struct Target {
    dir: DataDir,
    token_lifetime: Duration,
    place: RwLock<Arc<Place>>,
}

impl Target {
    /// Finds the running system.
    ///
    /// # Errors
    /// When none runs, or tokens cannot be minted for it.
    pub async fn find(dir: DataDir, token_lifetime: Duration) -> anyhow::Result<Arc<Self>> {
        let system = dir.system()?;
        let minter = Minter::of(&dir, &system).await?;
        let place = RwLock::new(Arc::new(Place {
            epoch: 0,
            http: system.http,
            minter,
            token_lifetime,
        }));
        Ok(Arc::new(Self {
            dir,
            token_lifetime,
            place,
        }))
    }

    /// Where the system was found last.
    pub fn place(&self) -> Arc<Place> {
        self.place
            .read()
            .expect("nothing panics while it holds this lock")
            .clone()
    }

    /// Looks again, after the place did not answer. A system that is not there yet leaves everything as it is.
    pub async fn look_again(&self) {
        let Ok(system) = self.dir.system() else { return };
        if system.http == self.place().http && self.place().minter.is_for(&system) {
            return;
        }
        let Ok(minter) = Minter::of(&self.dir, &system).await else {
            return;
        };
        let mut place = self
            .place
            .write()
            .expect("nothing panics while it holds this lock");
        let epoch = place.epoch + 1;
        *place = Arc::new(Place {
            epoch,
            http: system.http,
            minter,
            token_lifetime: self.token_lifetime,
        });
    }

    /// The services' databases, as they are now.
    ///
    /// # Errors
    /// When no system runs.
    pub fn databases(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let SystemInfo { databases, .. } = self.dir.system()?;
        Ok(databases)
    }
}
