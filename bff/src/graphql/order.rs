//! Orders and payments.

use async_graphql::{ComplexObject, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use contracts::{
    http::{Order, Payment},
    ids::{OrderId, PaymentId, PurchaseId},
    money::Money,
};

use super::{ids, purchase::PurchaseObject, scalars::MoneyObject};
use crate::domain::{
    NotUnderstood, time,
    words::{OrderState, PaymentState},
};

/// What is made of a purchase that goes through.
#[derive(Debug)]
pub(crate) struct OrderObject {
    id: OrderId,
    number: String,
    state: OrderState,
    total: Money,
    placed_at: DateTime<Utc>,
    purchase: PurchaseObject,
}

impl OrderObject {
    /// The order of a purchase.
    pub fn of(order: Order, purchase: PurchaseObject) -> Result<Self, NotUnderstood> {
        Ok(Self {
            id: order.order_id,
            number: order.number,
            state: order.state.parse()?,
            total: Money::new(order.total_minor, order.currency),
            placed_at: time(order.placed_at)?,
            purchase,
        })
    }
}

/// What is made of a purchase that goes through.
#[Object(name = "Order")]
impl OrderObject {
    /// Opaque.
    pub(crate) async fn id(&self) -> ID {
        ids::order(self.purchase.0.id, self.id)
    }

    /// Its number for people.
    async fn number(&self) -> &str {
        &self.number
    }

    async fn state(&self) -> OrderState {
        self.state
    }

    async fn total(&self) -> MoneyObject {
        self.total.into()
    }

    async fn purchase(&self) -> &PurchaseObject {
        &self.purchase
    }

    async fn placed_at(&self) -> DateTime<Utc> {
        self.placed_at
    }
}

/// One attempt to take money.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Payment", complex)]
pub(crate) struct PaymentObject {
    #[graphql(skip)]
    purchase: PurchaseId,
    #[graphql(skip)]
    payment: PaymentId,
    state: PaymentState,
    amount: MoneyObject,
    /// The payment method as its owner knows it.
    method_label: String,
    /// Why it was declined, in words that a shopper understands.
    decline_message: Option<String>,
    updated_at: DateTime<Utc>,
}

#[ComplexObject]
impl PaymentObject {
    /// Opaque.
    pub(crate) async fn id(&self) -> ID {
        ids::payment(self.purchase, self.payment)
    }
}

impl TryFrom<Payment> for PaymentObject {
    type Error = NotUnderstood;
    fn try_from(payment: Payment) -> Result<Self, Self::Error> {
        Ok(Self {
            purchase: payment.purchase_id,
            payment: payment.payment_id,
            state: payment.state.parse()?,
            amount: Money::new(payment.amount_minor, payment.currency).into(),
            method_label: payment.method_label,
            decline_message: payment.decline_message,
            updated_at: time(payment.updated_at)?,
        })
    }
}
