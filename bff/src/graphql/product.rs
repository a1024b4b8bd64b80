//! Products and their stock.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use contracts::{
    http::{InventoryLevel, Movement},
    ids::{ProductId, PurchaseId},
};

use super::{
    authorization::{Requires, auth},
    failure::Failure,
    ids,
    paging::{self, Page},
    purchase::PurchaseObject,
    reader::Reader,
    scalars::MoneyObject,
};
use crate::{
    auth::Role,
    domain::{
        NotUnderstood,
        product::Product,
        time,
        words::{Availability, ProductStatus},
    },
};

/// A product of the catalogue.
#[derive(Debug)]
pub(crate) struct ProductObject(pub Product);

/// A product of the catalogue.
#[Object(name = "Product")]
impl ProductObject {
    /// Opaque.
    pub(crate) async fn id(&self) -> ID {
        ids::product(self.0.id)
    }

    /// The stock keeping unit: its number for people.
    async fn sku(&self) -> &str {
        &self.0.sku
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    async fn price(&self) -> MoneyObject {
        self.0.price.into()
    }

    async fn status(&self) -> ProductStatus {
        self.0.status
    }

    /// A hint. Whether a purchase gets its goods is decided when they are reserved.
    async fn availability(&self) -> Availability {
        self.0.availability
    }

    /// Grows with every change.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// The exact stock, at this moment.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn inventory(&self, ctx: &Context<'_>) -> Result<Option<InventoryObject>, Failure> {
        let level = ctx.data_unchecked::<Arc<Reader>>().inventory(self.0.id).await?;
        Ok(level.map(InventoryObject::try_from).transpose()?)
    }

    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

/// The stock of a product.
#[derive(Debug, SimpleObject)]
#[graphql(name = "InventoryLevel", complex)]
pub(crate) struct InventoryObject {
    #[graphql(skip)]
    product: ProductId,
    /// Units in the house, reserved ones included.
    on_hand: i32,
    /// Units that are held for purchases.
    reserved: i32,
    /// Units that can still be sold.
    available: i32,
    /// Grows with every change of the stock.
    version: i32,
    updated_at: DateTime<Utc>,
}

#[ComplexObject]
impl InventoryObject {
    /// What changed the stock on hand, newest first.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn adjustments(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Page<AdjustmentObject>>, Failure> {
        let size = paging::size(first)?;
        let before = paging::place(after.as_deref(), |text| text.parse().ok())?;
        let found = ctx
            .data_unchecked::<Arc<Reader>>()
            .movements(self.product, before, size + 1)
            .await?;
        let found = found
            .into_iter()
            .map(|movement| Ok((movement.movement_id, AdjustmentObject::try_from(movement)?)))
            .collect::<Result<Vec<_>, NotUnderstood>>()?;
        Ok(Some(paging::page(found, size, before.is_none(), |(id, node)| {
            (id.to_string(), node)
        })))
    }
}

impl TryFrom<InventoryLevel> for InventoryObject {
    type Error = NotUnderstood;
    fn try_from(level: InventoryLevel) -> Result<Self, Self::Error> {
        Ok(Self {
            product: level.product_id,
            on_hand: level.on_hand,
            reserved: level.reserved,
            available: level.available,
            version: level.version,
            updated_at: time(level.updated_at)?,
        })
    }
}

/// One change of the stock on hand.
#[derive(Debug, SimpleObject)]
#[graphql(name = "InventoryAdjustment", complex)]
pub(crate) struct AdjustmentObject {
    /// Units that came (positive) or went.
    delta: i32,
    reason: String,
    /// Who did it.
    actor: String,
    #[graphql(skip)]
    purchase_id: Option<PurchaseId>,
    at: DateTime<Utc>,
}

#[ComplexObject]
impl AdjustmentObject {
    /// The purchase that caused it, if one did.
    async fn purchase(&self, ctx: &Context<'_>) -> Result<Option<PurchaseObject>, Failure> {
        let Some(id) = self.purchase_id else {
            return Ok(None);
        };
        Ok(ctx
            .data_unchecked::<Arc<Reader>>()
            .purchase(id)
            .await?
            .map(PurchaseObject))
    }
}

impl TryFrom<Movement> for AdjustmentObject {
    type Error = NotUnderstood;
    fn try_from(movement: Movement) -> Result<Self, Self::Error> {
        Ok(Self {
            delta: movement.delta,
            reason: movement.reason,
            actor: movement.actor,
            purchase_id: movement.purchase_id,
            at: time(movement.at)?,
        })
    }
}
