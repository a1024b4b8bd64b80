//! W3C trace context, as it travels in a message's headers and in the outbox.
//!
//! <https://www.w3.org/TR/trace-context/>, version 00. Spans have contexts of their own (crate `spans`); this is what is
//! left of them on the wire. Where nobody traces, a context is handed on as it came, and a purchase that came without one
//! gets an id all the same, so that its messages and its log can be found by it.

use std::{fmt, str::FromStr};

/// The trace that a message belongs to, and the span that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

/// The header is not a `traceparent` of version 00.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
pub struct NotATraceparent;

impl TraceContext {
    /// The context of a span; none when either id is zero, which W3C excludes.
    #[must_use]
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            sampled,
        })
    }

    /// A trace that begins here and that nobody records: not sampled, so that nobody waits for its first span.
    /// Ids come from two fresh UUIDs, of which the random halves are used.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace_id: crate::ids::fresh().as_u128(),
            span_id: random_span(),
            sampled: false,
        }
    }

    /// The span's id: 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// The trace's id as a number.
    #[must_use]
    pub fn trace_bits(&self) -> u128 {
        self.trace_id
    }

    /// The span's id as a number.
    #[must_use]
    pub fn span_bits(&self) -> u64 {
        self.span_id
    }

    /// Whether the span's owner says that it records.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

fn random_span() -> u64 {
    // The low 62 bits of a version 7 UUID are random; the variant bits above them keep the id from being zero.
    let (_, low) = crate::ids::fresh().as_u64_pair();
    low
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.sampled)
        )
    }
}

impl FromStr for TraceContext {
    type Err = NotATraceparent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('-');
        let (Some("00"), Some(trace), Some(span), Some(flags), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(NotATraceparent);
        };
        if trace.len() != 32
            || span.len() != 16
            || flags.len() != 2
            || text.bytes().any(|b| b.is_ascii_uppercase())
        {
            return Err(NotATraceparent);
        }
        let trace_id = u128::from_str_radix(trace, 16).map_err(|_| NotATraceparent)?;
        let span_id = u64::from_str_radix(span, 16).map_err(|_| NotATraceparent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| NotATraceparent)?;
        Self::new(trace_id, span_id, flags & 1 == 1).ok_or(NotATraceparent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_survives_being_written_and_read() {
        let context = TraceContext::root();
        assert_eq!(context.to_string().parse::<TraceContext>(), Ok(context));
        let sampled = TraceContext::new(1, 2, true).unwrap();
        assert_eq!(sampled.to_string().parse::<TraceContext>(), Ok(sampled));
    }

    #[test]
    fn malformed_traceparents_are_refused() {
        for wrong in [
            "",
            "00-0-0-0",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(wrong.parse::<TraceContext>(), Err(NotATraceparent), "{wrong}");
        }
    }
}
