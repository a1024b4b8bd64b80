//! Stock in memory: what a batch may reserve, release and confirm, and what of it has to be written.
//!
//! The caller locks the rows first and writes the result after, so several messages that want the last units of one
//! product are decided here one after the other, each seeing what the one before left.

use std::collections::BTreeMap;

use contracts::{
    ids::{ProductId, PurchaseId},
    product_admin::{ReservationShortage, ReserveLine},
};

use super::level::{Level, UnknownWord};

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationState {
    /// Promised until the saga decides.
    Held,
    /// Sold; waits to be dispatched.
    Confirmed,
    /// Given back.
    Released,
}

impl ReservationState {
    /// The word in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Confirmed => "confirmed",
            Self::Released => "released",
        }
    }
}

impl std::str::FromStr for ReservationState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "held" => Ok(Self::Held),
            "confirmed" => Ok(Self::Confirmed),
            "released" => Ok(Self::Released),
            other => Err(UnknownWord {
                word: other.to_owned(),
                expected: "a reservation's state",
            }),
        }
    }
}

/// Units of one product that are promised to one purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Units, at least 1.
    pub quantity: i32,
    /// Where it stands.
    pub state: ReservationState,
}

/// A command that contradicts itself or what is stored. Nothing that a shopper did: it waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A reservation of nothing.
    #[error("purchase {0} asks for a reservation without lines")]
    NoLines(PurchaseId),
    /// Fewer than one unit.
    #[error("purchase {purchase} asks for {quantity} units of product {product}: it must be at least 1")]
    Quantity {
        /// The purchase.
        purchase: PurchaseId,
        /// The product.
        product: ProductId,
        /// What was asked for.
        quantity: i32,
    },
    /// Two lines of one product.
    #[error("purchase {purchase} asks for product {product} twice: a product stands in one line")]
    Twice {
        /// The purchase.
        purchase: PurchaseId,
        /// The product.
        product: ProductId,
    },
    /// Units are, or were, reserved for the purchase already.
    #[error("purchase {0} has a reservation already")]
    AlreadyReserved(PurchaseId),
    /// A confirmation finds no held units, or finds some that are not held.
    #[error("purchase {0} cannot be confirmed: not every reservation of it is held")]
    NotHeld(PurchaseId),
    /// More would be given back than is reserved.
    #[error("purchase {purchase} would give back more units of product {product} than are reserved")]
    Underflow {
        /// The purchase.
        purchase: PurchaseId,
        /// The product.
        product: ProductId,
    },
    /// A reservation appeared between the locks and the read. Another instance was at work: try again.
    #[error("a reservation of purchase {purchase} concerns product {product}, which was not locked")]
    NotLocked {
        /// The purchase.
        purchase: PurchaseId,
        /// The product.
        product: ProductId,
    },
}

/// The products and reservations of one batch.
#[derive(Debug, Default)]
pub struct Stock {
    products: BTreeMap<ProductId, Kept<Level>>,
    reservations: BTreeMap<(PurchaseId, ProductId), Kept<Reservation>>,
}

/// A value as it was read, if it was, and as it is now.
#[derive(Debug)]
struct Kept<T> {
    was: Option<T>,
    now: T,
}

impl<T: PartialEq + Copy> Kept<T> {
    fn read(value: T) -> Self {
        Self {
            was: Some(value),
            now: value,
        }
    }

    fn changed(&self) -> Option<T> {
        (self.was != Some(self.now)).then_some(self.now)
    }
}

/// What a batch changed, in id order: each row once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Products of which units were reserved or released.
    pub levels: Vec<(ProductId, Level)>,
    /// Reservations that are new or moved on.
    pub reservations: Vec<(PurchaseId, ProductId, Reservation)>,
}

impl Stock {
    /// The stock as it was read under lock.
    pub fn new(
        levels: impl IntoIterator<Item = (ProductId, Level)>,
        reservations: impl IntoIterator<Item = (PurchaseId, ProductId, Reservation)>,
    ) -> Self {
        Self {
            products: levels
                .into_iter()
                .map(|(id, level)| (id, Kept::read(level)))
                .collect(),
            reservations: reservations
                .into_iter()
                .map(|(purchase, product, reservation)| ((purchase, product), Kept::read(reservation)))
                .collect(),
        }
    }

    /// Holds every line for the purchase, or nothing. `Ok(Err(_))` is the refusal, with every line that is short.
    ///
    /// # Errors
    /// [`Contradiction`] for malformed lines and for a purchase that has reservations already.
    pub fn reserve(
        &mut self,
        purchase: PurchaseId,
        lines: &[ReserveLine],
    ) -> Result<Result<(), Vec<ReservationShortage>>, Contradiction> {
        let wanted = parse_lines(purchase, lines)?;
        if self.of_purchase(purchase).next().is_some() {
            return Err(Contradiction::AlreadyReserved(purchase));
        }
        let sellable =
            |product: &ProductId| self.products.get(product).map_or(0, |level| level.now.sellable());
        let shortages: Vec<ReservationShortage> = lines
            .iter()
            .map(|line| (line, sellable(&line.product_id)))
            .filter(|(line, available)| line.quantity > *available)
            .map(|(line, available)| ReservationShortage {
                product_id: line.product_id,
                requested: line.quantity,
                available,
            })
            .collect();
        if !shortages.is_empty() {
            return Ok(Err(shortages));
        }
        for (product, quantity) in wanted {
            let level = self
                .products
                .get_mut(&product)
                .expect("an unknown product was short above");
            // Cannot overflow: the quantity is at most what is available.
            level.now.reserved += quantity;
            let reservation = Reservation {
                quantity,
                state: ReservationState::Held,
            };
            self.reservations.insert(
                (purchase, product),
                Kept {
                    was: None,
                    now: reservation,
                },
            );
        }
        Ok(Ok(()))
    }

    /// Gives back everything that the purchase holds, confirmed or not. Nothing to give back is no fault.
    ///
    /// # Errors
    /// [`Contradiction::Underflow`] when the stock knows of fewer reserved units, [`Contradiction::NotLocked`].
    pub fn release(&mut self, purchase: PurchaseId) -> Result<(), Contradiction> {
        for ((_, product), reservation) in self.reservations.range_mut(all_of(purchase)) {
            let product = *product;
            match reservation.now.state {
                ReservationState::Released => continue,
                ReservationState::Held | ReservationState::Confirmed => {}
            }
            let level = self
                .products
                .get_mut(&product)
                .ok_or(Contradiction::NotLocked { purchase, product })?;
            let reserved = level.now.reserved - reservation.now.quantity;
            if reserved < 0 {
                return Err(Contradiction::Underflow { purchase, product });
            }
            level.now.reserved = reserved;
            reservation.now.state = ReservationState::Released;
        }
        Ok(())
    }

    /// Marks everything that the purchase holds as sold. The units stay reserved until they are dispatched.
    ///
    /// # Errors
    /// [`Contradiction::NotHeld`] unless there are reservations and all of them are held,
    /// [`Contradiction::NotLocked`].
    pub fn confirm(&mut self, purchase: PurchaseId) -> Result<(), Contradiction> {
        let mut states = self
            .of_purchase(purchase)
            .map(|(_, reservation)| reservation.now.state);
        let first = states.next();
        if first != Some(ReservationState::Held) || states.any(|state| state != ReservationState::Held) {
            return Err(Contradiction::NotHeld(purchase));
        }
        drop(states);
        for ((_, product), reservation) in self.reservations.range_mut(all_of(purchase)) {
            if !self.products.contains_key(product) {
                return Err(Contradiction::NotLocked {
                    purchase,
                    product: *product,
                });
            }
            reservation.now.state = ReservationState::Confirmed;
        }
        Ok(())
    }

    /// What has to be written.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let levels = self
            .products
            .iter()
            .filter_map(|(id, level)| Some((*id, level.changed()?)))
            .collect();
        let reservations = self
            .reservations
            .iter()
            .filter_map(|((purchase, product), r)| Some((*purchase, *product, r.changed()?)))
            .collect();
        Changes { levels, reservations }
    }

    fn of_purchase(
        &self,
        purchase: PurchaseId,
    ) -> impl Iterator<Item = (&(PurchaseId, ProductId), &Kept<Reservation>)> {
        self.reservations.range(all_of(purchase))
    }
}

/// The keys of every reservation of a purchase.
fn all_of(purchase: PurchaseId) -> std::ops::RangeInclusive<(PurchaseId, ProductId)> {
    (purchase, ProductId(uuid::Uuid::nil()))..=(purchase, ProductId(uuid::Uuid::max()))
}

/// The lines by product, each product once and at least one unit of it.
fn parse_lines(
    purchase: PurchaseId,
    lines: &[ReserveLine],
) -> Result<BTreeMap<ProductId, i32>, Contradiction> {
    if lines.is_empty() {
        return Err(Contradiction::NoLines(purchase));
    }
    let mut wanted = BTreeMap::new();
    for line in lines {
        let product = line.product_id;
        if line.quantity < 1 {
            return Err(Contradiction::Quantity {
                purchase,
                product,
                quantity: line.quantity,
            });
        }
        if wanted.insert(product, line.quantity).is_some() {
            return Err(Contradiction::Twice { purchase, product });
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests;
