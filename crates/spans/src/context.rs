//! From the wire into a span, and from a span to the wire: [`TraceContext`] is the wire's form of it.

use std::sync::Arc;

use contracts::{envelope::header, trace::TraceContext};
use http::{HeaderMap, HeaderValue};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The service that a span belongs to: set by an entry span, inherited by everything below it in the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service(pub Arc<str>);

/// Makes `span` one of `service`, and a child of the span that `trace` names; the root of a new trace when there is none.
/// Does nothing while tracing is off. To be called before the span is entered: a span that has begun keeps its parent.
pub fn continue_from(span: &Span, service: &str, trace: Option<TraceContext>, tracestate: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    let mut context = Context::new().with_value(Service(Arc::from(service)));
    if let Some(trace) = trace {
        context = context.with_remote_span_context(span_context(trace, tracestate));
    }
    // It fails only where the layer is missing or the span has begun; then the span is a root, which is what it can be.
    let _ = span.set_parent(context);
}

/// The context of a span, to be sent to whoever continues its trace. None while tracing is off. Begins the span.
#[must_use]
pub fn context_of(span: &Span) -> Option<TraceContext> {
    if span.is_disabled() {
        return None;
    }
    wire(span.context().span().span_context())
}

/// The context of the span that this code runs in. None while tracing is off, or outside of every span.
#[must_use]
pub fn current() -> Option<TraceContext> {
    Context::map_current(|context| wire(context.span().span_context()))
}

/// The vendors' trace state of the span that this code runs in.
#[must_use]
pub fn current_tracestate() -> Option<String> {
    let header = Context::map_current(|context| context.span().span_context().trace_state().header());
    Some(header).filter(|header| !header.is_empty())
}

/// Adds the headers by which the receiver of an HTTP request continues `span`. Nothing while tracing is off.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    let Some(context) = context_of(span) else { return };
    if let Ok(value) = HeaderValue::from_str(&context.to_string()) {
        headers.insert(header::TRACEPARENT, value);
    }
    let state = span.context().span().span_context().trace_state().header();
    if let Some(value) = HeaderValue::from_str(&state)
        .ok()
        .filter(|value| !value.is_empty())
    {
        headers.insert(header::TRACESTATE, value);
    }
}

/// The trace that an HTTP request continues, and the vendors' part. A malformed header counts as none.
#[must_use]
pub fn of_headers(headers: &HeaderMap) -> (Option<TraceContext>, Option<&str>) {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let trace = text(header::TRACEPARENT).and_then(|text| text.parse().ok());
    (trace, text(header::TRACESTATE).filter(|_| trace.is_some()))
}

pub(crate) fn span_context(trace: TraceContext, tracestate: Option<&str>) -> SpanContext {
    // A malformed trace state counts as none, as W3C asks.
    let state = tracestate
        .and_then(|text| text.parse::<TraceState>().ok())
        .unwrap_or_default();
    SpanContext::new(
        TraceId::from(trace.trace_bits()),
        SpanId::from(trace.span_bits()),
        if trace.is_sampled() {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::NOT_SAMPLED
        },
        true,
        state,
    )
}

fn wire(context: &SpanContext) -> Option<TraceContext> {
    TraceContext::new(
        u128::from_be_bytes(context.trace_id().to_bytes()),
        u64::from_be_bytes(context.span_id().to_bytes()),
        context.is_sampled(),
    )
}
