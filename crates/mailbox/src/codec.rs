//! Confluent's wire format, and the registry that gives the schemas their ids.
//!
//! The format is one zero byte, the schema's id in four bytes big-endian, and the Avro datum:
//! <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>.
//! Our own schemas are compiled in and registered, or checked, once at start. Only a schema that somebody else
//! registered is ever looked up, once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, RwLock},
};

use apache_avro::Schema;
use contracts::{Message, MessageType, ids::MessageId, message::AvroError, topics};
use futures::{StreamExt, TryStreamExt};
use schema_registry_converter::{
    async_impl::schema_registry::{SrSettings, get_schema_by_id},
    schema_registry_common::{BytesResult, get_bytes_result, get_payload},
};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use crate::registry::{RegistryError, RegistryLogin, RegistryMode, RegistrySettings};
use crate::{
    Fault, Outgoing,
    registry::{Registry, is_unknown, words},
};

/// Encodes and decodes messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Codec(Arc<Inner>);

struct Inner {
    settings: SrSettings,
    source: String,
    /// Ids of our own schemas by (topic, record).
    ids: HashMap<(&'static str, &'static str), u32>,
    /// Every schema that we have met, by id.
    schemas: RwLock<HashMap<u32, Arc<Schema>>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec")
            .field("source", &self.source)
            .field("subjects", &self.ids.len())
            .finish()
    }
}

impl Codec {
    /// Registers or checks every schema of the contract, and waits for the registry as long as it is away.
    ///
    /// `service` becomes the messages' `ce_source`.
    ///
    /// # Errors
    /// [`RegistryError`]; a registry that cannot be reached is not an error but waited for, until `shutdown`.
    pub async fn start(
        settings: &RegistrySettings,
        service: &str,
        shutdown: &CancellationToken,
    ) -> Result<Self, RegistryError> {
        let registry = Registry::new(settings)?;
        let registrations: Vec<_> = declared()
            .map(|(topic, message)| {
                let registry = &registry;
                async move {
                    let id = registry.enrol(topic, message, shutdown).await?;
                    Ok::<_, RegistryError>(((topic, message.name), id))
                }
            })
            .collect();
        // Collected first: with the closure alive over the wait, the compiler cannot see that this may be spawned.
        let ids: HashMap<_, _> = futures::stream::iter(registrations)
            .buffer_unordered(8)
            .try_collect()
            .await?;
        let schemas = declared()
            .map(|(topic, message)| (ids[&(topic, message.name)], Arc::new(message.schema().clone())))
            .collect();
        Ok(Self(Arc::new(Inner {
            settings: registry.library().clone(),
            source: format!("/belay/{service}"),
            ids,
            schemas: RwLock::new(schemas),
        })))
    }

    /// Refuses another registry than last time while the outbox still holds rows with the old ids.
    ///
    /// A schema of which this program has another version than the last one is not compared: the new version has an id of
    /// its own in the same registry (test `a_new_version_of_a_schema_is_not_another_registry`).
    ///
    /// # Errors
    /// [`RegistryError::Exchanged`], or the database's error.
    pub async fn check_same_registry(&self, pool: &PgPool) -> Result<(), RegistryError> {
        let mut tx = pool.begin().await?;
        let known = sqlx::query!("select subject, schema_id, schema_hash from registry_subject")
            .fetch_all(&mut *tx)
            .await?;
        let rows = sqlx::query_scalar!(r#"select count(*) as "rows!" from outbox"#)
            .fetch_one(&mut *tx)
            .await?;
        let ours = self.subjects();
        for entry in &known {
            let Some((now, hash)) = ours.get(&entry.subject) else {
                continue;
            };
            let same_schema = entry.schema_hash.as_ref().is_none_or(|known| known == hash);
            if same_schema && *now != entry.schema_id && rows > 0 {
                let (subject, was, now) = (entry.subject.clone(), entry.schema_id, *now);
                return Err(RegistryError::Exchanged {
                    subject,
                    was,
                    now,
                    rows,
                });
            }
        }
        let mut subjects = Vec::with_capacity(ours.len());
        let mut ids = Vec::with_capacity(ours.len());
        let mut hashes = Vec::with_capacity(ours.len());
        for (subject, (id, hash)) in ours {
            subjects.push(subject);
            ids.push(id);
            hashes.push(hash);
        }
        sqlx::query!(
            "insert into registry_subject (subject, schema_id, schema_hash)
             select * from unnest($1::text[], $2::integer[], $3::bytea[])
             on conflict (subject) do update set schema_id = excluded.schema_id, schema_hash = excluded.schema_hash",
            &subjects,
            &ids,
            &hashes
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Our schemas' ids and the hashes of their texts, by subject, in the subjects' order: so two instances that start at
    /// once lock the rows in the same order.
    fn subjects(&self) -> BTreeMap<String, (i32, Vec<u8>)> {
        declared()
            .map(|(topic, message)| {
                let id = self.0.ids[&(topic, message.name)].cast_signed();
                let hash = Sha256::digest(message.schema_text).to_vec();
                (topics::subject(topic, message), (id, hash))
            })
            .collect()
    }

    /// Makes a message ready for the outbox: encoded, with a message id of its own.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when the message does not belong on the topic or does not fit its schema.
    pub fn outgoing<M: Message>(
        &self,
        topic: &'static str,
        key: impl Into<uuid::Uuid>,
        message: &M,
    ) -> Result<Outgoing, Fault> {
        let kind = M::message_type();
        let id = *self.0.ids.get(&(topic, kind.name)).ok_or_else(|| {
            Fault::deterministic(anyhow::anyhow!("{} does not belong on {topic}", kind.name))
        })?;
        let datum = contracts::message::encode(message)?;
        Ok(Outgoing {
            id: MessageId::fresh(),
            topic,
            key: key.into().to_string(),
            message_type: kind.name,
            payload: get_payload(id, datum),
            source: self.0.source.clone(),
            trace: None,
            tracestate: None,
            command_id: None,
            causation_id: None,
            reply_to: None,
        })
    }

    /// The registry's id of the schema that `value` was written with; none when it is not in Confluent's wire format.
    #[must_use]
    pub fn schema_id(value: &[u8]) -> Option<u32> {
        match get_bytes_result(Some(value)) {
            BytesResult::Valid(id, _) => Some(id),
            BytesResult::Null | BytesResult::Invalid(_) => None,
        }
    }

    /// Splits the wire format and finds the schema that the datum was written with.
    ///
    /// # Errors
    /// [`Fault::Deterministic`] when the bytes are not in the wire format or the registry has never seen the id;
    /// [`Fault::Transient`] when the id is new to us and the registry is away or will not say. Test:
    /// `an_unknown_schema_is_waited_for_while_the_registry_is_away_and_given_up_when_it_says_no`.
    pub async fn open(&self, value: &[u8]) -> Result<(Arc<Schema>, Vec<u8>), Fault> {
        let (id, datum) = match get_bytes_result(Some(value)) {
            BytesResult::Valid(id, datum) => (id, datum),
            _ => {
                return Err(AvroError::Frame.into());
            }
        };
        let known = self.0.schemas.read().expect("no writer panics").get(&id).cloned();
        if let Some(schema) = known {
            return Ok((schema, datum.to_vec()));
        }
        let found = get_schema_by_id(id, &self.0.settings).await.map_err(|e| {
            let reason = anyhow::anyhow!(
                "the schema with id {id} cannot be had from the registry: {}",
                words(&e)
            );
            if is_unknown(&e) {
                Fault::deterministic(reason)
            } else {
                Fault::transient(reason)
            }
        })?;
        let schema = Schema::parse_str(&found.schema).map_err(Fault::deterministic)?;
        let schema = Arc::new(schema);
        self.0
            .schemas
            .write()
            .expect("no writer panics")
            .insert(id, schema.clone());
        Ok((schema, datum.to_vec()))
    }
}

/// Every message of the contract with its topic.
fn declared() -> impl Iterator<Item = (&'static str, &'static MessageType)> {
    topics::TOPICS
        .iter()
        .flat_map(|topic| topic.messages().into_iter().map(|message| (topic.name, message)))
}
