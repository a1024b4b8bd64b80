//! One function for each kind of span. Each gives [`Span::none`] while tracing is off.
//!
//! Conventions: <https://opentelemetry.io/docs/specs/semconv/>, their parts on HTTP, messaging with Kafka, GraphQL and
//! databases.

use contracts::{
    ids::{MessageId, PurchaseId},
    trace::TraceContext,
};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    TARGET,
    context::{context_of, continue_from, span_context},
};

/// A request that a service answers. `route` is the template, such as `/products/{id}/restock`: ids stay out of the name.
/// [`finished`] adds the status.
#[must_use]
pub fn http_server(
    service: &str,
    method: &str,
    route: Option<&str>,
    trace: Option<TraceContext>,
    tracestate: Option<&str>,
) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "http.server",
        otel.name = %name(method, route),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error.type = Empty,
    );
    continue_from(&span, service, trace, tracestate);
    span
}

/// A request to another service. `first` is the first segment of its path. The query stays out: it may name a customer.
#[must_use]
pub fn http_client(method: &str, first: &str, host: &str, port: Option<u16>) -> Span {
    info_span!(
        target: TARGET,
        "http.client",
        otel.name = %name(method, Some(&format!("/{first}"))),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        server.address = host,
        server.port = port,
        http.response.status_code = Empty,
        error.type = Empty,
    )
}

/// Notes the status of an HTTP request, on either side of it. A server's span fails from 500 on, a client's from 400 on.
pub fn finished(span: &Span, status: u16, fails_from: u16) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", status);
    if status >= fails_from {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status);
    }
}

/// Notes that what the span stands for failed. `class` is one of few words, never a message with data in it.
pub fn failed(span: &Span, class: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", class);
}

/// The execution of one GraphQL operation, a child of the span that it is called in. The operation's own name is the
/// client's free choice, and is recorded as an attribute only.
#[must_use]
pub fn graphql(service: &str, operation: &str, operation_name: Option<&str>) -> Span {
    let span = info_span!(
        target: TARGET,
        "graphql",
        otel.name = operation,
        otel.kind = "server",
        otel.status_code = Empty,
        graphql.operation.type = operation,
        graphql.operation.name = operation_name,
        error.type = Empty,
    );
    if crate::current().is_none() {
        // A WebSocket's operations are in no HTTP request any more.
        continue_from(&span, service, None, None);
    }
    span
}

/// A row of the outbox on its way to Kafka, from the hand-over to the client to the broker's acknowledgement.
#[must_use]
pub fn send(
    service: &str,
    topic: &str,
    key: &str,
    message: MessageId,
    bytes: usize,
    trace: Option<TraceContext>,
    tracestate: Option<&str>,
) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "send",
        otel.name = %format_args!("send {topic}"),
        otel.kind = "producer",
        otel.status_code = Empty,
        messaging.system = "kafka",
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = topic,
        messaging.destination.partition.id = Empty,
        messaging.kafka.message.key = key,
        messaging.kafka.offset = Empty,
        messaging.message.id = %message,
        messaging.message.body.size = bytes,
        error.type = Empty,
    );
    continue_from(&span, service, trace, tracestate);
    span
}

/// A message at its consumer, from the opening of its batch to the commit. `belay.outcome` is recorded later.
#[must_use]
pub fn process(service: &str, group: &str, message: &Consumed<'_>) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "process",
        otel.name = %format_args!("process {}", message.topic),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "kafka",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = message.topic,
        messaging.destination.partition.id = %message.partition,
        messaging.consumer.group.name = group,
        messaging.kafka.message.key = message.key,
        messaging.kafka.offset = message.offset,
        messaging.message.id = %message.id,
        messaging.batch.message_count = message.batch,
        belay.message.type = message.message_type,
        belay.outcome = Empty,
        error.type = Empty,
    );
    continue_from(&span, service, message.trace, message.tracestate);
    span
}

/// What is known of a message that is consumed.
#[derive(Debug, Clone, Copy)]
pub struct Consumed<'a> {
    /// The topic it came from.
    pub topic: &'a str,
    /// The partition it came from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key: a purchase or a product.
    pub key: &'a str,
    /// Its own id.
    pub id: MessageId,
    /// Full name of its record.
    pub message_type: &'a str,
    /// How many messages share its transaction.
    pub batch: usize,
    /// The span that sent it.
    pub trace: Option<TraceContext>,
    /// The vendors' part.
    pub tracestate: Option<&'a str>,
}

/// The one transaction of a batch: a child of its first message's span, with links to those of the others.
#[must_use]
pub fn transaction<'a>(database: &str, messages: impl IntoIterator<Item = &'a Span>) -> Span {
    let mut messages = messages.into_iter();
    let Some(first) = messages.next().filter(|first| !first.is_disabled()) else {
        return Span::none();
    };
    let span = info_span!(
        target: TARGET,
        parent: first,
        "transaction",
        otel.name = "transaction",
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "postgresql",
        db.namespace = database,
        error.type = Empty,
    );
    for other in messages {
        if let Some(context) = context_of(other) {
            span.add_link(span_context(context, None));
        }
    }
    span
}

/// A participant that carries out, or undoes, one step of a purchase. `belay.outcome` is recorded later.
#[must_use]
pub fn operation(message: &Span, purchase: PurchaseId, step: &str, direction: &str) -> Span {
    info_span!(
        target: TARGET,
        parent: message,
        "step",
        otel.name = %format_args!("{step} {direction}"),
        otel.kind = "internal",
        belay.purchase.id = %purchase,
        belay.step = step,
        belay.direction = direction,
        belay.outcome = Empty,
    )
}

/// The orchestrator's decision on one input. `outcome` is the log's word for what became of the input; the steps that are
/// commanded now are recorded later as `belay.commands`.
#[must_use]
pub fn decision(message: Option<&Span>, purchase: PurchaseId, step: Option<&str>, outcome: &str) -> Span {
    match message {
        Some(message) => info_span!(
            target: TARGET,
            parent: message,
            "saga",
            otel.name = %format_args!("saga {outcome}"),
            otel.kind = "internal",
            belay.purchase.id = %purchase,
            belay.step = step,
            belay.outcome = outcome,
            belay.commands = Empty,
        ),
        None => info_span!(
            target: TARGET,
            "saga",
            otel.name = %format_args!("saga {outcome}"),
            otel.kind = "internal",
            belay.purchase.id = %purchase,
            belay.step = step,
            belay.outcome = outcome,
            belay.commands = Empty,
        ),
    }
}

/// Timers of sagas that have run out: the root of a trace of its own.
#[must_use]
pub fn timers(service: &str, due: usize) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "timers",
        otel.kind = "internal",
        belay.timers = due,
    );
    continue_from(&span, service, None, None);
    span
}

/// An e-mail on its way to the mail server. `trace` is the context kept with the notification, when it is sent later than the
/// message came. No address is recorded.
#[must_use]
pub fn smtp_send(service: &str, host: &str, port: Option<u16>, trace: Option<TraceContext>) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "smtp.send",
        otel.name = "send e-mail",
        otel.kind = "client",
        otel.status_code = Empty,
        network.protocol.name = "smtp",
        server.address = host,
        server.port = port,
        error.type = Empty,
    );
    continue_from(&span, service, trace, None);
    span
}

/// An e-mail that is written to a file in place of a mail server: the same name, so that a trace ends alike.
#[must_use]
pub fn mail_written(service: &str, trace: Option<TraceContext>) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "mail.written",
        otel.name = "send e-mail",
        otel.kind = "internal",
        otel.status_code = Empty,
        error.type = Empty,
    );
    continue_from(&span, service, trace, None);
    span
}

/// The name of an HTTP span: its method, and its route where it has one.
fn name(method: &str, route: Option<&str>) -> String {
    match route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}
