//! Ids as clients see them: opaque, and tagged with what they are the id of.

use std::fmt::Display;

use async_graphql::ID;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use contracts::ids::{CustomerId, OrderId, PaymentId, ProductId, PurchaseId};

use uuid::Uuid;

use super::failure::Failure;

/// The longest subject: OpenID Connect Core, section 2, allows 255 ASCII characters.
const MAX_SUBJECT_BYTES: usize = 255;

/// What an id is the id of. Orders and payments name their purchase, because whose they are is known by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Product(ProductId),
    Purchase(PurchaseId),
    Order(PurchaseId, OrderId),
    Payment(PurchaseId, PaymentId),
    /// The service that parked it, and its id there.
    DeadLetter(String, Uuid),
    Customer(CustomerId),
}

/// The id of a product.
pub(crate) fn product(id: ProductId) -> ID {
    encode("Product", id)
}

/// The id of a purchase.
pub(crate) fn purchase(id: PurchaseId) -> ID {
    encode("Purchase", id)
}

/// The id of an order.
pub(crate) fn order(purchase: PurchaseId, id: OrderId) -> ID {
    encode("Order", format_args!("{purchase}/{id}"))
}

/// The id of a payment.
pub(crate) fn payment(purchase: PurchaseId, id: PaymentId) -> ID {
    encode("Payment", format_args!("{purchase}/{id}"))
}

/// The id of a customer.
pub(crate) fn customer(id: &CustomerId) -> ID {
    encode("Customer", id)
}

/// The id of a parked message.
pub(crate) fn dead_letter(service: &str, id: Uuid) -> ID {
    encode("DeadLetter", format_args!("{service}/{id}"))
}

/// The parked message that a client's id stands for.
pub(crate) fn as_dead_letter(id: &ID) -> Option<(String, Uuid)> {
    match target(id)? {
        Target::DeadLetter(service, id) => Some((service, id)),
        Target::Product(_)
        | Target::Purchase(_)
        | Target::Order(..)
        | Target::Payment(..)
        | Target::Customer(_) => None,
    }
}

/// What a client's id stands for; none when it is not one of ours.
pub(crate) fn target(id: &ID) -> Option<Target> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id.as_str()).ok()?).ok()?;
    let (tag, value) = text.split_once(':')?;
    match tag {
        "Product" => value.parse().ok().map(Target::Product),
        "Purchase" => value.parse().ok().map(Target::Purchase),
        "Order" => {
            let (purchase, order) = value.split_once('/')?;
            Some(Target::Order(purchase.parse().ok()?, order.parse().ok()?))
        }
        "Payment" => {
            let (purchase, payment) = value.split_once('/')?;
            Some(Target::Payment(purchase.parse().ok()?, payment.parse().ok()?))
        }
        "DeadLetter" => {
            let (service, id) = value.split_once('/')?;
            Some(Target::DeadLetter(service.to_owned(), id.parse().ok()?))
        }
        "Customer" if is_subject(value) => Some(Target::Customer(CustomerId(value.to_owned()))),
        _ => None,
    }
}

/// The product that a client's id stands for.
pub(crate) fn as_product(id: &ID) -> Option<ProductId> {
    match target(id)? {
        Target::Product(id) => Some(id),
        Target::Purchase(_)
        | Target::Order(..)
        | Target::Payment(..)
        | Target::DeadLetter(..)
        | Target::Customer(_) => None,
    }
}

/// The purchase that a client's id stands for.
pub(crate) fn as_purchase(id: &ID) -> Option<PurchaseId> {
    match target(id)? {
        Target::Purchase(id) => Some(id),
        Target::Product(_)
        | Target::Order(..)
        | Target::Payment(..)
        | Target::DeadLetter(..)
        | Target::Customer(_) => None,
    }
}

/// The order that a client's id stands for, with its purchase.
pub(crate) fn as_order(id: &ID) -> Option<(PurchaseId, OrderId)> {
    match target(id)? {
        Target::Order(purchase, order) => Some((purchase, order)),
        Target::Product(_)
        | Target::Purchase(_)
        | Target::Payment(..)
        | Target::DeadLetter(..)
        | Target::Customer(_) => None,
    }
}

/// The customer that a client's id stands for.
pub(crate) fn as_customer(id: &ID) -> Option<CustomerId> {
    match target(id)? {
        Target::Customer(customer) => Some(customer),
        Target::Product(_)
        | Target::Purchase(_)
        | Target::Order(..)
        | Target::Payment(..)
        | Target::DeadLetter(..) => None,
    }
}

/// Whether a token could have such a subject: PostgreSQL keeps no zero byte, and nobody's is so long.
fn is_subject(text: &str) -> bool {
    (1..=MAX_SUBJECT_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}

/// The id of a message of a purchase's saga.
pub(crate) fn saga_message(purchase: PurchaseId, place: i64) -> ID {
    encode("SagaMessage", format_args!("{purchase}/{place}"))
}

/// The failure for an id that is none of the kind that is asked for.
pub(crate) fn not_an_id_of(kind: &str) -> Failure {
    Failure::BadInput(no_id_text(kind))
}

/// What is said to an id that is none of the kind that is asked for.
pub(crate) fn no_id_text(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("This is not the id of {article} {kind}. Use an id as this API gave it.")
}

fn encode(tag: &str, value: impl Display) -> ID {
    ID(URL_SAFE_NO_PAD.encode(format!("{tag}:{value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_what_it_stands_for_and_to_nothing_else() {
        let (bought, thing) = (PurchaseId::fresh(), ProductId::fresh());
        assert_eq!(as_purchase(&purchase(bought)), Some(bought));
        assert_eq!(as_product(&purchase(bought)), None);
        assert_eq!(as_product(&product(thing)), Some(thing));
        let made = OrderId::fresh();
        assert_eq!(target(&order(bought, made)), Some(Target::Order(bought, made)));
        for wrong in [
            "",
            "Purchase:1",
            &thing.to_string(),
            &URL_SAFE_NO_PAD.encode("Purchase:1"),
        ] {
            assert_eq!(target(&ID::from(wrong)), None, "{wrong}");
        }
    }
}
