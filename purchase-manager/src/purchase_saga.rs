//! The saga of a purchase: its versions, and every step with what it asks, what may be answered, and how it is undone.
//!
//! A version that was released never changes, not even in what it asks: purchases that began with it go on with it, on
//! whichever program is there. Its transcript in `transcripts/` says what it decides, and the test
//! `every_released_version_decides_as_it_did` holds the two together. What changes is the next version; docs/versions.md.

use contracts::{consolidator::*, orders::*, payments::*, product_admin::*, topics::*};
use saga::{Definition, RetryPolicy, ShapeError};

use crate::{
    definitions::PurchaseSaga,
    exchange::{Command, OrRefuse, Reply, accept, is, to},
    purchase::Purchase,
    refusals::{declined, prices_moved, rejected, short, too_few},
};

/// One version, given the pauses between re-sends.
pub type Version = fn(RetryPolicy) -> Result<PurchaseSaga, ShapeError>;

/// The versions that this program has, oldest first. A version leaves the list when no purchase follows it any more.
pub const VERSIONS: &[Version] = &[version_1];

/// The step for which product-admin holds units, in every version.
pub const RESERVE_PRODUCTS: &str = "reserve-products";

fn version_1(retry: RetryPolicy) -> Result<PurchaseSaga, ShapeError> {
    Definition::builder("purchase", 1)
        .retry(retry)
        .step(step::validate_inventory())
        .step(step::reserve_products())
        .step(step::authorize_payment())
        .pivot(step::create_order())
        .parallel([step::confirm_reservation(), step::capture_payment()])
        .build()
}

/// The newest version, for whoever plays a purchase through.
///
/// # Errors
/// Never for this text, which the test `the_purchase_saga_is_well_shaped` holds.
///
/// # Panics
/// Never: there is a first version.
pub fn purchase_saga(retry: RetryPolicy) -> Result<PurchaseSaga, ShapeError> {
    VERSIONS.last().expect("there is a first version")(retry)
}

/// The steps that versions are made of. A step of a released version is not changed: a changed one gets a name of its own here,
/// and may keep the name that its sagas know it by.
pub mod step {
    use super::*;

    /// A step of a purchase.
    pub type Step = saga::Step<Purchase, Command, Reply>;

    /// Is everything there, at these prices? Advisory: reserving decides.
    #[must_use]
    pub fn validate_inventory() -> Step {
        Step::compensatable("validate-inventory", "consolidator")
            .command(|p| to(CONSOLIDATOR_COMMANDS, ask::validate(p)))
            .reply(|p, r| {
                accept::<InventoryValidated>(r)
                    .or_refuse::<InventoryRejected>(r, |no| too_few(p, &no.shortages))
                    .or_refuse::<PriceChanged>(r, |no| prices_moved(p, &no.changes))
            })
            .rollback(
                |p| to(CONSOLIDATOR_COMMANDS, CancelValidation { purchase_id: p.id }),
                is::<ValidationCancelled>,
            )
    }

    /// Hold the units.
    #[must_use]
    pub fn reserve_products() -> Step {
        Step::compensatable(RESERVE_PRODUCTS, "product-admin")
            .command(|p| to(PRODUCT_ADMIN_COMMANDS, ask::reserve(p)))
            .reply(|p, r| {
                accept::<ProductsReserved>(r)
                    .or_refuse::<ReservationRejected>(r, |no| short(p, &no.shortages))
            })
            .rollback(
                |p| to(PRODUCT_ADMIN_COMMANDS, ReleaseProducts { purchase_id: p.id }),
                is::<ProductsReleased>,
            )
    }

    /// Make sure of the money.
    #[must_use]
    pub fn authorize_payment() -> Step {
        Step::compensatable("authorize-payment", "payments")
            .command(|p| to(PAYMENTS_COMMANDS, ask::authorize(p)))
            .reply(|_, r| accept::<PaymentAuthorized>(r).or_refuse::<PaymentDeclined>(r, declined))
            .rollback(
                |p| to(PAYMENTS_COMMANDS, VoidPayment { purchase_id: p.id }),
                is::<PaymentVoided>,
            )
    }

    /// The pivot: after it there is no way back.
    #[must_use]
    pub fn create_order() -> Step {
        Step::pivot("create-order", "orders")
            .command(|p| to(ORDERS_COMMANDS, ask::order(p)))
            .reply(|_, r| accept::<OrderCreated>(r).or_refuse::<OrderRejected>(r, rejected))
            .rollback(
                |p| to(ORDERS_COMMANDS, CancelOrder { purchase_id: p.id }),
                is::<OrderCancelled>,
            )
    }

    /// Sell the units that are held.
    #[must_use]
    pub fn confirm_reservation() -> Step {
        Step::retriable("confirm-reservation", "product-admin")
            .command(|p| to(PRODUCT_ADMIN_COMMANDS, ConfirmReservation { purchase_id: p.id }))
            .reply(|_, r| accept::<ReservationConfirmed>(r))
    }

    /// Take the money.
    #[must_use]
    pub fn capture_payment() -> Step {
        Step::retriable("capture-payment", "payments")
            .command(|p| to(PAYMENTS_COMMANDS, CapturePayment { purchase_id: p.id }))
            .reply(|_, r| accept::<PaymentCaptured>(r))
    }
}

/// The commands that carry more than the purchase's id.
mod ask {
    use super::*;

    pub fn validate(p: &Purchase) -> ValidateInventory {
        let lines = p.lines.iter().map(|line| ValidateLine {
            product_id: line.product_id,
            quantity: line.quantity,
            unit_price_minor: line.unit_price_minor,
        });
        ValidateInventory {
            purchase_id: p.id,
            currency: p.currency,
            lines: lines.collect(),
        }
    }

    pub fn reserve(p: &Purchase) -> ReserveProducts {
        let lines = p.lines.iter().map(|line| ReserveLine {
            product_id: line.product_id,
            quantity: line.quantity,
        });
        ReserveProducts {
            purchase_id: p.id,
            lines: lines.collect(),
        }
    }

    pub fn authorize(p: &Purchase) -> AuthorizePayment {
        AuthorizePayment {
            purchase_id: p.id,
            customer_id: p.customer_id.clone(),
            amount_minor: p.total_minor,
            currency: p.currency,
            method_token: p.payment_method_token.clone(),
        }
    }

    pub fn order(p: &Purchase) -> CreateOrder {
        let lines = p.lines.iter().map(|line| OrderLine {
            product_id: line.product_id,
            sku: line.sku.clone(),
            name: line.name.clone(),
            quantity: line.quantity,
            unit_price_minor: line.unit_price_minor,
        });
        CreateOrder {
            purchase_id: p.id,
            customer_id: p.customer_id.clone(),
            currency: p.currency,
            total_minor: p.total_minor,
            home_delivery: p.home_delivery,
            lines: lines.collect(),
        }
    }
}
