//! The verdict over one purchase: no async, SQL or clock.

use std::collections::{HashMap, HashSet};

use contracts::{
    consolidator::{PriceChange, Shortage, ValidateInventory},
    ids::ProductId,
    money::Currency,
};

/// A product as it is offered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Whether it is for sale.
    pub sale: Sale,
    /// Minor units of `currency` for one unit.
    pub price_minor: i64,
    /// Of the price.
    pub currency: Currency,
    /// Units that nobody has reserved.
    pub available: i32,
}

/// Whether a product is for sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sale {
    /// Its status is `ACTIVE`.
    Open,
    /// Its status is any other.
    Closed,
}

/// What can be said of a purchase.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Everything can be sold as asked.
    Possible,
    /// Some products are short: every one of them.
    Short(Vec<Shortage>),
    /// Everything is there, but some of it costs something else: every such product.
    PricesChanged(Vec<PriceChange>),
}

/// A command that contradicts itself. Nothing that a shopper did: it waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Nothing to validate.
    #[error("a validation without lines")]
    NoLines,
    /// Fewer than one unit.
    #[error("{quantity} units of product {product}: it must be at least 1")]
    Quantity {
        /// The product.
        product: ProductId,
        /// What was asked for.
        quantity: i32,
    },
    /// Two lines of one product.
    #[error("product {0} twice: a product stands in one line")]
    Twice(ProductId),
}

/// Compares a purchase with the offers. An unknown product and one that is not for sale have nothing available.
///
/// Shortages come before prices: a customer who agrees to a new price must not learn then that nothing is left.
///
/// # Errors
/// [`Contradiction`] for malformed lines.
pub fn examine(
    offers: &HashMap<ProductId, Offer>,
    command: &ValidateInventory,
) -> Result<Finding, Contradiction> {
    if command.lines.is_empty() {
        return Err(Contradiction::NoLines);
    }
    let mut seen = HashSet::with_capacity(command.lines.len());
    let (mut shortages, mut changes) = (Vec::new(), Vec::new());
    for line in &command.lines {
        let product_id = line.product_id;
        if line.quantity < 1 {
            return Err(Contradiction::Quantity {
                product: product_id,
                quantity: line.quantity,
            });
        }
        if !seen.insert(product_id) {
            return Err(Contradiction::Twice(product_id));
        }
        let Some(offer) = offers.get(&product_id).filter(|offer| offer.sale == Sale::Open) else {
            shortages.push(Shortage {
                product_id,
                requested: line.quantity,
                available: 0,
            });
            continue;
        };
        if line.quantity > offer.available {
            let available = offer.available;
            shortages.push(Shortage {
                product_id,
                requested: line.quantity,
                available,
            });
        }
        if (line.unit_price_minor, command.currency) != (offer.price_minor, offer.currency) {
            changes.push(PriceChange {
                product_id,
                expected_minor: line.unit_price_minor,
                actual_minor: offer.price_minor,
                currency: offer.currency,
            });
        }
    }
    if !shortages.is_empty() {
        return Ok(Finding::Short(shortages));
    }
    if !changes.is_empty() {
        return Ok(Finding::PricesChanged(changes));
    }
    Ok(Finding::Possible)
}

#[cfg(test)]
mod tests {
    use contracts::{consolidator::ValidateLine, ids::PurchaseId};
    use uuid::Uuid;

    use super::*;

    fn product(n: u128) -> ProductId {
        ProductId(Uuid::from_u128(n))
    }

    fn offer(price_minor: i64, available: i32) -> Offer {
        Offer {
            sale: Sale::Open,
            price_minor,
            currency: Currency::EUR,
            available,
        }
    }

    fn line(n: u128, quantity: i32, unit_price_minor: i64) -> ValidateLine {
        ValidateLine {
            product_id: product(n),
            quantity,
            unit_price_minor,
        }
    }

    fn shortage(n: u128, requested: i32, available: i32) -> Shortage {
        Shortage {
            product_id: product(n),
            requested,
            available,
        }
    }

    /// Three offers: 10 units at 5.00, none at 7.00, and 10 units at 9.00 that are not for sale.
    fn find(currency: Currency, lines: &[ValidateLine]) -> Result<Finding, Contradiction> {
        let offers = HashMap::from([
            (product(1), offer(500, 10)),
            (product(2), offer(700, 0)),
            (
                product(3),
                Offer {
                    sale: Sale::Closed,
                    ..offer(900, 10)
                },
            ),
        ]);
        let command = ValidateInventory {
            purchase_id: PurchaseId(Uuid::nil()),
            currency,
            lines: lines.to_vec(),
        };
        examine(&offers, &command)
    }

    #[test]
    fn a_purchase_up_to_the_last_unit_is_possible() {
        assert_eq!(find(Currency::EUR, &[line(1, 10, 500)]), Ok(Finding::Possible));
    }

    #[test]
    fn every_short_line_is_listed_and_an_unknown_or_closed_product_counts_as_empty() {
        let lines = [
            line(1, 11, 500),
            line(2, 1, 700),
            line(3, 1, 900),
            line(4, 2, 100),
        ];
        assert_eq!(
            find(Currency::EUR, &lines),
            Ok(Finding::Short(vec![
                shortage(1, 11, 10),
                shortage(2, 1, 0),
                shortage(3, 1, 0),
                shortage(4, 2, 0)
            ]))
        );
    }

    #[test]
    fn another_price_or_currency_is_a_changed_price() {
        let change = PriceChange {
            product_id: product(1),
            expected_minor: 499,
            actual_minor: 500,
            currency: Currency::EUR,
        };
        assert_eq!(
            find(Currency::EUR, &[line(1, 1, 499)]),
            Ok(Finding::PricesChanged(vec![change.clone()]))
        );
        let dollars = "USD".parse().unwrap();
        assert_eq!(
            find(dollars, &[line(1, 1, 500)]),
            Ok(Finding::PricesChanged(vec![PriceChange {
                expected_minor: 500,
                ..change
            }]))
        );
    }

    #[test]
    fn a_shortage_comes_before_a_changed_price() {
        let lines = [line(1, 1, 499), line(2, 1, 1)];
        assert_eq!(
            find(Currency::EUR, &lines),
            Ok(Finding::Short(vec![shortage(2, 1, 0)]))
        );
    }

    #[test]
    fn lines_that_contradict_themselves_are_no_business_refusal() {
        assert_eq!(find(Currency::EUR, &[]), Err(Contradiction::NoLines));
        for quantity in [0, -1, i32::MIN] {
            let wrong = Contradiction::Quantity {
                product: product(1),
                quantity,
            };
            assert_eq!(find(Currency::EUR, &[line(1, quantity, 500)]), Err(wrong));
        }
        let twice = [line(1, 1, 500), line(1, 1, 500)];
        assert_eq!(find(Currency::EUR, &twice), Err(Contradiction::Twice(product(1))));
    }
}
