//! One filled value of every message: no list empty, nothing optional left out.

use contracts::{
    Message, MessageType, consolidator as c,
    ids::{CustomerId, OrderId, PaymentId, ProductId, PurchaseId},
    money::Currency,
    orders as o, payments as p, product_admin as a, purchase_manager as m,
};
use serde_json::Value;
use uuid::Uuid;

type ReadBack = dyn Fn(&[u8], &apache_avro::Schema) -> Result<bool, String>;

/// A message whose type is forgotten.
pub struct Sample {
    pub message_type: &'static MessageType,
    /// The fields as serde sees them.
    pub json: Value,
    /// Encoded with its own schema.
    pub datum: Vec<u8>,
    /// Decodes a datum written with the given schema; tells whether it is this sample.
    pub is_read_back: Box<ReadBack>,
}

fn sample<M: Message + PartialEq>(message: M) -> Sample {
    let kind = M::message_type();
    Sample {
        message_type: kind,
        json: serde_json::to_value(&message).unwrap(),
        datum: contracts::message::encode(&message).unwrap_or_else(|error| {
            panic!(
                "{}: {:?}: the Rust type and avro/ have come apart",
                kind.name, error
            )
        }),
        is_read_back: Box::new(move |datum, writer| {
            contracts::message::decode::<M>(datum, writer)
                .map(|read| read == message)
                .map_err(|error| format!("{error:?}"))
        }),
    }
}

const fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0192_f0c4_0000_7000_8000_0000_0000_0000 + number)
}

const PURCHASE: PurchaseId = PurchaseId(id(1));
const PRODUCT: ProductId = ProductId(id(2));
const ORDER: OrderId = OrderId(id(3));
const PAYMENT: PaymentId = PaymentId(id(4));
const EUR: Currency = Currency::EUR;

fn customer_id() -> CustomerId {
    CustomerId("customer-1".to_owned())
}

fn text(words: &str) -> String {
    words.to_owned()
}

fn purchase_line() -> m::PurchaseLine {
    m::PurchaseLine {
        product_id: PRODUCT,
        sku: text("LAMP-1"),
        name: text("Lämpchen 💡"),
        quantity: 2,
        unit_price_minor: 1_999,
    }
}

fn submit_purchase(note: Option<String>) -> m::SubmitPurchase {
    m::SubmitPurchase {
        purchase_id: PURCHASE,
        customer_id: customer_id(),
        reference: text("P-0000001"),
        lines: vec![purchase_line()],
        currency: EUR,
        total_minor: 3_998,
        payment_method_token: text("tok_ok"),
        home_delivery: true,
        note,
        submitted_at: 1_767_225_600_000_000,
    }
}

fn purchase_updated(whole: bool) -> m::PurchaseUpdated {
    let at = 1_767_225_600_000_000;
    m::PurchaseUpdated {
        purchase_id: PURCHASE,
        customer_id: customer_id(),
        reference: text("P-0000001"),
        version: 7,
        state: text("REJECTED"),
        lines: vec![purchase_line()],
        currency: EUR,
        total_minor: 3_998,
        home_delivery: false,
        steps: vec![m::PurchaseStepView {
            name: text("reserve-products"),
            participant: text("product-admin"),
            direction: text("FORWARD"),
            state: text("FAILED"),
            attempt: 1,
            max_attempts: 8,
            started_at: whole.then_some(at),
            finished_at: whole.then_some(at + 1),
            next_retry_at: whole.then_some(at + 2),
        }],
        failure: whole.then(|| m::PurchaseFailureView {
            code: text("INSUFFICIENT_STOCK"),
            message: text("Lamp is out of stock."),
            step: Some(text("reserve-products")),
        }),
        created_at: at,
        updated_at: at + 3,
    }
}

fn product_changed(description: Option<String>) -> a::ProductChanged {
    a::ProductChanged {
        product_id: PRODUCT,
        sku: text("LAMP-1"),
        name: text("Lamp"),
        description,
        price_minor: i64::MAX,
        currency: EUR,
        status: text("ACTIVE"),
        availability: text("IN_STOCK"),
        version: i32::MAX,
        updated_at: i64::MIN,
    }
}

/// A filled sample of every message.
pub fn all() -> Vec<Sample> {
    let purchase_id = PURCHASE;
    vec![
        sample(c::ValidateInventory {
            purchase_id,
            currency: EUR,
            lines: vec![c::ValidateLine {
                product_id: PRODUCT,
                quantity: 2,
                unit_price_minor: 1_999,
            }],
        }),
        sample(c::InventoryValidated { purchase_id }),
        sample(c::InventoryRejected {
            purchase_id,
            shortages: vec![c::Shortage {
                product_id: PRODUCT,
                requested: 11,
                available: 10,
            }],
        }),
        sample(c::PriceChanged {
            purchase_id,
            changes: vec![c::PriceChange {
                product_id: PRODUCT,
                expected_minor: 1_999,
                actual_minor: 2_099,
                currency: EUR,
            }],
        }),
        sample(c::CancelValidation { purchase_id }),
        sample(c::ValidationCancelled { purchase_id }),
        sample(a::ReserveProducts {
            purchase_id,
            lines: vec![a::ReserveLine {
                product_id: PRODUCT,
                quantity: 2,
            }],
        }),
        sample(a::ProductsReserved { purchase_id }),
        sample(a::ReservationRejected {
            purchase_id,
            shortages: vec![a::ReservationShortage {
                product_id: PRODUCT,
                requested: 11,
                available: 10,
            }],
        }),
        sample(a::ReleaseProducts { purchase_id }),
        sample(a::ProductsReleased { purchase_id }),
        sample(a::ConfirmReservation { purchase_id }),
        sample(a::ReservationConfirmed { purchase_id }),
        sample(a::ReservationExpired {
            purchase_id,
            expired_at: 1_790_000_000_000_000,
            asked: 3,
        }),
        sample(product_changed(Some(text("Gives light.")))),
        sample(p::AuthorizePayment {
            purchase_id,
            customer_id: customer_id(),
            amount_minor: 3_998,
            currency: EUR,
            method_token: text("tok_ok"),
        }),
        sample(p::PaymentAuthorized {
            purchase_id,
            payment_id: PAYMENT,
        }),
        sample(p::PaymentDeclined {
            purchase_id,
            payment_id: PAYMENT,
            reason: text("Over the limit."),
        }),
        sample(p::VoidPayment { purchase_id }),
        sample(p::PaymentVoided { purchase_id }),
        sample(p::CapturePayment { purchase_id }),
        sample(p::PaymentCaptured {
            purchase_id,
            payment_id: PAYMENT,
        }),
        sample(o::CreateOrder {
            purchase_id,
            customer_id: customer_id(),
            currency: EUR,
            total_minor: 3_998,
            home_delivery: true,
            lines: vec![o::OrderLine {
                product_id: PRODUCT,
                sku: text("LAMP-1"),
                name: text("Lamp"),
                quantity: 2,
                unit_price_minor: 1_999,
            }],
        }),
        sample(o::OrderCreated {
            purchase_id,
            order_id: ORDER,
            number: text("O-2026-000123"),
        }),
        sample(o::OrderRejected {
            purchase_id,
            reason: text("It has no products."),
        }),
        sample(o::CancelOrder { purchase_id }),
        sample(o::OrderCancelled { purchase_id }),
        sample(submit_purchase(Some(text("Ring twice.")))),
        sample(purchase_updated(true)),
        sample(m::CommandSuperseded { purchase_id }),
    ]
}

/// The messages that have something optional, without it.
pub fn bare() -> Vec<Sample> {
    vec![
        sample(submit_purchase(None)),
        sample(purchase_updated(false)),
        sample(product_changed(None)),
    ]
}
