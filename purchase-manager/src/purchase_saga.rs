//! The saga of a purchase: every step with what it asks, what may be answered, and how it is undone.

use contracts::{consolidator::*, orders::*, payments::*, product_admin::*, topics::*};
use saga::{Definition, RetryPolicy, ShapeError};

use crate::{
    exchange::{Command, OrRefuse, Reply, accept, is, to},
    purchase::Purchase,
    refusals::{declined, prices_moved, rejected, short, too_few},
};

type Step = saga::Step<Purchase, Command, Reply>;

/// The definition that new purchases follow, with the pauses of `retry` between re-sends.
///
/// # Errors
/// Never for this text, which the test `the_purchase_saga_is_well_shaped` holds.
pub fn purchase_saga(retry: RetryPolicy) -> Result<Definition<Purchase, Command, Reply>, ShapeError> {
    Definition::builder("purchase", 1)
        .retry(retry)
        .step(
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
                ),
        )
        .step(
            Step::compensatable("reserve-products", "product-admin")
                .command(|p| to(PRODUCT_ADMIN_COMMANDS, ask::reserve(p)))
                .reply(|p, r| {
                    accept::<ProductsReserved>(r)
                        .or_refuse::<ReservationRejected>(r, |no| short(p, &no.shortages))
                })
                .rollback(
                    |p| to(PRODUCT_ADMIN_COMMANDS, ReleaseProducts { purchase_id: p.id }),
                    is::<ProductsReleased>,
                ),
        )
        .step(
            Step::compensatable("authorize-payment", "payments")
                .command(|p| to(PAYMENTS_COMMANDS, ask::authorize(p)))
                .reply(|_, r| accept::<PaymentAuthorized>(r).or_refuse::<PaymentDeclined>(r, declined))
                .rollback(
                    |p| to(PAYMENTS_COMMANDS, VoidPayment { purchase_id: p.id }),
                    is::<PaymentVoided>,
                ),
        )
        .pivot(
            Step::pivot("create-order", "orders")
                .command(|p| to(ORDERS_COMMANDS, ask::order(p)))
                .reply(|_, r| accept::<OrderCreated>(r).or_refuse::<OrderRejected>(r, rejected))
                .rollback(
                    |p| to(ORDERS_COMMANDS, CancelOrder { purchase_id: p.id }),
                    is::<OrderCancelled>,
                ),
        )
        .parallel([
            Step::retriable("confirm-reservation", "product-admin")
                .command(|p| to(PRODUCT_ADMIN_COMMANDS, ConfirmReservation { purchase_id: p.id }))
                .reply(|_, r| accept::<ReservationConfirmed>(r)),
            Step::retriable("capture-payment", "payments")
                .command(|p| to(PAYMENTS_COMMANDS, CapturePayment { purchase_id: p.id }))
                .reply(|_, r| accept::<PaymentCaptured>(r)),
        ])
        .build()
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
