//! From a purchase to a mail: subject, text and HTML. Pure, and the same bytes every time.

use std::fmt::Write;

use contracts::{
    money::{Currency, Money},
    purchase_manager::PurchaseLine,
};

use crate::domain::{Outcome, Purchase};

/// What the customer reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// In one line.
    pub subject: String,
    /// For who reads text.
    pub text: String,
    /// The same for who reads HTML.
    pub html: String,
}

/// The parts that text and HTML have in common. Nothing in it is escaped.
struct Content {
    greeting: String,
    opening: String,
    /// Why it was turned back.
    reason: Option<String>,
    /// What that means for the money, or what comes next.
    consequence: &'static str,
    total: String,
}

/// Writes the mail for this outcome, to a customer of this name if it is known.
#[must_use]
pub fn write(outcome: Outcome, purchase: &Purchase, name: Option<&str>) -> Letter {
    let content = content(outcome, purchase, name);
    Letter {
        subject: subject(outcome, &purchase.reference),
        text: text(&content, purchase),
        html: html(&content, purchase),
    }
}

fn subject(outcome: Outcome, reference: &str) -> String {
    match outcome {
        Outcome::Completed => format!("Your purchase {reference} is complete"),
        Outcome::Rejected => format!("Your purchase {reference} could not be completed"),
        Outcome::Cancelled => format!("Your purchase {reference} is cancelled"),
    }
}

fn content(outcome: Outcome, purchase: &Purchase, name: Option<&str>) -> Content {
    let reference = &purchase.reference;
    let reason = purchase.failure.as_ref().map(|failure| failure.message.clone());
    let (opening, reason, consequence) = match outcome {
        Outcome::Completed => (
            format!("thank you for your purchase {reference}. It is paid, and the goods are yours."),
            None,
            if purchase.home_delivery {
                "We bring the goods to your home."
            } else {
                "The goods are ready to be fetched."
            },
        ),
        Outcome::Rejected => (
            format!("your purchase {reference} could not be completed."),
            Some(reason.unwrap_or_else(|| "Something that it needed was not available.".to_owned())),
            "Nothing is reserved for it any more, and you have not been charged.",
        ),
        Outcome::Cancelled => (
            format!("your purchase {reference} is cancelled."),
            reason,
            "Nothing is reserved for it any more. Money that was held for it has been released.",
        ),
    };
    Content {
        greeting: name.map_or_else(|| "Hello,".to_owned(), |name| format!("Hello {name},")),
        opening,
        reason,
        consequence,
        total: Money::new(purchase.total_minor, purchase.currency).to_string(),
    }
}

/// What one line costs. One that leaves 64 bits, which pricing excludes, is told by its unit price.
fn amount(line: &PurchaseLine, currency: Currency) -> String {
    let unit = Money::new(line.unit_price_minor, currency);
    unit.times(line.quantity)
        .map_or_else(|_| format!("{unit} each"), |total| total.to_string())
}

fn text(content: &Content, purchase: &Purchase) -> String {
    let mut out = format!("{}\n\n{}\n", content.greeting, content.opening);
    if let Some(reason) = &content.reason {
        let _ = write!(out, "\n{reason}\n");
    }
    out.push('\n');
    for line in &purchase.lines {
        let amount = amount(line, purchase.currency);
        let _ = writeln!(out, "  {} x {}  {amount}", line.quantity, line.name);
    }
    let _ = writeln!(out, "  Total  {}", content.total);
    let _ = write!(
        out,
        "\n{}\n\nTo ask about it, tell us its number: {}\n",
        content.consequence, purchase.reference
    );
    out
}

fn html(content: &Content, purchase: &Purchase) -> String {
    let paragraph = |words: &str| format!("<p>{}</p>\n", escaped(words));
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<body style=\"font-family: sans-serif; line-height: 1.4\">\n",
    );
    out.push_str(&paragraph(&content.greeting));
    out.push_str(&paragraph(&content.opening));
    if let Some(reason) = &content.reason {
        let _ = writeln!(out, "<p><strong>{}</strong></p>", escaped(reason));
    }
    out.push_str("<table cellpadding=\"4\">\n");
    for line in &purchase.lines {
        let _ = writeln!(
            out,
            "<tr><td align=\"right\">{} ×</td><td>{}</td><td align=\"right\">{}</td></tr>",
            line.quantity,
            escaped(&line.name),
            escaped(&amount(line, purchase.currency))
        );
    }
    let _ = writeln!(
        out,
        "<tr><td></td><td><strong>Total</strong></td><td align=\"right\"><strong>{}</strong></td></tr>\n</table>",
        escaped(&content.total)
    );
    out.push_str(&paragraph(content.consequence));
    out.push_str(&paragraph(&format!(
        "To ask about it, tell us its number: {}",
        purchase.reference
    )));
    out.push_str("</body>\n</html>\n");
    out
}

/// `text` for the inside of an HTML element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
