//! What the n-th purchase is: a pure function of the seed.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::Serialize;
use serde_json::{Value, json};

use super::shop::{FEW, Shop};

/// Products in one purchase at most.
const MOST_LINES: usize = 3;
/// Units of each at most.
const MOST_UNITS: i32 = 3;

/// How a purchase must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expected {
    /// Completed.
    Completed,
    /// Rejected for lack of stock.
    OutOfStock,
    /// Rejected by the payment provider.
    Declined,
}

impl Expected {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 3] = [Self::Completed, Self::OutOfStock, Self::Declined];

    /// In the report.
    pub fn words(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::OutOfStock => "rejected: out of stock",
            Self::Declined => "rejected: payment declined",
        }
    }

    /// Whether a purchase that ended like this ended as it must.
    pub fn is(self, state: &str, failure: Option<&str>) -> bool {
        match self {
            Self::Completed => state == "COMPLETED",
            Self::OutOfStock => state == "REJECTED" && failure == Some("INSUFFICIENT_STOCK"),
            Self::Declined => state == "REJECTED" && failure == Some("PAYMENT_DECLINED"),
        }
    }
}

/// One purchase to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// How it must end.
    pub expected: Expected,
    /// `SubmitPurchaseInput` without its idempotency key.
    pub input: Value,
}

/// Plans purchases.
#[derive(Debug, Clone)]
pub(super) struct Planner {
    seed: u64,
    refuse_share_percent: u8,
    shop: Shop,
}

impl Planner {
    /// Plans by this seed.
    pub fn new(seed: u64, refuse_share_percent: u8, shop: Shop) -> Self {
        Self {
            seed,
            refuse_share_percent,
            shop,
        }
    }

    /// The purchase of this number.
    pub fn plan(&self, number: u64) -> Plan {
        // An odd factor keeps neighbours apart and every number on a seed of its own.
        let mut random = StdRng::seed_from_u64(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let expected = match random.gen_range(0..100) {
            draw if draw >= self.refuse_share_percent => Expected::Completed,
            _ if random.gen_bool(0.5) => Expected::OutOfStock,
            _ => Expected::Declined,
        };
        let count = random.gen_range(1..=MOST_LINES);
        let products: Vec<&String> = self.shop.plentiful.choose_multiple(&mut random, count).collect();
        let mut lines: Vec<Value> = products
            .into_iter()
            .map(|id| json!({ "productId": id, "quantity": random.gen_range(1..=MOST_UNITS) }))
            .collect();
        if expected == Expected::OutOfStock
            && let Some(id) = self.shop.scarce.choose(&mut random)
        {
            lines.push(json!({ "productId": id, "quantity": FEW + 1 }));
        }
        let token = if expected == Expected::Declined {
            "tok_declined"
        } else {
            "tok_ok"
        };
        let input = json!({
            "lines": lines,
            "paymentMethodToken": token,
            "homeDelivery": random.gen_bool(0.5),
        });
        Plan { expected, input }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planner(seed: u64, refuse_share_percent: u8) -> Planner {
        let ids = |prefix: &str, count: u32| (0..count).map(|n| format!("{prefix}{n}")).collect();
        Planner::new(
            seed,
            refuse_share_percent,
            Shop {
                plentiful: ids("p", 8),
                scarce: ids("s", 1),
            },
        )
    }

    #[test]
    fn the_same_seed_plans_the_same() {
        let plans = |seed| {
            (0..50)
                .map(|number| planner(seed, 20).plan(number))
                .collect::<Vec<_>>()
        };
        assert_eq!(plans(1), plans(1));
        assert_ne!(plans(1), plans(2));
    }

    #[test]
    fn the_share_of_refusals_is_split_in_halves() {
        let count = |share, expected| {
            (0..10_000)
                .filter(|number| planner(7, share).plan(*number).expected == expected)
                .count()
        };
        assert_eq!(count(0, Expected::Completed), 10_000);
        assert_eq!(count(100, Expected::Completed), 0);
        for expected in [Expected::OutOfStock, Expected::Declined] {
            assert!(
                (850..1150).contains(&count(20, expected)),
                "{}",
                count(20, expected)
            );
        }
    }

    #[test]
    fn a_refusal_counts_only_for_its_own_reason() {
        assert!(Expected::OutOfStock.is("REJECTED", Some("INSUFFICIENT_STOCK")));
        assert!(!Expected::OutOfStock.is("REJECTED", Some("TEMPORARILY_UNAVAILABLE")));
        assert!(!Expected::Declined.is("COMPLETED", None));
        assert!(!Expected::Completed.is("REJECTED", Some("INSUFFICIENT_STOCK")));
    }
}
