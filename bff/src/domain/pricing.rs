//! What a customer asks for, and what it costs: the checks of `submitPurchase`.
//!
//! Availability is no reason to refuse here. The catalogue's is a hint; reserving decides.

use std::collections::{HashMap, HashSet};

use contracts::{
    ids::ProductId,
    money::{Currency, Money},
    purchase_manager::PurchaseLine,
};
use rust_decimal::Decimal;
use serde::Serialize;

use super::{
    Refusal,
    product::Product,
    words::{ProductStatus, UserErrorCode},
};

/// Lines of one purchase at most: a saga's messages carry them all.
pub(crate) const MAX_LINES: usize = 50;
/// Units of one product in one purchase at most.
pub(crate) const MAX_QUANTITY: i32 = 10_000;
/// Characters of a note at most.
pub(crate) const MAX_NOTE_CHARACTERS: usize = 500;

/// What a customer asks for. Its JSON form is what the idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PurchaseRequest {
    pub lines: Vec<LineRequest>,
    pub payment_method_token: String,
    pub home_delivery: bool,
    pub note: Option<String>,
}

/// One product that a customer asks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LineRequest {
    /// None when the id in the request is no product's id.
    pub product: Option<ProductId>,
    pub quantity: i32,
    pub expected: Option<ExpectedPrice>,
}

/// What the customer was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ExpectedPrice {
    /// The decimal without trailing zeros, so that 5.0 and 5.00 are the same request.
    #[serde(serialize_with = "as_text")]
    pub amount: Decimal,
    pub currency: Currency,
}

fn as_text<S: serde::Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&amount.normalize())
}

/// What this shop takes.
#[derive(Debug, Clone)]
pub(crate) struct Shop {
    pub currency: Currency,
    pub payment_methods: Vec<String>,
}

/// Minor units that a product may cost at most: a full purchase of it still fits 64 bits.
pub(crate) const MAX_PRICE_MINOR: i64 = 1_000_000_000_000;

impl Shop {
    /// The minor units of a product's price in this shop, or why it cannot be one. The field at fault is one of `price`.
    pub fn price(&self, amount: Decimal, currency: Currency) -> Result<i64, Refusal> {
        if currency != self.currency {
            let message = format!("This shop sells in {}: give the price in {0}.", self.currency);
            return Err(Refusal::new(UserErrorCode::CurrencyMismatch, message).at(["price", "currency"]));
        }
        let most = Money::new(MAX_PRICE_MINOR, currency);
        let message = match minor_units(amount, currency) {
            Some(minor) if minor <= MAX_PRICE_MINOR => return Ok(minor),
            None if amount.normalize().scale() > currency.exponent() => format!(
                "A price in {currency} has at most {} decimal digits.",
                currency.exponent()
            ),
            Some(_) | None => format!("A price is {most} at most."),
        };
        Err(Refusal::new(UserErrorCode::Invalid, message).at(["price", "amount"]))
    }
}

/// A request at the catalogue's prices.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Priced {
    pub lines: Vec<PurchaseLine>,
    pub total: Money,
}

/// Minor units of a decimal amount; none when it has more digits than the currency or leaves 64 bits.
pub(crate) fn minor_units(amount: Decimal, currency: Currency) -> Option<i64> {
    let scaled = amount.checked_mul(Decimal::from(10_i64.pow(currency.exponent())))?;
    if scaled.is_integer() {
        i64::try_from(scaled).ok()
    } else {
        None
    }
}

/// Checks a request and prices it, or says everything that is wrong with it.
pub(crate) fn price(
    request: &PurchaseRequest,
    catalogue: &HashMap<ProductId, Product>,
    shop: &Shop,
) -> Result<Priced, Vec<Refusal>> {
    let mut refusals = Vec::new();
    check_whole(request, shop, &mut refusals);
    let mut seen = HashSet::new();
    let mut lines = Vec::with_capacity(request.lines.len());
    // No more than one over the limit is looked at: that is enough to say no.
    for (index, line) in request.lines.iter().take(MAX_LINES).enumerate() {
        match check_line(index, line, catalogue, shop, &mut seen) {
            Ok(priced) => lines.push(priced),
            Err(mut wrong) => refusals.append(&mut wrong),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let minor = lines.iter().try_fold(0_i64, |sum, line| {
        sum.checked_add(line.unit_price_minor.checked_mul(i64::from(line.quantity))?)
    });
    match minor {
        Some(minor) => Ok(Priced {
            lines,
            total: Money::new(minor, shop.currency),
        }),
        None => Err(vec![
            Refusal::new(
                UserErrorCode::Invalid,
                "The total is too large. Split the purchase.",
            )
            .at(["lines"]),
        ]),
    }
}

fn check_whole(request: &PurchaseRequest, shop: &Shop, refusals: &mut Vec<Refusal>) {
    if request.lines.is_empty() {
        refusals
            .push(Refusal::new(UserErrorCode::Required, "A purchase needs at least one line.").at(["lines"]));
    }
    if request.lines.len() > MAX_LINES {
        let message = format!("A purchase has at most {MAX_LINES} lines. Split it.");
        refusals.push(Refusal::new(UserErrorCode::Invalid, message).at(["lines"]));
    }
    if !shop.payment_methods.contains(&request.payment_method_token) {
        let message = format!(
            "This payment method is not known here. Use one of: {}.",
            shop.payment_methods.join(", ")
        );
        refusals.push(Refusal::new(UserErrorCode::Invalid, message).at(["paymentMethodToken"]));
    }
    if request
        .note
        .as_ref()
        .is_some_and(|note| note.chars().count() > MAX_NOTE_CHARACTERS)
    {
        let message = format!("A note has at most {MAX_NOTE_CHARACTERS} characters. Shorten it.");
        refusals.push(Refusal::new(UserErrorCode::Invalid, message).at(["note"]));
    }
}

fn check_line(
    index: usize,
    line: &LineRequest,
    catalogue: &HashMap<ProductId, Product>,
    shop: &Shop,
    seen: &mut HashSet<ProductId>,
) -> Result<PurchaseLine, Vec<Refusal>> {
    let place = |field: &str| ["lines".to_owned(), index.to_string(), field.to_owned()];
    let mut refusals = Vec::new();
    if !(1..=MAX_QUANTITY).contains(&line.quantity) {
        let message = format!("The quantity must be between 1 and {MAX_QUANTITY}.");
        refusals.push(Refusal::new(UserErrorCode::Invalid, message).at(place("quantity")));
    }
    let Some(id) = line.product else {
        let message = "This is not the id of a product. Take it from `products { nodes { id } }`.";
        refusals.push(Refusal::new(UserErrorCode::Invalid, message).at(place("productId")));
        return Err(refusals);
    };
    if !seen.insert(id) {
        let message = "This product is in the purchase already. Put all of it on one line.";
        refusals.push(Refusal::new(UserErrorCode::Invalid, message).at(place("productId")));
        return Err(refusals);
    }
    let Some(product) = catalogue.get(&id) else {
        let message = "There is no such product.";
        refusals.push(Refusal::new(UserErrorCode::NotFound, message).at(place("productId")));
        return Err(refusals);
    };
    let on_sale = match product.status {
        ProductStatus::Active => true,
        ProductStatus::Draft | ProductStatus::Archived => false,
    };
    if !on_sale {
        let message = "This product is not on sale.";
        refusals.push(Refusal::new(UserErrorCode::ProductUnavailable, message).at(place("productId")));
    } else if product.price.currency != shop.currency {
        let message = format!(
            "This product is priced in {}, and this shop sells in {}.",
            product.price.currency, shop.currency
        );
        refusals.push(Refusal::new(UserErrorCode::CurrencyMismatch, message).at(place("productId")));
    } else if let Some(refusal) = line
        .expected
        .as_ref()
        .and_then(|expected| check_expected(expected, product))
    {
        refusals.push(refusal.at(place("expectedUnitPrice")));
    }
    if refusals.is_empty() {
        Ok(PurchaseLine {
            product_id: id,
            sku: product.sku.clone(),
            name: product.name.clone(),
            quantity: line.quantity,
            unit_price_minor: product.price.minor,
        })
    } else {
        Err(refusals)
    }
}

fn check_expected(expected: &ExpectedPrice, product: &Product) -> Option<Refusal> {
    let price = product.price;
    if expected.currency != price.currency {
        let message = format!("The price of this product is in {}.", price.currency);
        return Some(Refusal::new(UserErrorCode::CurrencyMismatch, message));
    }
    match minor_units(expected.amount, expected.currency) {
        None => {
            let message = format!(
                "{} has {} decimal digits.",
                expected.currency,
                expected.currency.exponent()
            );
            Some(Refusal::new(UserErrorCode::Invalid, message))
        }
        Some(minor) if minor == price.minor => None,
        Some(_) => {
            let message = format!("The price is {price} now. Confirm it and submit again.");
            Some(Refusal::new(UserErrorCode::PriceChanged, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::words::Availability;

    fn product(id: u128, price_minor: i64) -> Product {
        Product {
            id: ProductId(uuid::Uuid::from_u128(id)),
            sku: format!("SKU-{id}"),
            name: "A thing".to_owned(),
            description: None,
            price: Money::new(price_minor, Currency::EUR),
            status: ProductStatus::Active,
            availability: Availability::OutOfStock,
            version: 1,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    fn catalogue(products: impl IntoIterator<Item = Product>) -> HashMap<ProductId, Product> {
        products
            .into_iter()
            .map(|product| (product.id, product))
            .collect()
    }

    fn line(id: u128, quantity: i32) -> LineRequest {
        LineRequest {
            product: Some(ProductId(uuid::Uuid::from_u128(id))),
            quantity,
            expected: None,
        }
    }

    fn request(lines: Vec<LineRequest>) -> PurchaseRequest {
        PurchaseRequest {
            lines,
            payment_method_token: "tok_ok".to_owned(),
            home_delivery: false,
            note: None,
        }
    }

    fn expecting(amount: &str, currency: &str) -> Option<ExpectedPrice> {
        Some(ExpectedPrice {
            amount: amount.parse().unwrap(),
            currency: currency.parse().unwrap(),
        })
    }

    fn shop() -> Shop {
        Shop {
            currency: Currency::EUR,
            payment_methods: vec!["tok_ok".to_owned(), "tok_declined".to_owned()],
        }
    }

    /// Code and path of every refusal.
    fn refused(
        request: &PurchaseRequest,
        catalogue: &HashMap<ProductId, Product>,
    ) -> Vec<(UserErrorCode, String)> {
        let refusals = price(request, catalogue, &shop()).unwrap_err();
        refusals
            .into_iter()
            .map(|refusal| (refusal.code, refusal.field.unwrap().join(".")))
            .collect()
    }

    #[test]
    fn a_purchase_is_priced_from_the_catalogue_even_when_that_says_out_of_stock() {
        let priced = price(
            &request(vec![line(1, 2), line(2, 1)]),
            &catalogue([product(1, 250), product(2, 1)]),
            &shop(),
        );
        let priced = priced.unwrap();
        assert_eq!(priced.total, Money::new(501, Currency::EUR));
        assert_eq!(priced.lines[0].unit_price_minor, 250);
    }

    #[test]
    fn lines_are_neither_none_nor_too_many() {
        assert_eq!(
            refused(&request(Vec::new()), &catalogue([])),
            [(UserErrorCode::Required, "lines".to_owned())]
        );
        let many: Vec<_> = (0..51).map(|id| line(id, 1)).collect();
        let all = catalogue((0..51).map(|id| product(id, 1)));
        assert_eq!(
            refused(&request(many), &all),
            [(UserErrorCode::Invalid, "lines".to_owned())]
        );
    }

    #[test]
    fn every_wrong_line_is_named() {
        let mut archived = product(3, 1);
        archived.status = ProductStatus::Archived;
        let mut foreign = product(4, 1);
        foreign.price = Money::new(1, "USD".parse().unwrap());
        let lines = vec![
            line(1, 0),
            line(1, 1),
            line(2, 1),
            line(3, 1),
            line(4, 10_001),
            LineRequest {
                product: None,
                quantity: 1,
                expected: None,
            },
        ];
        assert_eq!(
            refused(&request(lines), &catalogue([product(1, 1), archived, foreign])),
            [
                (UserErrorCode::Invalid, "lines.0.quantity".to_owned()),
                (UserErrorCode::Invalid, "lines.1.productId".to_owned()),
                (UserErrorCode::NotFound, "lines.2.productId".to_owned()),
                (UserErrorCode::ProductUnavailable, "lines.3.productId".to_owned()),
                (UserErrorCode::Invalid, "lines.4.quantity".to_owned()),
                (UserErrorCode::CurrencyMismatch, "lines.4.productId".to_owned()),
                (UserErrorCode::Invalid, "lines.5.productId".to_owned()),
            ]
        );
    }

    #[test]
    fn an_expected_price_must_be_the_catalogues() {
        let all = catalogue([product(1, 250)]);
        let with = |expected| {
            request(vec![LineRequest {
                expected,
                ..line(1, 1)
            }])
        };
        let place = "lines.0.expectedUnitPrice".to_owned();
        assert!(price(&with(expecting("2.5", "EUR")), &all, &shop()).is_ok());
        assert_eq!(
            refused(&with(expecting("2.49", "EUR")), &all),
            [(UserErrorCode::PriceChanged, place.clone())]
        );
        assert_eq!(
            refused(&with(expecting("2.501", "EUR")), &all),
            [(UserErrorCode::Invalid, place.clone())]
        );
        assert_eq!(
            refused(&with(expecting("2.50", "USD")), &all),
            [(UserErrorCode::CurrencyMismatch, place)]
        );
    }

    #[test]
    fn token_note_and_total_have_limits() {
        let all = catalogue([product(1, i64::MAX / 2)]);
        let mut wrong = request(vec![line(1, 1)]);
        wrong.payment_method_token = "tok_gold".to_owned();
        wrong.note = Some("x".repeat(501));
        assert_eq!(
            refused(&wrong, &all),
            [
                (UserErrorCode::Invalid, "paymentMethodToken".to_owned()),
                (UserErrorCode::Invalid, "note".to_owned())
            ]
        );
        assert_eq!(
            refused(&request(vec![line(1, 3)]), &all),
            [(UserErrorCode::Invalid, "lines".to_owned())]
        );
    }

    #[test]
    fn a_price_is_in_the_shops_currency_and_fits() {
        let shop = shop();
        let price = |amount: &str, currency: &str| {
            let priced = shop.price(amount.parse().unwrap(), currency.parse().unwrap());
            priced.map_err(|refusal| (refusal.code, refusal.field.unwrap_or_default().join(".")))
        };
        assert_eq!(price("12.50", "EUR"), Ok(1_250));
        assert_eq!(
            price("12.50", "USD"),
            Err((UserErrorCode::CurrencyMismatch, "price.currency".to_owned()))
        );
        for wrong in ["0.001", "99999999999999999.00", "10000000000.01"] {
            assert_eq!(
                price(wrong, "EUR"),
                Err((UserErrorCode::Invalid, "price.amount".to_owned())),
                "{wrong}"
            );
        }
    }

    #[test]
    fn amounts_become_minor_units_exactly_or_not_at_all() {
        let eur = |text: &str| minor_units(text.parse().unwrap(), Currency::EUR);
        assert_eq!(eur("1000.01"), Some(100_001));
        assert_eq!(eur("0.005"), None);
        assert_eq!(eur("99999999999999999999"), None);
        assert_eq!(minor_units("7".parse().unwrap(), "JPY".parse().unwrap()), Some(7));
    }
}
