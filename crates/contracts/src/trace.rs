//! W3C trace context, as it travels in a message's headers.
//!
//! <https://www.w3.org/TR/trace-context/>, version 00.

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
    /// A trace that begins here. Ids come from two fresh UUIDs, of which the random halves are used.
    #[must_use]
    pub fn root() -> Self {
        let trace_id = crate::ids::fresh().as_u128();
        Self {
            trace_id,
            span_id: random_span(),
            sampled: true,
        }
    }

    /// A new span in the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: random_span(),
            ..*self
        }
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
        if trace_id == 0 || span_id == 0 {
            return Err(NotATraceparent);
        }
        Ok(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_survives_being_written_and_read() {
        let context = TraceContext::root();
        assert_eq!(context.to_string().parse::<TraceContext>(), Ok(context));
        assert_eq!(context.child().trace_id(), context.trace_id());
        assert_ne!(context.child().to_string(), context.to_string());
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
