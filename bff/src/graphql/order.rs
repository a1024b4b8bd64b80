//! Orders and payments.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use contracts::{
    http::{Order, Payment},
    ids::{OrderId, PaymentId, PurchaseId},
    money::Money,
};

use super::{
    failure::Failure,
    ids,
    paging::{self, Page},
    purchase::PurchaseObject,
    reader::Reader,
    scalars::MoneyObject,
};
use crate::domain::{
    NotUnderstood, time,
    words::{OrderState, PaymentState},
};

/// What is made of a purchase that goes through.
#[derive(Debug)]
pub(crate) struct OrderObject {
    id: OrderId,
    purchase: PurchaseId,
    number: String,
    state: OrderState,
    total: Money,
    placed_at: DateTime<Utc>,
}

impl TryFrom<Order> for OrderObject {
    type Error = NotUnderstood;
    fn try_from(order: Order) -> Result<Self, Self::Error> {
        Ok(Self {
            id: order.order_id,
            purchase: order.purchase_id,
            number: order.number,
            state: order.state.parse()?,
            total: Money::new(order.total_minor, order.currency),
            placed_at: time(order.placed_at)?,
        })
    }
}

/// What is made of a purchase that goes through.
#[Object(name = "Order")]
impl OrderObject {
    /// Opaque.
    pub(crate) async fn id(&self) -> ID {
        ids::order(self.purchase, self.id)
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

    /// Null while it cannot be asked for.
    async fn purchase(&self, ctx: &Context<'_>) -> Result<Option<PurchaseObject>, Failure> {
        let reader = ctx.data_unchecked::<Arc<Reader>>();
        Ok(reader.purchase(self.purchase).await?.map(PurchaseObject))
    }

    async fn placed_at(&self) -> DateTime<Utc> {
        self.placed_at
    }
}

/// One of the orders that the viewer may see.
pub(super) async fn one(
    ctx: &Context<'_>,
    purchase: PurchaseId,
    id: OrderId,
) -> Result<Option<OrderObject>, Failure> {
    let found = ctx.data_unchecked::<Arc<Reader>>().order(purchase).await?;
    Ok(found
        .filter(|order| order.order_id == id)
        .map(OrderObject::try_from)
        .transpose()?)
}

/// A page of the viewer's own orders, newest first.
pub(super) async fn own(
    ctx: &Context<'_>,
    first: Option<i32>,
    after: Option<String>,
) -> Result<Page<OrderObject>, Failure> {
    let size = paging::size(first)?;
    let before = paging::place(after.as_deref(), |text| text.parse::<OrderId>().ok())?;
    let reader = ctx.data_unchecked::<Arc<Reader>>();
    let mut found = Vec::new();
    for order in reader.orders_of_viewer(before, size + 1).await? {
        found.push(OrderObject::try_from(order)?);
    }
    Ok(paging::page(found, size, before.is_none(), |order| {
        (order.id.to_string(), order)
    }))
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
