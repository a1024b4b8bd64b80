//! A schema registry with the part of Confluent's REST API that producers, consumers and a person
//! with `curl` use. Avro only, without references; everything is kept in PostgreSQL.
//!
//! - `store`: all SQL.
//! - `compatibility`: levels and the check, pure.
//! - `api`: requests, answers and Confluent's error codes.
//!
//! | request | |
//! |---|---|
//! | `GET /subjects` | all names |
//! | `GET /subjects/{s}/versions`, `…/{v}`, `…/latest` | versions; one with its schema |
//! | `POST /subjects/{s}/versions` | register, after the check; the same schema again gives the same id |
//! | `POST /subjects/{s}` | is it registered here? |
//! | `GET /schemas/ids/{id}` | the schema of an id |
//! | `GET`, `PUT /config`, `/config/{s}` | compatibility levels |
//! | `POST /compatibility/subjects/{s}/versions/{v}` | the check alone; `?verbose=true` says why |

mod api;
mod compatibility;
mod store;

use std::net::SocketAddr;

use anyhow::Context;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::http::{Listening, LocalServer};

pub use self::compatibility::Level;

/// A running registry. Dropping it stops it at once; [`Registry::stop`] drains.
#[derive(Debug)]
pub struct Registry {
    url: String,
    server: LocalServer,
}

impl Registry {
    /// Migrates the tables in the first schema of `pool`'s search path, which must be the
    /// registry's alone, and serves on `listen` (loopback only; port 0 takes a free one) until
    /// `shutdown` is cancelled. Until a level is put, [`Level::FullTransitive`] holds.
    ///
    /// # Errors
    ///
    /// When the migration fails, or `listen` cannot be bound or is not loopback.
    pub async fn start(
        pool: PgPool,
        listen: SocketAddr,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let store = store::Store::open(pool)
            .await
            .context("the schema registry's tables cannot be prepared")?;
        let listening = Listening::bind("schema registry", listen).await?;
        let url = listening.url();
        let server = listening.serve("schema registry", api::router(store), shutdown);
        Ok(Self { url, server })
    }

    /// The registry's address, such as `http://127.0.0.1:41234`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops answering; waits at most 2 s for requests in progress.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
