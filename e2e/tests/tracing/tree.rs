//! The spans of one trace: whether they hang together, and how they read.

use std::fmt::Write;

use crate::receiver::Span;

/// One trace.
#[derive(Debug)]
pub struct Tree {
    /// The span of the caller, who is not part of the system.
    caller: String,
    spans: Vec<Span>,
}

impl Tree {
    /// The spans of `trace`, which `caller` began.
    pub fn of(all: Vec<Span>, trace: &str, caller: &str) -> Self {
        let mut spans: Vec<Span> = all.into_iter().filter(|span| span.trace == trace).collect();
        spans.sort_by_key(|span| (span.start_nanos, span.end_nanos));
        Self {
            caller: caller.to_owned(),
            spans,
        }
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Spans whose parent is neither the caller nor among them.
    pub fn orphans(&self) -> Vec<&Span> {
        let is_known = |id: &str| id == self.caller || self.spans.iter().any(|span| span.id == id);
        self.spans.iter().filter(|span| !is_known(&span.parent)).collect()
    }

    /// How many spans have that service and name.
    pub fn count(&self, service: &str, name: &str) -> usize {
        let is_it = |span: &&Span| span.service == service && span.name == name;
        self.spans.iter().filter(is_it).count()
    }

    /// A span's parent; none for the root.
    pub fn parent(&self, span: &Span) -> Option<&Span> {
        self.spans.iter().find(|other| other.id == span.parent)
    }

    /// The tree as text, one line a span: when it began, how long it took, whose it is, what it is.
    pub fn listing(&self) -> String {
        let mut text = String::new();
        self.list(&self.caller, 0, &mut text);
        text
    }

    fn list(&self, parent: &str, depth: usize, text: &mut String) {
        let start = self.spans.first().map_or(0, |span| span.start_nanos);
        let millis = |nanos: u64| nanos as f64 / 1e6;
        for span in self.spans.iter().filter(|span| span.parent == parent) {
            let name = format!("{}{}", " ".repeat(depth), span.name);
            let kind = format!("{:?}", span.kind).to_lowercase();
            let line = format!(
                "{:>8.1} {:>7.1}  {:<17} {:<9} {name:<56} {}",
                millis(span.start_nanos - start),
                millis(span.end_nanos.saturating_sub(span.start_nanos)),
                span.service,
                kind,
                told(span)
            );
            writeln!(text, "{}", line.trim_end()).unwrap();
            self.list(&span.id, depth + 1, text);
        }
    }
}

/// The attributes that tell a purchase's story.
fn told(span: &Span) -> String {
    let shown = [
        ("belay.step", "step"),
        ("belay.outcome", "outcome"),
        ("belay.commands", "commands"),
        ("http.response.status_code", "status"),
    ];
    let pairs = shown.iter().filter_map(|(name, short)| {
        let value = span.attribute(name);
        (!value.is_empty()).then(|| format!("{short}={value}"))
    });
    pairs.collect::<Vec<_>>().join(" ")
}
