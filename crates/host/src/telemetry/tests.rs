use std::sync::{Arc, Mutex};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

use super::{export::NameSpans, *};

/// Keeps what is exported.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// Log lines, kept.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn traced(work: impl FnOnce()) -> (Vec<SpanData>, String) {
    let (kept, lines) = (Kept::default(), Lines::default());
    let provider = SdkTracerProvider::builder()
        .with_span_processor(NameSpans)
        .with_simple_exporter(kept.clone())
        .build();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::registry()
        .with(traces_to(provider.tracer("test")))
        .with(
            fmt::layer()
                .json()
                .flatten_event(true)
                .map_event_format(WithTrace)
                .with_writer(move || writer.clone()),
        );
    tracing::subscriber::with_default(subscriber, work);
    let spans = kept.0.lock().unwrap().clone();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    (spans, text)
}

fn incoming() -> contracts::trace::TraceContext {
    contracts::trace::TraceContext::new(7, 8, true).unwrap()
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span
        .attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

#[test]
fn a_span_belongs_to_the_service_of_the_span_it_is_in() {
    let (spans, _) = traced(|| {
        for service in ["orders", "payments"] {
            let server = spans::http_server(service, "GET", Some("/orders"), Some(incoming()), None);
            server.in_scope(|| drop(spans::http_client("GET", "orders", "127.0.0.1", Some(80))));
        }
    });
    let services: Vec<_> = spans.iter().map(|span| attribute(span, "service.name")).collect();
    let own = |name: &str| Some(name.to_owned());
    assert_eq!(
        services,
        [own("orders"), own("orders"), own("payments"), own("payments")]
    );
    for pair in spans.chunks(2) {
        let [client, server] = pair else {
            panic!("a client and its server")
        };
        assert_eq!(client.parent_span_id, server.span_context.span_id());
        assert_eq!(server.parent_span_id.to_string(), incoming().span_id());
        assert_eq!(client.span_context.trace_id().to_string(), incoming().trace_id());
    }
}

#[test]
fn a_trace_that_the_caller_does_not_record_is_not_recorded_here() {
    let unrecorded = contracts::trace::TraceContext::new(7, 8, false);
    let mut continued = None;
    let (spans, _) = traced(|| {
        let server = spans::http_server("orders", "GET", None, unrecorded, Some("vendor=1"));
        server.in_scope(|| continued = spans::current().zip(spans::current_tracestate()));
    });
    assert!(spans.is_empty(), "{spans:?}");
    // All the same its context goes on.
    let (context, state) = continued.unwrap();
    assert_eq!(context.trace_id(), incoming().trace_id());
    assert!(!context.is_sampled());
    assert_eq!(state, "vendor=1");
}

#[test]
fn a_json_line_tells_the_trace_that_it_was_written_in() {
    let (spans, text) = traced(|| {
        tracing::info!("outside");
        spans::http_server("orders", "GET", None, Some(incoming()), None)
            .in_scope(|| tracing::info!("inside"));
    });
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["message"], "outside");
    assert_eq!(lines[0].get("trace_id"), None);
    assert_eq!(lines[1]["message"], "inside");
    assert_eq!(lines[1]["trace_id"], incoming().trace_id());
    assert_eq!(lines[1]["span_id"], spans[0].span_context.span_id().to_string());
}

#[test]
fn nothing_is_made_of_a_span_while_tracing_is_off() {
    struct Loud;
    impl std::fmt::Display for Loud {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("an argument of a disabled span is written out")
        }
    }
    let subscriber = tracing_subscriber::registry()
        .with(fmt::layer())
        .with(logs("trace", false));
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!(target: spans::TARGET, "any", loud = %Loud);
        assert!(span.is_disabled());
        let server = spans::http_server("orders", "GET", None, Some(incoming()), None);
        assert!(server.is_disabled());
        assert_eq!(spans::context_of(&server), None);
        server.in_scope(|| assert_eq!(spans::current(), None));
    });
}

#[test]
fn a_line_survives_a_question_before_it() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::registry()
        .with(fmt::layer().with_writer(move || writer.clone()))
        .with(logs("warn", false));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..3 {
            assert!(!tracing::enabled!(tracing::Level::DEBUG));
            tracing::error!("heard");
        }
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("heard").count(), 3, "{text}");
}
