//! What the saga of a purchase knows.

use contracts::{
    ids::{CustomerId, ProductId, PurchaseId},
    money::{Currency, Money},
    purchase_manager::{PurchaseLine, SubmitPurchase},
};
use serde::{Deserialize, Serialize};

/// The saga's data: the purchase as it was submitted. No step changes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Purchase {
    pub id: PurchaseId,
    pub customer_id: CustomerId,
    pub reference: String,
    pub lines: Vec<PurchaseLine>,
    pub currency: Currency,
    pub total_minor: i64,
    pub payment_method_token: String,
    pub home_delivery: bool,
    pub note: Option<String>,
    /// Microseconds since 1970 in UTC.
    pub submitted_at: i64,
}

/// A submission that contradicts itself. The edge never sends one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPurchase {
    /// There is nothing to buy.
    #[error("the purchase has no lines")]
    NoLines,
    /// A quantity below 1.
    #[error("the purchase asks for {quantity} units of {product_id}")]
    Quantity {
        /// The product.
        product_id: ProductId,
        /// Units asked for.
        quantity: i32,
    },
    /// The lines do not add up.
    #[error("the lines add up to {sum:?} minor units, not to {total}")]
    Total {
        /// The sum over the lines; none when it leaves 64 bits.
        sum: Option<i64>,
        /// What the submission says.
        total: i64,
    },
}

impl Purchase {
    /// The name of a product of this purchase, for people.
    #[must_use]
    pub fn product_name(&self, id: ProductId) -> &str {
        self.lines
            .iter()
            .find(|line| line.product_id == id)
            .map_or("a product", |line| line.name.as_str())
    }

    /// An amount in the purchase's currency, for people.
    #[must_use]
    pub fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.currency)
    }
}

impl TryFrom<SubmitPurchase> for Purchase {
    type Error = NotAPurchase;

    fn try_from(submitted: SubmitPurchase) -> Result<Self, Self::Error> {
        if submitted.lines.is_empty() {
            return Err(NotAPurchase::NoLines);
        }
        if let Some(line) = submitted.lines.iter().find(|line| line.quantity < 1) {
            return Err(NotAPurchase::Quantity {
                product_id: line.product_id,
                quantity: line.quantity,
            });
        }
        let sum = submitted.lines.iter().try_fold(0_i64, |sum, line| {
            line.unit_price_minor
                .checked_mul(i64::from(line.quantity))
                .and_then(|cost| sum.checked_add(cost))
        });
        if sum != Some(submitted.total_minor) {
            return Err(NotAPurchase::Total {
                sum,
                total: submitted.total_minor,
            });
        }
        let SubmitPurchase {
            purchase_id,
            customer_id,
            reference,
            lines,
            currency,
            total_minor,
            payment_method_token,
            home_delivery,
            note,
            submitted_at,
        } = submitted;
        Ok(Self {
            id: purchase_id,
            customer_id,
            reference,
            lines,
            currency,
            total_minor,
            payment_method_token,
            home_delivery,
            note,
            submitted_at,
        })
    }
}
