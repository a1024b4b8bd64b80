//! The purchase, by purchase-manager's own definition.

use std::{
    fmt::{self, Write},
    time::Duration,
};

use contracts::{
    Message,
    consolidator::{InventoryRejected, InventoryValidated, ValidationCancelled},
    ids::{CustomerId, OrderId, PaymentId, ProductId, PurchaseId},
    money::Currency,
    orders::{OrderCancelled, OrderCreated, OrderRejected},
    payments::{PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided},
    product_admin::{ProductsReleased, ProductsReserved, ReservationConfirmed, ReservationRejected},
    purchase_manager::{CommandSuperseded, PurchaseLine},
};
use purchase_manager::{
    definitions::PurchaseSaga,
    exchange::{Command, Reply},
    purchase::Purchase as Data,
    purchase_saga::purchase_saga,
};
use saga::{Direction, RetryPolicy, SentCommand, ShapeError, StepName};
use uuid::Uuid;

use crate::scenario::{Answer, Scenario};

/// Two sends of a command, so that budgets are spent within short schedules.
const RETRY: RetryPolicy = RetryPolicy::fast(Duration::from_secs(1), Duration::from_secs(2), 2);

/// A purchase.
#[derive(Debug)]
pub struct Purchase(PurchaseSaga);

impl Purchase {
    /// The purchase saga with short timeouts.
    ///
    /// # Errors
    /// Never for this definition.
    pub fn new() -> Result<Self, ShapeError> {
        purchase_saga(RETRY).map(Self)
    }
}

impl Scenario for Purchase {
    type Data = Data;
    type Command = Command;
    type Reply = Reply;

    fn name(&self) -> &'static str {
        "purchase"
    }

    fn definition(&self) -> &PurchaseSaga {
        &self.0
    }

    fn data(&self, saga_id: Uuid) -> Data {
        let id = PurchaseId(saga_id);
        Data {
            id,
            customer_id: CustomerId("customer".to_owned()),
            reference: id.reference(),
            lines: vec![PurchaseLine {
                product_id: ProductId(saga_id),
                sku: "TENT-2".to_owned(),
                name: "Tent".to_owned(),
                quantity: 2,
                unit_price_minor: 29_950,
            }],
            currency: Currency::EUR,
            total_minor: 59_900,
            payment_method_token: "tok_ok".to_owned(),
            home_delivery: false,
            note: None,
            submitted_at: 1_700_000_000_000_000,
        }
    }

    fn reply(&self, saga_id: Uuid, step: &StepName, answer: Answer) -> Option<Reply> {
        let purchase_id = PurchaseId(saga_id);
        let payment_id = PaymentId(saga_id);
        let reason = || "no".to_owned();
        match (answer, step.as_str()) {
            (Answer::Done, "validate-inventory") => reply(&InventoryValidated { purchase_id }),
            (Answer::Refused, "validate-inventory") => reply(&InventoryRejected {
                purchase_id,
                shortages: Vec::new(),
            }),
            (Answer::Undone, "validate-inventory") => reply(&ValidationCancelled { purchase_id }),
            (Answer::Done, "reserve-products") => reply(&ProductsReserved { purchase_id }),
            (Answer::Refused, "reserve-products") => reply(&ReservationRejected {
                purchase_id,
                shortages: Vec::new(),
            }),
            (Answer::Undone, "reserve-products") => reply(&ProductsReleased { purchase_id }),
            (Answer::Done, "authorize-payment") => reply(&PaymentAuthorized {
                purchase_id,
                payment_id,
            }),
            (Answer::Refused, "authorize-payment") => reply(&PaymentDeclined {
                purchase_id,
                payment_id,
                reason: reason(),
            }),
            (Answer::Undone, "authorize-payment") => reply(&PaymentVoided { purchase_id }),
            (Answer::Done, "create-order") => reply(&OrderCreated {
                purchase_id,
                order_id: OrderId(saga_id),
                number: "O-1".to_owned(),
            }),
            (Answer::Refused, "create-order") => reply(&OrderRejected {
                purchase_id,
                reason: reason(),
            }),
            (Answer::Undone, "create-order") => reply(&OrderCancelled { purchase_id }),
            (Answer::Done, "confirm-reservation") => reply(&ReservationConfirmed { purchase_id }),
            (Answer::Done, "capture-payment") => reply(&PaymentCaptured {
                purchase_id,
                payment_id,
            }),
            (Answer::Superseded, _) => reply(&CommandSuperseded { purchase_id }),
            (Answer::Done | Answer::Refused | Answer::Undone, _) => None,
        }
    }

    fn means(&self, sent: &SentCommand<Command>) -> (StepName, Direction) {
        let (step, direction) = match kind_of(&sent.command).as_str() {
            "ValidateInventory" => ("validate-inventory", Direction::Forward),
            "CancelValidation" => ("validate-inventory", Direction::Compensation),
            "ReserveProducts" => ("reserve-products", Direction::Forward),
            "ReleaseProducts" => ("reserve-products", Direction::Compensation),
            "AuthorizePayment" => ("authorize-payment", Direction::Forward),
            "VoidPayment" => ("authorize-payment", Direction::Compensation),
            "CreateOrder" => ("create-order", Direction::Forward),
            "CancelOrder" => ("create-order", Direction::Compensation),
            "ConfirmReservation" => ("confirm-reservation", Direction::Forward),
            "CapturePayment" => ("capture-payment", Direction::Forward),
            _ => {
                return (
                    StepName::literal("a command that no participant knows"),
                    sent.direction,
                );
            }
        };
        (StepName::literal(step), direction)
    }
}

fn reply<M: Message>(message: &M) -> Option<Reply> {
    Reply::of(message).ok()
}

/// The type of a command, which it shows to nobody but the log and those who debug. Formatting is stopped as soon as the
/// name is there: the rest is as long as the purchase.
fn kind_of(command: &Command) -> String {
    struct Beginning(String);
    impl Write for Beginning {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0.push_str(part);
            // Once a field of the message itself begins, its name is complete.
            if self.0.contains("purchase_id") {
                Err(fmt::Error)
            } else {
                Ok(())
            }
        }
    }
    let mut beginning = Beginning(String::with_capacity(128));
    let _ = write!(beginning, "{command:?}");
    let after = beginning.0.split("message: ").nth(1).unwrap_or_default();
    after.split_whitespace().next().unwrap_or_default().to_owned()
}
