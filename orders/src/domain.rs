//! Which orders are well-formed, and what their states allow. No database, no clock.

use contracts::{
    ids::OrderId,
    money::Money,
    orders::{CreateOrder, OrderLine},
};

/// The state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits to be dispatched.
    Placed,
    /// Handed over.
    Dispatched,
    /// Withdrawn.
    Cancelled,
}

/// An order, as far as decisions need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The order.
    pub order_id: OrderId,
    /// Where it stands.
    pub state: State,
}

/// What a new order is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// For programs.
    pub order_id: OrderId,
    /// For people.
    pub number: String,
}

/// Why an order cannot be placed, in words that a shopper understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Nothing is ordered.
    #[error("The order could not be placed because it has no products.")]
    NoLines,
    /// A line is for less than one unit.
    #[error("The order could not be placed because the quantity of {name} is less than 1.")]
    Quantity {
        /// The product's name.
        name: String,
    },
    /// A line has a negative price.
    #[error("The order could not be placed because the price of {name} is negative.")]
    Price {
        /// The product's name.
        name: String,
    },
    /// The total is not the sum of the lines.
    #[error(
        "The order could not be placed because its total of {total} is not what its products cost: {sum}."
    )]
    Total {
        /// As ordered.
        total: Money,
        /// As computed.
        sum: Money,
    },
    /// The sum leaves 64 bits.
    #[error("The order could not be placed because its amount is too large.")]
    TooLarge,
}

/// A command that contradicts what is stored. It is parked for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The goods have left.
    #[error("order {0} has been dispatched and cannot be cancelled")]
    Dispatched(OrderId),
    /// The purchase has an order although no command for one was ever carried out.
    #[error("the purchase already has the order {0}, which no command of this purchase has placed")]
    AlreadyPlaced(OrderId),
    /// There is no order although the command for it was carried out.
    #[error("the order of the purchase is to be cancelled, but it is not there")]
    Missing,
}

impl State {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "PLACED",
            Self::Dispatched => "DISPATCHED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Reads what [`State::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "PLACED" => Some(Self::Placed),
            "DISPATCHED" => Some(Self::Dispatched),
            "CANCELLED" => Some(Self::Cancelled),
            _ => None,
        }
    }
}

impl Order {
    /// Withdraws the order. One that is withdrawn already stays so.
    ///
    /// # Errors
    /// [`Conflict::Dispatched`].
    pub fn cancel(self) -> Result<Self, Conflict> {
        match self.state {
            State::Placed | State::Cancelled => Ok(Self {
                state: State::Cancelled,
                ..self
            }),
            State::Dispatched => Err(Conflict::Dispatched(self.order_id)),
        }
    }
}

/// Whether an order can be placed as it is asked for.
///
/// # Errors
/// [`Malformed`]: the first thing that is wrong.
pub fn check(order: &CreateOrder) -> Result<(), Malformed> {
    if order.lines.is_empty() {
        return Err(Malformed::NoLines);
    }
    let mut sum = Money::new(0, order.currency);
    for line in &order.lines {
        let cost = cost(line, sum)?;
        sum.minor = sum.minor.checked_add(cost.minor).ok_or(Malformed::TooLarge)?;
    }
    let total = Money::new(order.total_minor, order.currency);
    if total == sum {
        Ok(())
    } else {
        Err(Malformed::Total { total, sum })
    }
}

fn cost(line: &OrderLine, sum: Money) -> Result<Money, Malformed> {
    if line.quantity < 1 {
        return Err(Malformed::Quantity {
            name: line.name.clone(),
        });
    }
    if line.unit_price_minor < 0 {
        return Err(Malformed::Price {
            name: line.name.clone(),
        });
    }
    Money::new(line.unit_price_minor, sum.currency)
        .times(line.quantity)
        .map_err(|_| Malformed::TooLarge)
}

/// The number for people, such as `O-2026-000123`. The serial number alone is unique; the year helps the eye.
#[must_use]
pub fn number(year: i32, serial: i64) -> String {
    format!("O-{year}-{serial:06}")
}

#[cfg(test)]
mod tests {
    use contracts::{
        ids::{CustomerId, ProductId, PurchaseId},
        money::Currency,
    };

    use super::*;

    fn order(total_minor: i64, lines: &[(i32, i64)]) -> CreateOrder {
        CreateOrder {
            purchase_id: PurchaseId::fresh(),
            customer_id: CustomerId("c".to_owned()),
            currency: Currency::EUR,
            total_minor,
            home_delivery: false,
            lines: lines
                .iter()
                .map(|(quantity, unit_price_minor)| OrderLine {
                    product_id: ProductId::fresh(),
                    sku: "S-1".to_owned(),
                    name: "Lamp".to_owned(),
                    quantity: *quantity,
                    unit_price_minor: *unit_price_minor,
                })
                .collect(),
        }
    }

    #[test]
    fn an_order_whose_total_is_the_sum_of_its_lines_is_placed() {
        assert_eq!(check(&order(2_550, &[(2, 1_000), (1, 550)])), Ok(()));
        assert_eq!(check(&order(0, &[(1, 0)])), Ok(()), "a gift");
    }

    #[test]
    fn a_malformed_order_is_refused_in_words() {
        let words = |order: CreateOrder| check(&order).unwrap_err().to_string();
        assert_eq!(
            words(order(0, &[])),
            "The order could not be placed because it has no products."
        );
        assert_eq!(
            words(order(999, &[(1, 1_000)])),
            "The order could not be placed because its total of 9.99 EUR is not what its products cost: 10.00 EUR."
        );
        assert_eq!(
            words(order(0, &[(0, 1_000)])),
            "The order could not be placed because the quantity of Lamp is less than 1."
        );
        assert_eq!(
            words(order(-1, &[(1, -1)])),
            "The order could not be placed because the price of Lamp is negative."
        );
    }

    #[test]
    fn amounts_beyond_64_bits_are_refused() {
        assert_eq!(check(&order(0, &[(2, i64::MAX)])), Err(Malformed::TooLarge));
        assert_eq!(
            check(&order(0, &[(1, i64::MAX), (1, 1)])),
            Err(Malformed::TooLarge)
        );
    }

    #[test]
    fn only_what_was_dispatched_cannot_be_cancelled() {
        let in_state = |state| Order {
            order_id: OrderId::fresh(),
            state,
        };
        for state in [State::Placed, State::Cancelled] {
            assert_eq!(
                in_state(state).cancel().map(|order| order.state),
                Ok(State::Cancelled)
            );
        }
        let dispatched = in_state(State::Dispatched);
        assert_eq!(
            dispatched.cancel(),
            Err(Conflict::Dispatched(dispatched.order_id))
        );
    }

    #[test]
    fn states_are_read_as_they_are_written() {
        for state in [State::Placed, State::Dispatched, State::Cancelled] {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("LOST"), None);
    }

    #[test]
    fn numbers_grow_beyond_six_digits() {
        assert_eq!(number(2026, 123), "O-2026-000123");
        assert_eq!(number(2026, 1_234_567), "O-2026-1234567");
    }
}
