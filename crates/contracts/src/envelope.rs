//! The headers that every message carries: CloudEvents in Kafka's binary mode, trace context, and the saga's own.
//!
//! CloudEvents: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>.

use crate::{
    ids::{CommandId, MessageId},
    trace::TraceContext,
};

/// Names of the headers.
pub mod header {
    pub const SPEC_VERSION: &str = "ce_specversion";
    pub const ID: &str = "ce_id";
    pub const TYPE: &str = "ce_type";
    pub const SOURCE: &str = "ce_source";
    pub const SUBJECT: &str = "ce_subject";
    pub const TIME: &str = "ce_time";
    pub const CONTENT_TYPE: &str = "content-type";
    pub const TRACEPARENT: &str = "traceparent";
    pub const TRACESTATE: &str = "tracestate";
    pub const COMMAND_ID: &str = "command-id";
    pub const CAUSATION_ID: &str = "causation-id";
    pub const REPLY_TO: &str = "reply-to";
    pub const SEQUENCE: &str = "sequence";
}

/// The CloudEvents version that the headers follow.
pub const SPEC_VERSION: &str = "1.0";
/// The media type of the value: Avro in Confluent's wire format.
pub const CONTENT_TYPE: &str = "application/vnd.confluent.avro";

/// What a consumer reads from the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `ce_id`: the message, not what it asks for. A re-send has another.
    pub id: MessageId,
    /// `ce_type`: full name of the record.
    pub message_type: String,
    /// `ce_source`: the service that sent it, such as `/belay/orders`.
    pub source: String,
    /// `sequence`: grows per source and key in commit order (invariant I8).
    pub sequence: Option<i64>,
    /// `command-id`: what is asked for, the same in every re-send and in the reply.
    pub command_id: Option<CommandId>,
    /// `causation-id`: the message that this one answers or follows.
    pub causation_id: Option<MessageId>,
    /// `reply-to`: the topic that waits for the answer.
    pub reply_to: Option<String>,
    /// `traceparent`. A malformed one counts as none: a trace is never worth a message.
    pub trace: Option<TraceContext>,
    /// `tracestate`, handed on as it came.
    pub tracestate: Option<String>,
}

/// A header that no message can do without is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The header is absent.
    #[error("the header `{0}` is missing")]
    Missing(&'static str),
    /// The header's value cannot be read.
    #[error("the header `{name}` holds `{value}`, which is not {expected}")]
    Malformed {
        /// The header.
        name: &'static str,
        /// Its value, cut to 100 characters.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Envelope {
    /// Reads the headers by name. `get` gives a header's bytes, the last one where a name occurs twice.
    ///
    /// # Errors
    /// [`EnvelopeError`] when `ce_id`, `ce_type` or `ce_source` is missing, or an id or the sequence is malformed.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self, EnvelopeError> {
        let text = |name: &'static str| -> Result<Option<String>, EnvelopeError> {
            match get(name) {
                None => Ok(None),
                Some(bytes) => match std::str::from_utf8(bytes) {
                    Ok(value) if value.contains('\0') => Err(malformed(name, value, "text without U+0000")),
                    Ok(value) => Ok(Some(value.to_owned())),
                    Err(_) => Err(malformed(name, &String::from_utf8_lossy(bytes), "UTF-8")),
                },
            }
        };
        let required = |name| text(name)?.ok_or(EnvelopeError::Missing(name));
        let id = required(header::ID)?;
        let command_id = text(header::COMMAND_ID)?;
        let causation_id = text(header::CAUSATION_ID)?;
        let sequence = text(header::SEQUENCE)?;
        Ok(Self {
            id: id.parse().map_err(|_| malformed(header::ID, &id, "a UUID"))?,
            message_type: required(header::TYPE)?,
            source: required(header::SOURCE)?,
            sequence: sequence
                .map(|s| {
                    s.parse()
                        .map_err(|_| malformed(header::SEQUENCE, &s, "a 64-bit integer"))
                })
                .transpose()?,
            command_id: command_id
                .map(|c| c.parse().map_err(|_| malformed(header::COMMAND_ID, &c, "a UUID")))
                .transpose()?,
            causation_id: causation_id
                .map(|c| {
                    c.parse()
                        .map_err(|_| malformed(header::CAUSATION_ID, &c, "a UUID"))
                })
                .transpose()?,
            reply_to: text(header::REPLY_TO)?,
            trace: text(header::TRACEPARENT)?.and_then(|t| t.parse().ok()),
            tracestate: text(header::TRACESTATE)?,
        })
    }
}

fn malformed(name: &'static str, value: &str, expected: &'static str) -> EnvelopeError {
    EnvelopeError::Malformed {
        name,
        value: value.chars().take(100).collect(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Envelope, EnvelopeError> {
        Envelope::read(|name| {
            headers
                .iter()
                .rev()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.as_bytes())
        })
    }

    const ID: &str = "0192f0c4-0000-7000-8000-000000000001";

    #[test]
    fn the_required_headers_are_enough() {
        let envelope = read(&[("ce_id", ID), ("ce_type", "t"), ("ce_source", "/belay/orders")]).unwrap();
        assert_eq!(envelope.id.to_string(), ID);
        assert_eq!(envelope.command_id, None);
    }

    #[test]
    fn a_missing_or_malformed_header_is_named() {
        assert_eq!(
            read(&[("ce_type", "t"), ("ce_source", "s")]),
            Err(EnvelopeError::Missing("ce_id"))
        );
        let error = read(&[("ce_id", "7"), ("ce_type", "t"), ("ce_source", "s")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the header `ce_id` holds `7`, which is not a UUID"
        );
    }

    #[test]
    fn a_malformed_trace_never_costs_the_message() {
        let envelope = read(&[
            ("ce_id", ID),
            ("ce_type", "t"),
            ("ce_source", "s"),
            ("traceparent", "nonsense"),
        ])
        .unwrap();
        assert_eq!(envelope.trace, None);
    }
}
