//! The spans of the system: every name and attribute in one place, and how a trace goes from one process to the next.
//!
//! Names follow OpenTelemetry's semantic conventions where they have one (HTTP, messaging, GraphQL, database); what is
//! Belay's own begins with `belay.`. No span bears personal data: ids of purchases, products and messages, never a
//! customer's, never a query string, a document or a payload.
//!
//! | module | job |
//! |---|---|
//! | [`kinds`] | one function for each kind of span |
//! | [`context`] | from the wire into a span, and from a span to the wire |
//!
//! Where tracing is off, the target [`TARGET`] is disabled at every place that makes a span: what is left of it is the test of
//! one flag, no argument is written out, and the functions of [`context`] answer "none" (test
//! `telemetry::tests::nothing_is_made_of_a_span_while_tracing_is_off` in `host`).
//!
//! An entry span (HTTP request, message, timer, send) says which service it belongs to. What happens below it in the
//! same process belongs to the same service, by [`context::Service`], so that several services in one process keep their
//! names (test `telemetry::tests::a_span_belongs_to_the_service_of_the_span_it_is_in` in `host`).

pub mod context;
pub mod kinds;

pub use context::{Service, context_of, continue_from, current, current_tracestate, inject, of_headers};
pub use kinds::{
    decision, failed, finished, graphql, http_client, http_server, mail_written, operation, process, send,
    smtp_send, timers, transaction,
};

/// The target of every span here. Nothing else has it, so that it can be switched on and off by itself.
pub const TARGET: &str = "belay::span";
