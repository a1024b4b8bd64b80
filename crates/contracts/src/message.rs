//! What makes a Rust type a message, and how it is written in Avro.
//!
//! The bytes here are the Avro datum alone. The five bytes of the Confluent wire format before it belong to
//! `mailbox::codec`, which knows the registry's ids.

use std::fmt::Debug;

use apache_avro::{Schema, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use serde::{Serialize, de::DeserializeOwned};

/// A record of `avro/` with its Rust type.
pub trait Message: Serialize + DeserializeOwned + Debug + Clone + Send + Sync + 'static {
    /// The record's name, schema and parsed form.
    fn message_type() -> &'static MessageType;
}

/// One record of `avro/`.
#[derive(Debug)]
pub struct MessageType {
    /// Full name of the record, which is also `ce_type`: `belay.orders.CreateOrder`.
    pub name: &'static str,
    /// The text of the `.avsc` file.
    pub schema_text: &'static str,
    schema: std::sync::LazyLock<Schema>,
}

impl MessageType {
    /// Used by the `messages!` macro alone.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str, schema_text: &'static str, parse: fn() -> Schema) -> Self {
        Self {
            name,
            schema_text,
            schema: std::sync::LazyLock::new(parse),
        }
    }

    /// The compiled-in schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

/// A value and its schema do not fit, or the bytes are not what the schema says.
#[derive(Debug, thiserror::Error)]
pub enum AvroError {
    /// The Rust value cannot be written with the schema.
    #[error("{name} cannot be written as its Avro schema says")]
    Encode {
        /// Full name of the record.
        name: &'static str,
        /// What the Avro library said.
        #[source]
        source: Box<apache_avro::Error>,
    },
    /// The bytes cannot be read with the schema, or the record does not resolve to ours.
    #[error("the bytes are not a {name} as its Avro schema says")]
    Decode {
        /// Full name of the record.
        name: &'static str,
        /// What the Avro library said.
        #[source]
        source: Box<apache_avro::Error>,
    },
    /// The bytes do not begin as a registry's messages do.
    #[error("the value is not in Confluent's wire format: it must begin with a zero byte and a schema id")]
    Frame,
}

/// Writes the Avro datum of `message`, without any framing.
///
/// # Errors
/// [`AvroError::Encode`] when the Rust type and the schema have come apart; the contract tests exclude it.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, AvroError> {
    let kind = M::message_type();
    let failed = |source| AvroError::Encode {
        name: kind.name,
        source: Box::new(source),
    };
    let writer = GenericDatumWriter::builder(kind.schema())
        .human_readable(true)
        .build()
        .map_err(failed)?;
    writer.write_ser_to_vec(message).map_err(failed)
}

/// Reads a datum that was written with `writer`, which may be another version of the record than ours.
///
/// # Errors
/// [`AvroError::Decode`] when the bytes are damaged, when anything is left over, or when the two versions are not compatible.
pub fn decode<M: Message>(mut datum: &[u8], writer: &Schema) -> Result<M, AvroError> {
    let kind = M::message_type();
    let failed = |source| AvroError::Decode {
        name: kind.name,
        source: Box::new(source),
    };
    let bytes = &mut datum;
    let message = if writer == kind.schema() {
        let reader = GenericDatumReader::builder(writer)
            .human_readable(true)
            .build()
            .map_err(failed)?;
        reader.read_deser(bytes).map_err(failed)?
    } else {
        // The library's direct reader cannot resolve two versions; the generic value can.
        let reader = GenericDatumReader::builder(writer)
            .reader_schema(kind.schema())
            .build()
            .map_err(failed)?;
        let value = reader.read_value(bytes).map_err(failed)?;
        apache_avro::from_value(&value).map_err(failed)?
    };
    if bytes.is_empty() {
        Ok(message)
    } else {
        let left = serde::ser::Error::custom(format!("{} bytes are left over", bytes.len()));
        Err(failed(left))
    }
}

/// Reads a datum of `kind` as JSON, for a log or for a reader that does not know the Rust type. Field names are the schema's.
///
/// # Errors
/// [`AvroError::Decode`], as for [`decode`].
pub fn decode_json(
    kind: &'static MessageType,
    mut datum: &[u8],
    writer: &Schema,
) -> Result<serde_json::Value, AvroError> {
    let failed = |source| AvroError::Decode {
        name: kind.name,
        source: Box::new(source),
    };
    let reader = GenericDatumReader::builder(writer)
        .reader_schema(kind.schema())
        .build()
        .map_err(failed)?;
    let value = reader.read_value(&mut datum).map_err(failed)?;
    serde_json::Value::try_from(value).map_err(failed)
}

/// Ties Rust types to the files of `avro/<owner>/`, and lists them.
macro_rules! messages {
    ($owner:literal, $namespace:literal, $($name:ident),+ $(,)?) => {
        $(
            impl $crate::Message for $name {
                fn message_type() -> &'static $crate::MessageType {
                    const TEXT: &str = include_str!(concat!("../../../avro/", $owner, "/", stringify!($name), ".avsc"));
                    fn parse() -> apache_avro::Schema {
                        apache_avro::Schema::parse_str(TEXT).expect("the schemas in avro/ parse: a contract test reads each")
                    }
                    static TYPE: $crate::MessageType =
                        $crate::MessageType::new(concat!($namespace, ".", stringify!($name)), TEXT, parse);
                    &TYPE
                }
            }
        )+
    };
}
pub(crate) use messages;
