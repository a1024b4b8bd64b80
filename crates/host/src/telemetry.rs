//! Logs, metrics, and where traces go.

mod export;
#[cfg(test)]
mod tests;

use std::{io::IsTerminal, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::filter_fn,
    fmt::{
        self, FmtContext,
        format::{FormatEvent, FormatFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

pub use export::Export;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Log lines go to standard error, so that standard output holds results only. `RUST_LOG` sets the filter.
/// A second call changes nothing.
///
/// `export` says where traces go; none switches them off. Then the spans of [`spans::TARGET`] are disabled where they are
/// made, so that nothing is formatted, allocated or timed for them.
///
/// # Errors
/// Settings of the export that cannot be followed.
pub fn init(format: LogFormat, default_filter: &str, export: Option<Export>) -> anyhow::Result<Telemetry> {
    let filter = logs(default_filter, export.is_some());
    let (provider, traces) = match export.map(Export::start).transpose()? {
        Some((provider, tracer)) => (Some(provider), Some(traces_to(tracer))),
        None => (None, None),
    };
    let registry = tracing_subscriber::registry().with(traces);
    let set = match format {
        LogFormat::Text => registry
            .with(
                fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .with(filter)
            .try_init(),
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false)
                    .map_event_format(WithTrace)
                    .with_writer(std::io::stderr),
            )
            .with(filter)
            .try_init(),
    };
    // Only a second call fails, and then the first one's choice stands.
    drop(set);
    Ok(Telemetry { provider })
}

/// What is recorded at all; the spans of traces only when they are exported.
///
/// A filter of the whole, not of the layer of log lines: with filters of layers, whoever asks whether an event would be
/// recorded, as the database's client does for each statement, and then records none, makes the thread's next line vanish
/// (test `a_line_survives_a_question_before_it`).
fn logs(default_filter: &str, exported: bool) -> EnvFilter {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let level = if exported { "info" } else { "off" };
    let of_spans = format!("{}={level}", spans::TARGET)
        .parse()
        .expect("the directive is well-formed");
    filter.add_directive(of_spans)
}

/// Makes our spans into OpenTelemetry's, and nothing else: neither other crates' spans nor log lines, which have a way of
/// their own and may say more than a trace should.
fn traces_to<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target() == spans::TARGET)
        .with_max_level_hint(LevelFilter::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_filter(ours)
}

/// What is to be handed over before the process ends.
#[derive(Debug)]
#[must_use = "spans that are not flushed are lost"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// How long the last spans may take to be handed over: what the drain of a service leaves of its 5 s.
const FLUSH: Duration = Duration::from_millis(500);

impl Telemetry {
    /// Hands over the spans that still wait, within half a second; what a receiver does not take by then is lost.
    pub async fn flush(self) {
        let Some(provider) = self.provider else { return };
        // It blocks until the exporting thread answers.
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!("the last spans are lost: {error}");
        }
    }

    /// Hands over the spans that wait, and goes on. For tests and commands that look at what arrived; blocks.
    ///
    /// # Errors
    /// When the receiver does not take them.
    pub fn flush_now(&self) -> anyhow::Result<()> {
        match &self.provider {
            Some(provider) => Ok(provider.force_flush()?),
            None => Ok(()),
        }
    }
}

/// Begins each JSON line that is written inside a span with the ids of its trace and its span.
struct WithTrace<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Some(trace) = spans::current() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let rest = line.strip_prefix('{').unwrap_or(&line);
        let (trace, span) = (trace.trace_id(), trace.span_id());
        write!(writer, r#"{{"trace_id":"{trace}","span_id":"{span}",{rest}"#)
    }
}

/// Bounds of every histogram of seconds: from a commit on a fast disk to the longest wait that a customer bears.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// The recorder of this process; installed at the first call.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
            .expect("the list of bounds is not empty")
            .build_recorder();
        let handle = recorder.handle();
        // A recorder that somebody else installed keeps its place; ours then stays empty.
        drop(metrics::set_global_recorder(recorder));
        handle
    })
}
