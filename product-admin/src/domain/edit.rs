//! What staff may change of a product that is there: its words, its price, its status, and what was counted of it.

use contracts::{
    http::{AdjustInventory, Refusal, UpdateProduct},
    money::Money,
    product_admin::ProductChanged,
};

use super::{
    level::{NotAdjustable, ProductStatus},
    product::{MAX_DESCRIPTION, MAX_NAME, MAX_REASON, check_price, invalid, line, paragraph, refusal},
};

/// Changes of a product, every field checked. What is none stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The product's version that was looked at.
    pub expected_version: Option<i32>,
    /// What shoppers call it.
    pub name: Option<String>,
    /// More about it; the inner one is none when it goes.
    pub description: Option<Option<String>>,
    /// At least one minor unit.
    pub price: Option<Money>,
    /// Whether it is for sale.
    pub status: Option<ProductStatus>,
    /// Who says so.
    pub actor: String,
}

/// A correction of what is on hand, every field checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Units to add or, below zero, to take away; not zero.
    pub delta: i32,
    /// The stock's version that was looked at.
    pub expected_version: i32,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub actor: String,
}

impl Edit {
    /// Checks a request, and says everything that is wrong with it at once.
    ///
    /// # Errors
    /// One [`Refusal`] for each field that is to blame, with `INVALID` or `REQUIRED`.
    pub fn parse(request: &UpdateProduct) -> Result<Self, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let name = request
            .name
            .as_deref()
            .map(|text| line("name", text, MAX_NAME, &mut refusals));
        let description = request
            .description
            .as_deref()
            .map(|text| paragraph("description", text, MAX_DESCRIPTION, &mut refusals));
        if let Some(price) = request.price {
            check_price(price.minor, &mut refusals);
        }
        let status = request.status.as_deref().and_then(|word| match word.parse() {
            Ok(status) => Some(status),
            Err(_) => {
                refusals.push(invalid(&["status"], "The status is DRAFT, ACTIVE or ARCHIVED."));
                None
            }
        });
        let actor = line("actor", &request.actor, usize::MAX, &mut refusals);
        let names_nothing = request.name.is_none()
            && request.description.is_none()
            && request.price.is_none()
            && request.status.is_none();
        if names_nothing {
            refusals.push(Refusal {
                field: None,
                ..refusal("REQUIRED", &[], "Name at least one field to change.")
            });
        }
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(Self {
            expected_version: request.expected_version,
            name,
            description,
            price: request.price,
            status,
            actor,
        })
    }

    /// The product with these changes, its version and time untouched; none when it is so already.
    ///
    /// # Errors
    /// `VERSION_CONFLICT` when the product is not the one that was looked at.
    pub fn of(&self, product: &ProductChanged) -> Result<Option<ProductChanged>, Refusal> {
        if self
            .expected_version
            .is_some_and(|looked_at| looked_at != product.version)
        {
            return Err(version_conflict("product", product.version));
        }
        let mut changed = product.clone();
        if let Some(name) = &self.name {
            changed.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            changed.description.clone_from(description);
        }
        if let Some(Money { minor, currency }) = self.price {
            changed.price_minor = minor;
            changed.currency = currency;
        }
        if let Some(status) = self.status {
            status.as_str().clone_into(&mut changed.status);
        }
        Ok((changed != *product).then_some(changed))
    }
}

impl Correction {
    /// Checks a request, and says everything that is wrong with it at once.
    ///
    /// # Errors
    /// One [`Refusal`] for each field that is to blame, with `INVALID` or `REQUIRED`.
    pub fn parse(request: &AdjustInventory) -> Result<Self, Vec<Refusal>> {
        let mut refusals = Vec::new();
        if request.delta == 0 {
            refusals.push(invalid(&["delta"], "A correction by nothing corrects nothing."));
        }
        let reason = line("reason", &request.reason, MAX_REASON, &mut refusals);
        let actor = line("actor", &request.actor, usize::MAX, &mut refusals);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(Self {
            delta: request.delta,
            expected_version: request.expected_version,
            reason,
            actor,
        })
    }

    /// Refuses when the stock is not the one that was looked at.
    ///
    /// # Errors
    /// `VERSION_CONFLICT`.
    pub fn check(&self, stock_version: i32) -> Result<(), Refusal> {
        if self.expected_version == stock_version {
            return Ok(());
        }
        Err(version_conflict("stock", stock_version))
    }
}

/// The units cannot be corrected so.
#[must_use]
pub fn not_adjustable(error: NotAdjustable) -> Refusal {
    let code = match error {
        NotAdjustable::TooMany(_) => "INVALID",
        NotAdjustable::TooFew { .. } => "INSUFFICIENT_STOCK",
    };
    refusal(code, &["delta"], error.to_string())
}

fn version_conflict(what: &str, version: i32) -> Refusal {
    refusal(
        "VERSION_CONFLICT",
        &["expectedVersion"],
        format!("The {what} was changed in the meantime: its version is {version}. Look at it again."),
    )
}

#[cfg(test)]
mod tests {
    use contracts::{ids::ProductId, money::Currency};

    use super::*;

    fn product() -> ProductChanged {
        ProductChanged {
            product_id: ProductId(uuid::Uuid::nil()),
            sku: "ROPE-1".to_owned(),
            name: "Rope".to_owned(),
            description: Some("60 m".to_owned()),
            price_minor: 100,
            currency: Currency::EUR,
            status: "ACTIVE".to_owned(),
            availability: "IN_STOCK".to_owned(),
            version: 3,
            updated_at: 0,
        }
    }

    fn request() -> UpdateProduct {
        UpdateProduct {
            idempotency_key: uuid::Uuid::nil(),
            actor: "anna".to_owned(),
            expected_version: None,
            name: None,
            description: None,
            price: None,
            status: None,
        }
    }

    fn codes(refusals: &[Refusal]) -> Vec<&str> {
        refusals.iter().map(|refusal| refusal.code.as_str()).collect()
    }

    #[test]
    fn only_what_is_named_changes() {
        let edit = Edit::parse(&UpdateProduct {
            description: Some(" ".to_owned()),
            price: Some(Money::new(250, Currency::EUR)),
            ..request()
        })
        .unwrap();
        let changed = edit.of(&product()).unwrap().unwrap();
        let expected = ProductChanged {
            description: None,
            price_minor: 250,
            ..product()
        };
        assert_eq!(changed, expected);
        assert_eq!(edit.of(&expected).unwrap(), None, "it is so already");
    }

    #[test]
    fn what_was_not_looked_at_is_not_changed() {
        let edit = Edit::parse(&UpdateProduct {
            expected_version: Some(2),
            status: Some("ARCHIVED".to_owned()),
            ..request()
        })
        .unwrap();
        assert_eq!(edit.of(&product()).unwrap_err().code, "VERSION_CONFLICT");
        let mut seen = product();
        seen.version = 2;
        assert_eq!(edit.of(&seen).unwrap().unwrap().status, "ARCHIVED");
    }

    #[test]
    fn a_change_names_something_and_all_of_it_fits() {
        assert_eq!(codes(&Edit::parse(&request()).unwrap_err()), ["REQUIRED"]);
        let wrong = UpdateProduct {
            name: Some(" ".to_owned()),
            price: Some(Money::new(0, Currency::EUR)),
            status: Some("LOST".to_owned()),
            ..request()
        };
        assert_eq!(
            codes(&Edit::parse(&wrong).unwrap_err()),
            ["REQUIRED", "INVALID", "INVALID"]
        );
    }

    #[test]
    fn a_correction_corrects_something_and_says_why() {
        let request = AdjustInventory {
            idempotency_key: uuid::Uuid::nil(),
            actor: "anna".to_owned(),
            delta: 0,
            expected_version: 1,
            reason: " ".to_owned(),
        };
        assert_eq!(
            codes(&Correction::parse(&request).unwrap_err()),
            ["INVALID", "REQUIRED"]
        );
        let sound = AdjustInventory {
            delta: -1,
            reason: "Counted".to_owned(),
            ..request
        };
        let correction = Correction::parse(&sound).unwrap();
        assert!(correction.check(1).is_ok());
        assert_eq!(correction.check(2).unwrap_err().code, "VERSION_CONFLICT");
    }
}
