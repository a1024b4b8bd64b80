//! What a product may be called and cost, and what is said about a request that does not fit.

use contracts::{
    http::{CreateProduct, Refusal, Restock},
    ids::ProductId,
    money::Currency,
};

use super::level::TooMany;

/// Characters of a SKU at most: it must fit a label.
pub const MAX_SKU: usize = 64;
/// Characters of a name at most: it must fit a line of a page.
pub const MAX_NAME: usize = 200;
/// Characters of a description at most.
pub const MAX_DESCRIPTION: usize = 4000;
/// Characters of a reason at most.
pub const MAX_REASON: usize = 500;

/// A product to be entered, every field checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    /// What staff call it.
    pub sku: String,
    /// What shoppers call it.
    pub name: String,
    /// More about it.
    pub description: Option<String>,
    /// Minor units, at least 1.
    pub price_minor: i64,
    /// Of the price.
    pub currency: Currency,
    /// Units, at least 0.
    pub initial_stock: i32,
}

/// Units to be put on the shelf, every field checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Of which product.
    pub product_id: ProductId,
    /// Units, at least 1.
    pub quantity: i32,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub actor: String,
}

impl NewProduct {
    /// Checks a request, and says everything that is wrong with it at once.
    ///
    /// # Errors
    /// One [`Refusal`] for each field that is to blame, with `INVALID` or `REQUIRED`.
    pub fn parse(request: &CreateProduct) -> Result<Self, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let sku = line("sku", &request.sku, MAX_SKU, &mut refusals);
        let name = line("name", &request.name, MAX_NAME, &mut refusals);
        let description = request
            .description
            .as_deref()
            .and_then(|text| paragraph("description", text, MAX_DESCRIPTION, &mut refusals));
        check_price(request.price_minor, &mut refusals);
        if request.initial_stock < 0 {
            refusals.push(invalid(
                &["initialStock"],
                "The initial stock must not be below zero.",
            ));
        }
        line("actor", &request.actor, usize::MAX, &mut refusals);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(Self {
            sku,
            name,
            description,
            price_minor: request.price_minor,
            currency: request.currency,
            initial_stock: request.initial_stock,
        })
    }
}

impl Delivery {
    /// Checks a request, and says everything that is wrong with it at once.
    ///
    /// # Errors
    /// One [`Refusal`] for each field that is to blame, with `INVALID` or `REQUIRED`.
    pub fn parse(product_id: ProductId, request: &Restock) -> Result<Self, Vec<Refusal>> {
        let mut refusals = Vec::new();
        if request.quantity < 1 {
            refusals.push(invalid(&["quantity"], "The quantity must be at least 1."));
        }
        let reason = line("reason", &request.reason, MAX_REASON, &mut refusals);
        let actor = line("actor", &request.actor, usize::MAX, &mut refusals);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(Self {
            product_id,
            quantity: request.quantity,
            reason,
            actor,
        })
    }
}

/// Another product has the SKU.
#[must_use]
pub fn duplicate_sku(sku: &str) -> Refusal {
    refusal(
        "DUPLICATE_SKU",
        &["sku"],
        format!("There is a product with the SKU {sku} already."),
    )
}

/// There is no such product.
#[must_use]
pub fn unknown_product() -> Refusal {
    refusal("NOT_FOUND", &["productId"], "There is no such product.")
}

/// The shelf is full.
#[must_use]
pub fn too_many(error: TooMany) -> Refusal {
    invalid(&["quantity"], error.to_string())
}

/// The idempotency key came with another request before.
#[must_use]
pub fn key_reused() -> Refusal {
    refusal(
        "IDEMPOTENCY_KEY_REUSED",
        &["idempotencyKey"],
        "This idempotency key was used for another request. Draw a new one for a new request.",
    )
}

/// A text of several lines, trimmed; none when nothing is left.
pub(super) fn paragraph(field: &str, text: &str, most: usize, refusals: &mut Vec<Refusal>) -> Option<String> {
    let text = text.trim();
    let of_lines = |c| matches!(c, '\n' | '\r' | '\t');
    check_text(field, text, most, of_lines, refusals);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Refuses a price that is none.
pub(super) fn check_price(minor: i64, refusals: &mut Vec<Refusal>) {
    if minor < 1 {
        refusals.push(invalid(&["price", "amount"], "The price must be above zero."));
    }
}

/// A required text of one line, trimmed.
pub(super) fn line(field: &str, text: &str, most: usize, refusals: &mut Vec<Refusal>) -> String {
    let text = text.trim();
    if text.is_empty() {
        refusals.push(refusal(
            "REQUIRED",
            &[field],
            format!("The field {field} must not be empty."),
        ));
    } else {
        check_text(field, text, most, |_| false, refusals);
    }
    text.to_owned()
}

/// Refuses text that is too long, and control characters: PostgreSQL cannot store a zero byte, and the others break
/// the lines of lists and logs.
fn check_text(field: &str, text: &str, most: usize, allowed: fn(char) -> bool, refusals: &mut Vec<Refusal>) {
    if text.chars().count() > most {
        refusals.push(invalid(
            &[field],
            format!("The field {field} must have at most {most} characters."),
        ));
    }
    if text.chars().any(|c| c.is_control() && !allowed(c)) {
        refusals.push(invalid(
            &[field],
            format!("The field {field} must not contain control characters."),
        ));
    }
}

pub(super) fn invalid(field: &[&str], message: impl Into<String>) -> Refusal {
    refusal("INVALID", field, message)
}

pub(super) fn refusal(code: &str, field: &[&str], message: impl Into<String>) -> Refusal {
    Refusal {
        code: code.to_owned(),
        message: message.into(),
        field: Some(field.iter().map(|&part| part.to_owned()).collect()),
        retryable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CreateProduct {
        CreateProduct {
            idempotency_key: uuid::Uuid::nil(),
            actor: "anna".to_owned(),
            sku: " ROPE-1 ".to_owned(),
            name: "Rope".to_owned(),
            description: Some("  ".to_owned()),
            price_minor: 1,
            currency: Currency::EUR,
            initial_stock: 0,
        }
    }

    fn blamed(refusals: &[Refusal]) -> Vec<(&str, String)> {
        let field = |r: &Refusal| r.field.as_deref().unwrap_or_default().join(".");
        refusals.iter().map(|r| (r.code.as_str(), field(r))).collect()
    }

    #[test]
    fn a_sound_product_is_trimmed_and_taken() {
        let product = NewProduct::parse(&request()).unwrap();
        assert_eq!((product.sku.as_str(), product.description), ("ROPE-1", None));
    }

    #[test]
    fn everything_wrong_with_a_product_is_said_at_once() {
        let refusals = NewProduct::parse(&CreateProduct {
            sku: " ".to_owned(),
            name: "a\0b".to_owned(),
            description: Some("x".repeat(MAX_DESCRIPTION + 1)),
            price_minor: 0,
            initial_stock: -1,
            ..request()
        })
        .unwrap_err();
        assert_eq!(
            blamed(&refusals),
            [
                ("REQUIRED", "sku".to_owned()),
                ("INVALID", "name".to_owned()),
                ("INVALID", "description".to_owned()),
                ("INVALID", "price.amount".to_owned()),
                ("INVALID", "initialStock".to_owned()),
            ]
        );
    }

    #[test]
    fn a_delivery_has_units_and_a_reason() {
        let request = Restock {
            idempotency_key: uuid::Uuid::nil(),
            actor: "anna".to_owned(),
            quantity: 0,
            reason: "\t".to_owned(),
        };
        let refusals = Delivery::parse(ProductId(uuid::Uuid::nil()), &request).unwrap_err();
        assert_eq!(
            blamed(&refusals),
            [
                ("INVALID", "quantity".to_owned()),
                ("REQUIRED", "reason".to_owned())
            ]
        );
    }
}
