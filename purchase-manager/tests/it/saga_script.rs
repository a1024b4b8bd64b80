//! The purchase saga as scripts: expect this command, given this reply.

use contracts::{
    consolidator::*,
    ids::{OrderId, PaymentId},
    orders::*,
    payments::*,
    product_admin::*,
    purchase_manager::SubmitPurchase,
};
use saga::{
    CancelRefused,
    Direction::{Compensation, Forward},
    Outcome, RetryPolicy, Standing,
};

use crate::{
    purchase::tents,
    script::{Script, submitted},
};

fn validated(purchase: &SubmitPurchase) -> Script {
    submitted(purchase.clone())
        .expect::<ValidateInventory>("consolidator")
        .reply(
            "validate-inventory",
            Forward,
            &InventoryValidated {
                purchase_id: purchase.purchase_id,
            },
        )
}

fn reserved(purchase: &SubmitPurchase) -> Script {
    validated(purchase)
        .expect::<ReserveProducts>("product-admin")
        .reply(
            "reserve-products",
            Forward,
            &ProductsReserved {
                purchase_id: purchase.purchase_id,
            },
        )
}

fn authorized(purchase: &SubmitPurchase) -> Script {
    let authorized = PaymentAuthorized {
        purchase_id: purchase.purchase_id,
        payment_id: PaymentId::fresh(),
    };
    reserved(purchase)
        .expect::<AuthorizePayment>("payments")
        .reply("authorize-payment", Forward, &authorized)
        .expect::<CreateOrder>("orders")
}

fn ordered(purchase: &SubmitPurchase) -> Script {
    let created = OrderCreated {
        purchase_id: purchase.purchase_id,
        order_id: OrderId::fresh(),
        number: "O-1".to_owned(),
    };
    authorized(purchase)
        .reply("create-order", Forward, &created)
        .expect::<ConfirmReservation>("product-admin")
        .expect::<CapturePayment>("payments")
}

fn released(script: Script, purchase: &SubmitPurchase) -> Script {
    script
        .expect::<ReleaseProducts>("product-admin")
        .reply(
            "reserve-products",
            Compensation,
            &ProductsReleased {
                purchase_id: purchase.purchase_id,
            },
        )
        .expect::<CancelValidation>("consolidator")
        .reply(
            "validate-inventory",
            Compensation,
            &ValidationCancelled {
                purchase_id: purchase.purchase_id,
            },
        )
}

#[test]
fn the_purchase_saga_is_well_shaped() {
    purchase_manager::purchase_saga::purchase_saga(RetryPolicy::default()).unwrap();
}

#[test]
fn a_purchase_completes_when_every_participant_agrees() {
    let purchase = tents();
    let captured = PaymentCaptured {
        purchase_id: purchase.purchase_id,
        payment_id: PaymentId::fresh(),
    };
    ordered(&purchase)
        .reply("capture-payment", Forward, &captured)
        .ends(Standing::Running)
        .reply(
            "confirm-reservation",
            Forward,
            &ReservationConfirmed {
                purchase_id: purchase.purchase_id,
            },
        )
        .ends(Standing::Completed);
}

#[test]
fn too_little_stock_rejects_it_with_the_missing_quantities_and_undoes_nothing() {
    let purchase = tents();
    let shortage = Shortage {
        product_id: purchase.lines[0].product_id,
        requested: 2,
        available: 1,
    };
    let no = InventoryRejected {
        purchase_id: purchase.purchase_id,
        shortages: vec![shortage],
    };
    let script = submitted(purchase)
        .expect::<ValidateInventory>("consolidator")
        .reply("validate-inventory", Forward, &no)
        .ends(Standing::Rejected);
    assert_eq!(script.failure().code, "INSUFFICIENT_STOCK");
    assert_eq!(
        script.failure().message,
        "There is not enough in stock. Tent: 2 requested, 1 available."
    );
}

#[test]
fn a_price_that_moved_rejects_it_and_names_both_prices() {
    let purchase = tents();
    let change = PriceChange {
        product_id: purchase.lines[0].product_id,
        expected_minor: 29_950,
        actual_minor: 31_000,
        currency: purchase.currency,
    };
    let no = PriceChanged {
        purchase_id: purchase.purchase_id,
        changes: vec![change],
    };
    let script = submitted(purchase)
        .expect::<ValidateInventory>("consolidator")
        .reply("validate-inventory", Forward, &no)
        .ends(Standing::Rejected);
    assert_eq!(script.failure().code, "PRICE_CHANGED");
    assert!(
        script
            .failure()
            .message
            .contains("Tent: 310.00 EUR instead of 299.50 EUR")
    );
}

#[test]
fn a_reservation_that_is_rejected_undoes_the_validation() {
    let purchase = tents();
    let shortage = ReservationShortage {
        product_id: purchase.lines[0].product_id,
        requested: 2,
        available: 0,
    };
    let no = ReservationRejected {
        purchase_id: purchase.purchase_id,
        shortages: vec![shortage],
    };
    let undone = ValidationCancelled {
        purchase_id: purchase.purchase_id,
    };
    let script = validated(&purchase)
        .expect::<ReserveProducts>("product-admin")
        .reply("reserve-products", Forward, &no)
        .expect::<CancelValidation>("consolidator")
        .reply("validate-inventory", Compensation, &undone)
        .ends(Standing::Rejected);
    assert!(
        script
            .failure()
            .message
            .contains("Tent: 2 requested, none available")
    );
}

#[test]
fn a_declined_payment_releases_the_products_and_then_cancels_the_validation() {
    let purchase = tents();
    let no = PaymentDeclined {
        purchase_id: purchase.purchase_id,
        payment_id: PaymentId::fresh(),
        reason: "Your bank said no.".to_owned(),
    };
    let script =
        reserved(&purchase)
            .expect::<AuthorizePayment>("payments")
            .reply("authorize-payment", Forward, &no);
    let script = released(script, &purchase).ends(Standing::Rejected);
    assert_eq!(script.failure().code, "PAYMENT_DECLINED");
    assert_eq!(script.failure().message, "Your bank said no.");
}

#[test]
fn a_rejected_order_voids_the_payment_first() {
    let purchase = tents();
    let no = OrderRejected {
        purchase_id: purchase.purchase_id,
        reason: "We do not ship there.".to_owned(),
    };
    let script = authorized(&purchase)
        .reply("create-order", Forward, &no)
        .expect::<VoidPayment>("payments")
        .reply(
            "authorize-payment",
            Compensation,
            &PaymentVoided {
                purchase_id: purchase.purchase_id,
            },
        );
    released(script, &purchase).ends(Standing::Rejected);
}

#[test]
fn a_customers_cancel_undoes_the_step_in_doubt_too() {
    let purchase = tents();
    let script = reserved(&purchase)
        .expect::<AuthorizePayment>("payments")
        .cancel();
    assert_eq!(script.outcome(), &Outcome::Applied);
    let script = script.expect::<VoidPayment>("payments").reply(
        "authorize-payment",
        Compensation,
        &PaymentVoided {
            purchase_id: purchase.purchase_id,
        },
    );
    released(script, &purchase).ends(Standing::Cancelled);
}

#[test]
fn once_the_order_is_commanded_a_cancel_is_refused() {
    let script = authorized(&tents()).cancel().ends(Standing::Running);
    assert_eq!(
        script.outcome(),
        &Outcome::CancelRefused(CancelRefused::PastPointOfNoReturn)
    );
}

#[test]
fn a_participant_that_is_silent_is_asked_eight_times_before_everything_is_undone() {
    let purchase = tents();
    let mut script = validated(&purchase).expect::<ReserveProducts>("product-admin");
    for _ in 2..=8 {
        script = script
            .time_out("reserve-products", Forward)
            .expect::<ReserveProducts>("product-admin");
    }
    let script = script.time_out("reserve-products", Forward);
    let script = released(script, &purchase).ends(Standing::Rejected);
    assert_eq!(script.failure().code, "TEMPORARILY_UNAVAILABLE");
}

#[test]
fn a_silent_orders_service_parks_the_purchase_and_a_late_reply_takes_it_up_again() {
    let purchase = tents();
    let mut script = authorized(&purchase);
    for _ in 2..=8 {
        script = script
            .time_out("create-order", Forward)
            .expect::<CreateOrder>("orders");
    }
    let script = script.time_out("create-order", Forward).ends(Standing::Stuck);
    let created = OrderCreated {
        purchase_id: purchase.purchase_id,
        order_id: OrderId::fresh(),
        number: "O-1".to_owned(),
    };
    script
        .reply("create-order", Forward, &created)
        .expect::<ConfirmReservation>("product-admin")
        .expect::<CapturePayment>("payments")
        .ends(Standing::Running);
}
