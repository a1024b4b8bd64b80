//! All SQL of the registry.

#![allow(
    clippy::disallowed_methods,
    reason = "checked queries need a database with these tables at build time, and the registry makes its own \
              when it starts; every statement here runs in tests/it/registry.rs"
)]

use sqlx::{PgExecutor, PgPool, Postgres, Transaction, prelude::FromRow};

use super::compatibility::Level;

/// The subject under which the default level is kept.
const DEFAULT_SUBJECT: &str = "";

#[derive(Debug, Clone)]
pub(super) struct Store {
    pool: PgPool,
}

/// A schema in its place.
#[derive(Debug, FromRow)]
pub(super) struct Version {
    pub(super) subject: String,
    pub(super) version: i32,
    pub(super) id: i32,
    pub(super) text: String,
}

/// A registration in progress: others wait until it is recorded or dropped.
#[derive(Debug)]
pub(super) struct Registration {
    transaction: Transaction<'static, Postgres>,
}

impl Store {
    pub(super) async fn open(pool: PgPool) -> Result<Self, sqlx::Error> {
        sqlx::migrate!("migrations/registry").run(&pool).await?;
        Ok(Self { pool })
    }

    pub(super) async fn subjects(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar("select distinct subject from subject_version order by subject")
            .fetch_all(&self.pool)
            .await
    }

    /// All versions of a subject, oldest first; none when the subject is unknown.
    pub(super) async fn versions(&self, subject: &str) -> Result<Vec<Version>, sqlx::Error> {
        versions(&self.pool, subject).await
    }

    /// Where the schema with this fingerprint stands in the subject.
    pub(super) async fn find(
        &self,
        subject: &str,
        fingerprint: &[u8],
    ) -> Result<Option<Version>, sqlx::Error> {
        find(&self.pool, subject, fingerprint).await
    }

    pub(super) async fn text(&self, id: i32) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar("select text from registered_schema where id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
    }

    /// The level put for this very subject; `None` as subject is the default of all.
    pub(super) async fn own_level(&self, subject: Option<&str>) -> Result<Option<Level>, sqlx::Error> {
        let name: Option<String> = sqlx::query_scalar("select level from compatibility where subject = $1")
            .bind(subject.unwrap_or(DEFAULT_SUBJECT))
            .fetch_optional(&self.pool)
            .await?;
        name.as_deref().map(known_level).transpose()
    }

    /// The level that holds for the subject: its own, else the default.
    pub(super) async fn level(&self, subject: &str) -> Result<Level, sqlx::Error> {
        level(&self.pool, subject).await
    }

    /// Puts the level of a subject, or with `None` the default.
    pub(super) async fn put_level(&self, subject: Option<&str>, level: Level) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into compatibility (subject, level) values ($1, $2)
             on conflict (subject) do update set level = excluded.level",
        )
        .bind(subject.unwrap_or(DEFAULT_SUBJECT))
        .bind(level.name())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Begins a registration. One at a time in the whole registry: ids and versions are counted up
    /// without gaps, and the check sees every version that comes before. Readers do not wait.
    pub(super) async fn begin_registration(&self) -> Result<Registration, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("lock table registered_schema in share row exclusive mode")
            .execute(&mut *transaction)
            .await?;
        Ok(Registration { transaction })
    }
}

impl Registration {
    pub(super) async fn find(
        &mut self,
        subject: &str,
        fingerprint: &[u8],
    ) -> Result<Option<Version>, sqlx::Error> {
        find(&mut *self.transaction, subject, fingerprint).await
    }

    pub(super) async fn versions(&mut self, subject: &str) -> Result<Vec<Version>, sqlx::Error> {
        versions(&mut *self.transaction, subject).await
    }

    pub(super) async fn level(&mut self, subject: &str) -> Result<Level, sqlx::Error> {
        level(&mut *self.transaction, subject).await
    }

    /// Records the schema as the subject's next version, and returns its id: the one it has in
    /// another subject, or a new one.
    pub(super) async fn record(
        mut self,
        subject: &str,
        fingerprint: &[u8],
        text: &str,
    ) -> Result<i32, sqlx::Error> {
        sqlx::query(
            "insert into registered_schema (id, fingerprint, text)
             select coalesce(max(id), 0) + 1, $1, $2 from registered_schema
             on conflict (fingerprint) do nothing",
        )
        .bind(fingerprint)
        .bind(text)
        .execute(&mut *self.transaction)
        .await?;
        let id: i32 = sqlx::query_scalar(
            "insert into subject_version (subject, version, schema_id)
             select $1,
                    (select coalesce(max(version), 0) + 1 from subject_version where subject = $1),
                    id
             from registered_schema where fingerprint = $2
             returning schema_id",
        )
        .bind(subject)
        .bind(fingerprint)
        .fetch_one(&mut *self.transaction)
        .await?;
        self.transaction.commit().await?;
        Ok(id)
    }
}

async fn versions(executor: impl PgExecutor<'_>, subject: &str) -> Result<Vec<Version>, sqlx::Error> {
    sqlx::query_as(
        "select subject, version, id, text
         from subject_version join registered_schema on id = schema_id
         where subject = $1
         order by version",
    )
    .bind(subject)
    .fetch_all(executor)
    .await
}

async fn find(
    executor: impl PgExecutor<'_>,
    subject: &str,
    fingerprint: &[u8],
) -> Result<Option<Version>, sqlx::Error> {
    sqlx::query_as(
        "select subject, version, id, text
         from subject_version join registered_schema on id = schema_id
         where subject = $1 and fingerprint = $2",
    )
    .bind(subject)
    .bind(fingerprint)
    .fetch_optional(executor)
    .await
}

async fn level(executor: impl PgExecutor<'_>, subject: &str) -> Result<Level, sqlx::Error> {
    let name: Option<String> = sqlx::query_scalar(
        "select level from compatibility where subject in ($1, $2) order by subject = $2 limit 1",
    )
    .bind(subject)
    .bind(DEFAULT_SUBJECT)
    .fetch_optional(executor)
    .await?;
    name.as_deref().map_or_else(|| Ok(Level::default()), known_level)
}

fn known_level(name: &str) -> Result<Level, sqlx::Error> {
    Level::parse(name)
        .ok_or_else(|| sqlx::Error::Decode(format!("unknown compatibility level `{name}`").into()))
}
