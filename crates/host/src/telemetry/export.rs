//! Traces to an OpenTelemetry collector or store: OTLP over HTTP, from a thread of its own.
//!
//! Several services may run in one process, but a resource, which bears the name of the service, belongs to a whole exporter.
//! So each span says by an attribute whose it is ([`NameSpans`]), and [`ByService`] gives every service an exporter with a
//! resource of its own. (Tests: `one_trace_leads_from_the_request_through_every_service` in `e2e/tests/tracing.rs`.)

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use opentelemetry::{Context, KeyValue, Value, trace::Span as _, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{BatchSpanProcessor, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor},
};
use spans::Service;

/// The attribute of a span, and of a resource, that names the service.
const SERVICE_NAME: &str = "service.name";
/// What a span is called whose service is unknown. None is.
const UNKNOWN: &str = "belay";

/// Where traces go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Export {
    /// The base of the receiver, such as `http://127.0.0.1:4318`; none for what the environment says.
    url: Option<String>,
    /// The name of the one service of this process, where the environment gives it another.
    service: Option<String>,
}

impl Export {
    /// What OpenTelemetry's environment variables ask for; none when no endpoint is set, or export is switched off by
    /// `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none`.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let given = |name| get(name).filter(|value| !value.trim().is_empty());
        let off = given("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || given("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let endpoint = given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or(given("OTEL_EXPORTER_OTLP_ENDPOINT"));
        (!off && endpoint.is_some()).then(|| Self {
            url: None,
            service: given("OTEL_SERVICE_NAME"),
        })
    }

    /// To the receiver at `url`, whatever endpoint the environment names; its other variables count.
    #[must_use]
    pub fn to(url: &str) -> Self {
        Self {
            url: Some(url.trim_end_matches('/').to_owned()),
            service: None,
        }
    }

    /// Leaves every service its own name, for a process that runs several: one name for all would hide who does what.
    #[must_use]
    pub fn with_own_names(self) -> Self {
        Self {
            service: None,
            ..self
        }
    }

    /// Starts the thread that exports.
    ///
    /// # Errors
    /// An address that is none, or other settings of the environment that cannot be followed.
    pub(super) fn start(self) -> anyhow::Result<(SdkTracerProvider, SdkTracer)> {
        let exporter = ByService {
            export: self,
            exporters: Mutex::default(),
        };
        // Made once now, so that settings that cannot be followed are told at the start.
        exporter.of(UNKNOWN)?;
        // The sampler and the batches follow OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG and OTEL_BSP_*, by the SDK.
        let provider = SdkTracerProvider::builder()
            .with_span_processor(NameSpans)
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .build();
        let tracer = provider.tracer("belay");
        Ok((provider, tracer))
    }
}

/// Writes onto each span whose it is: see [`spans::Service`].
#[derive(Debug)]
pub(super) struct NameSpans;

impl SpanProcessor for NameSpans {
    fn on_start(&self, span: &mut Span, context: &Context) {
        if let Some(Service(name)) = context.get::<Service>() {
            span.set_attribute(KeyValue::new(SERVICE_NAME, name.clone()));
        }
    }

    fn on_end(&self, _span: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// An exporter for each service that has spans.
#[derive(Debug)]
struct ByService {
    export: Export,
    exporters: Mutex<HashMap<String, Arc<OtlpExporter>>>,
}

impl ByService {
    fn of(&self, service: &str) -> anyhow::Result<Arc<OtlpExporter>> {
        let mut exporters = self.exporters.lock().expect("no holder panics");
        if let Some(known) = exporters.get(service) {
            return Ok(known.clone());
        }
        let mut builder = OtlpExporter::builder().with_http();
        if let Some(url) = &self.export.url {
            builder = builder.with_endpoint(format!("{url}/v1/traces"));
        }
        let mut exporter = builder
            .build()
            .context("traces cannot be exported: look at --otlp and the variables OTEL_EXPORTER_OTLP_…")?;
        let shown = self.export.service.as_deref().unwrap_or(service).to_owned();
        // OTEL_RESOURCE_ATTRIBUTES are added by the builder, which knows them.
        let resource = Resource::builder()
            .with_attributes([
                KeyValue::new(SERVICE_NAME, shown),
                KeyValue::new("service.namespace", "belay"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            ])
            .build();
        exporter.set_resource(&resource);
        let exporter = Arc::new(exporter);
        exporters.insert(service.to_owned(), exporter.clone());
        Ok(exporter)
    }
}

impl SpanExporter for ByService {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut services: HashMap<String, Vec<SpanData>> = HashMap::new();
        for mut span in batch {
            services.entry(take_service(&mut span)).or_default().push(span);
        }
        let mut result = Ok(());
        for (service, spans) in services {
            let exporter = self
                .of(&service)
                .map_err(|error| OTelSdkError::InternalFailure(format!("{error:#}")))?;
            let count = spans.len() as u64;
            match exporter.export(spans).await {
                Ok(()) => {
                    metrics::counter!("belay_spans_exported_total", "service" => service).increment(count)
                }
                Err(error) => {
                    metrics::counter!("belay_spans_lost_total", "service" => service).increment(count);
                    result = Err(error);
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let exporters = self.exporters.lock().expect("no holder panics");
        exporters
            .values()
            .try_for_each(|exporter| exporter.shutdown_with_timeout(timeout))
    }
}

/// Takes from the span whose it is: the resource says so.
fn take_service(span: &mut SpanData) -> String {
    let place = span
        .attributes
        .iter()
        .position(|attribute| attribute.key.as_str() == SERVICE_NAME);
    match place.map(|place| span.attributes.swap_remove(place).value) {
        Some(Value::String(name)) => name.to_string(),
        Some(_) | None => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Option<Export> {
        Export::from_variables(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn traces_are_off_without_an_endpoint() {
        assert_eq!(from(&[]), None);
        assert_eq!(from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), None);
        assert_eq!(from(&[("OTEL_SERVICE_NAME", "shop-orders")]), None);
    }

    #[test]
    fn an_endpoint_switches_them_on_and_the_switches_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        let named = from(&[endpoint, ("OTEL_SERVICE_NAME", "shop-orders")]).unwrap();
        assert_eq!(named.service.as_deref(), Some("shop-orders"));
        assert_eq!(named.with_own_names(), Export::default());
        assert!(
            from(&[(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://127.0.0.1:4318/v1/traces"
            )])
            .is_some()
        );
        assert_eq!(from(&[endpoint, ("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(from(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), None);
    }
}
