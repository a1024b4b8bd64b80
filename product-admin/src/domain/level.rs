//! The stock of one product, and what shoppers see of it.

/// A product with this many available units or fewer is low on stock. Fixed by the project, not measured: about what a
/// shopper buys at once.
pub const LOW_STOCK_UNITS: i32 = 5;

/// A word is not one of the known states.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not {expected}")]
pub struct UnknownWord {
    /// What was read.
    pub word: String,
    /// What it should be.
    pub expected: &'static str,
}

/// What shoppers see of the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// More than [`LOW_STOCK_UNITS`].
    InStock,
    /// At most [`LOW_STOCK_UNITS`].
    LowStock,
    /// Nothing left.
    OutOfStock,
}

impl Availability {
    /// The availability of a product with so many units that nobody has reserved.
    #[must_use]
    pub fn of(available: i32) -> Self {
        match available {
            ..=0 => Self::OutOfStock,
            1..=LOW_STOCK_UNITS => Self::LowStock,
            _ => Self::InStock,
        }
    }

    /// The word in tables and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InStock => "IN_STOCK",
            Self::LowStock => "LOW_STOCK",
            Self::OutOfStock => "OUT_OF_STOCK",
        }
    }
}

impl std::str::FromStr for Availability {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "IN_STOCK" => Ok(Self::InStock),
            "LOW_STOCK" => Ok(Self::LowStock),
            "OUT_OF_STOCK" => Ok(Self::OutOfStock),
            other => Err(UnknownWord {
                word: other.to_owned(),
                expected: "an availability",
            }),
        }
    }
}

/// Whether a product is for sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductStatus {
    /// Not yet.
    Draft,
    /// Now.
    Active,
    /// No longer.
    Archived,
}

impl ProductStatus {
    /// The word in tables and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Active => "ACTIVE",
            Self::Archived => "ARCHIVED",
        }
    }
}

impl std::str::FromStr for ProductStatus {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "DRAFT" => Ok(Self::Draft),
            "ACTIVE" => Ok(Self::Active),
            "ARCHIVED" => Ok(Self::Archived),
            other => Err(UnknownWord {
                word: other.to_owned(),
                expected: "a product's status",
            }),
        }
    }
}

/// The stock of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Whether it is for sale.
    pub status: ProductStatus,
    /// Units in the building.
    pub on_hand: i32,
    /// Units of them that are promised.
    pub reserved: i32,
    /// The availability that the catalogue was told last.
    pub announced: Availability,
}

/// Why the units on hand cannot be corrected so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdjustable {
    /// More than 32 bits hold.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// What is taken away is promised to purchases, or is not there at all.
    #[error(
        "At most {available} units can be taken away: the others are promised to purchases or are not there."
    )]
    TooFew {
        /// Units that nobody has reserved.
        available: i32,
    },
}

/// More units than a product can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("At most {room} more units fit.")]
pub struct TooMany {
    /// Units that still fit.
    pub room: i32,
}

impl Level {
    /// Units that nobody has reserved.
    #[must_use]
    pub fn available(&self) -> i32 {
        self.on_hand - self.reserved
    }

    /// The availability to tell the catalogue, if it is another than the last one told.
    #[must_use]
    pub fn crossing(&self) -> Option<Availability> {
        let now = Availability::of(self.available());
        (now != self.announced).then_some(now)
    }

    /// The level after `quantity` more units were put on the shelf.
    ///
    /// # Errors
    /// [`TooMany`] when the units would not fit 32 bits.
    pub fn restocked(self, quantity: i32) -> Result<Self, TooMany> {
        match self.on_hand.checked_add(quantity) {
            Some(on_hand) => Ok(Self { on_hand, ..self }),
            None => Err(TooMany {
                room: i32::MAX - self.on_hand,
            }),
        }
    }

    /// The level after a count found `delta` units more, or below zero fewer, than the books say.
    ///
    /// # Errors
    /// [`NotAdjustable`] when promised units would be missing (invariant I1), or the units would not fit 32 bits.
    pub fn adjusted(self, delta: i32) -> Result<Self, NotAdjustable> {
        if delta >= 0 {
            return Ok(self.restocked(delta)?);
        }
        // `delta` is below zero and `available` is not, so that the sum stays within 32 bits.
        if self.available() + delta < 0 {
            return Err(NotAdjustable::TooFew {
                available: self.available(),
            });
        }
        Ok(Self {
            on_hand: self.on_hand + delta,
            ..self
        })
    }

    /// Units that a purchase could have: none of a product that is not for sale.
    #[must_use]
    pub fn sellable(&self) -> i32 {
        match self.status {
            ProductStatus::Active => self.available(),
            ProductStatus::Draft | ProductStatus::Archived => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shelf_ends_at_32_bits() {
        let level = Level {
            status: ProductStatus::Active,
            on_hand: i32::MAX - 2,
            reserved: 0,
            announced: Availability::InStock,
        };
        assert_eq!(level.restocked(2).unwrap().on_hand, i32::MAX);
        assert_eq!(level.restocked(3), Err(TooMany { room: 2 }));
    }

    #[test]
    fn a_correction_leaves_what_is_promised() {
        let level = Level {
            status: ProductStatus::Active,
            on_hand: 10,
            reserved: 4,
            announced: Availability::InStock,
        };
        assert_eq!(level.adjusted(-6).unwrap().on_hand, 4);
        assert_eq!(level.adjusted(-7), Err(NotAdjustable::TooFew { available: 6 }));
        assert_eq!(
            level.adjusted(i32::MIN),
            Err(NotAdjustable::TooFew { available: 6 })
        );
        assert_eq!(level.adjusted(5).unwrap().on_hand, 15);
        assert_eq!(
            level.adjusted(i32::MAX),
            Err(NotAdjustable::TooMany(TooMany { room: i32::MAX - 10 }))
        );
    }

    #[test]
    fn the_limits_of_availability_are_nought_and_five() {
        let all = [
            (-1, "OUT_OF_STOCK"),
            (0, "OUT_OF_STOCK"),
            (1, "LOW_STOCK"),
            (5, "LOW_STOCK"),
            (6, "IN_STOCK"),
        ];
        for (available, word) in all {
            assert_eq!(Availability::of(available).as_str(), word);
            assert_eq!(word.parse(), Ok(Availability::of(available)));
        }
    }
}
