//! A participant's "no" in words that a shopper understands. The codes are the `UserErrorCode`s of the GraphQL schema.

use contracts::{
    consolidator::{PriceChange, Shortage},
    ids::ProductId,
    money::Money,
    orders::OrderRejected,
    payments::PaymentDeclined,
    product_admin::ReservationShortage,
};
use saga::Refusal;
use serde::Serialize;
use serde_json::{Value, json};

use crate::purchase::Purchase;

/// The consolidator found too few.
pub fn too_few(purchase: &Purchase, shortages: &[Shortage]) -> Refusal {
    let missing = shortages.iter().map(|s| (s.product_id, s.requested, s.available));
    insufficient(purchase, missing, shortages)
}

/// Product-admin could not hold enough.
pub fn short(purchase: &Purchase, shortages: &[ReservationShortage]) -> Refusal {
    let missing = shortages.iter().map(|s| (s.product_id, s.requested, s.available));
    insufficient(purchase, missing, shortages)
}

fn insufficient(
    purchase: &Purchase,
    missing: impl Iterator<Item = (ProductId, i32, i32)>,
    detail: &(impl Serialize + ?Sized),
) -> Refusal {
    let sentences: Vec<String> = missing
        .map(|(product, requested, available)| {
            let name = purchase.product_name(product);
            match available {
                ..=0 => format!("{name}: {requested} requested, none available"),
                _ => format!("{name}: {requested} requested, {available} available"),
            }
        })
        .collect();
    Refusal {
        code: "INSUFFICIENT_STOCK".to_owned(),
        message: format!("There is not enough in stock. {}.", sentences.join("; ")),
        detail: json(detail),
    }
}

/// The consolidator knows other prices.
pub fn prices_moved(purchase: &Purchase, changes: &[PriceChange]) -> Refusal {
    let sentences: Vec<String> = changes
        .iter()
        .map(|change| {
            let now = Money::new(change.actual_minor, change.currency);
            let name = purchase.product_name(change.product_id);
            format!(
                "{name}: {now} instead of {}",
                purchase.money(change.expected_minor)
            )
        })
        .collect();
    Refusal {
        code: "PRICE_CHANGED".to_owned(),
        message: format!("A price has changed since you saw it. {}.", sentences.join("; ")),
        detail: json(changes),
    }
}

/// Payments could not take the money.
pub fn declined(no: &PaymentDeclined) -> Refusal {
    Refusal {
        code: "PAYMENT_DECLINED".to_owned(),
        message: no.reason.clone(),
        detail: json!({ "paymentId": no.payment_id }),
    }
}

/// Orders would not place the order.
pub fn rejected(no: &OrderRejected) -> Refusal {
    Refusal {
        code: "STATE_CONFLICT".to_owned(),
        message: no.reason.clone(),
        detail: Value::Null,
    }
}

fn json(detail: &(impl Serialize + ?Sized)) -> Value {
    serde_json::to_value(detail).unwrap_or(Value::Null)
}
