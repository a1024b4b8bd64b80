//! What can be asked.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object};

use super::{
    Node,
    authorization::{Requires, auth},
    customer::CustomerObject,
    dead_letter::{self, DeadLetterFilter, DeadLetterPage},
    failure::Failure,
    health::{self, GroupObject, ServiceObject},
    ids::{self, Target},
    order::{self, OrderObject, PaymentObject},
    paging::{self, Page},
    product::ProductObject,
    purchase::PurchaseObject,
    purchases::{self, PurchaseFilter, PurchasePage},
    reader::Reader,
    viewer::ViewerObject,
};
use crate::{
    auth::{Role, Viewer},
    domain::words::{Availability, ProductStatus},
    store::catalogue::{Place, Selection},
};

/// Characters of a text to search for at most.
const MAX_SEARCH_CHARACTERS: usize = 200;

/// Which products to list.
#[derive(Debug, Default, InputObject)]
pub(crate) struct ProductFilter {
    /// Part of the name, the stock keeping unit or the description, in any case.
    text: Option<String>,
    /// Only operators see others than ACTIVE.
    status: Option<Vec<ProductStatus>>,
    availability: Option<Vec<Availability>>,
}

/// The root of queries.
#[derive(Debug)]
pub(crate) struct Query;

/// What can be asked.
#[Object]
impl Query {
    /// Anything by its id; null when there is no such thing, or it is not the viewer's.
    async fn node(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Node>, Failure> {
        let reader = ctx.data_unchecked::<Arc<Reader>>();
        match ids::target(&id) {
            None => Ok(None),
            Some(Target::Product(id)) => {
                Ok(reader.product(id).await?.map(|p| Node::Product(ProductObject(p))))
            }
            Some(Target::Purchase(id)) => Ok(reader
                .purchase(id)
                .await?
                .map(|p| Node::Purchase(PurchaseObject(p)))),
            Some(Target::Order(purchase, id)) => Ok(order::one(ctx, purchase, id).await?.map(Node::Order)),
            Some(Target::DeadLetter(service, id)) => {
                Ok(dead_letter::one(ctx, &service, id).await?.map(Node::DeadLetter))
            }
            Some(Target::Payment(purchase, id)) => {
                let payments = reader.payments(purchase).await?;
                let payment = payments.into_iter().find(|payment| payment.payment_id == id);
                Ok(payment
                    .map(PaymentObject::try_from)
                    .transpose()?
                    .map(Node::Payment))
            }
            Some(Target::Customer(customer)) => {
                let known = reader.contact(&customer).await?.is_some();
                Ok(known.then_some(Node::Customer(CustomerObject(customer))))
            }
        }
    }

    /// Who asks.
    #[graphql(guard = "Requires(Role::Customer)", directive = auth::apply(Role::Customer))]
    async fn viewer(&self, ctx: &Context<'_>) -> Option<ViewerObject> {
        ctx.data_unchecked::<Viewer>()
            .identity()
            .cloned()
            .map(ViewerObject)
    }

    /// A product by its id or its stock keeping unit.
    async fn product(
        &self,
        ctx: &Context<'_>,
        id: Option<ID>,
        sku: Option<String>,
    ) -> Result<Option<ProductObject>, Failure> {
        let reader = ctx.data_unchecked::<Arc<Reader>>();
        let found = match (id, sku) {
            (Some(id), None) => {
                reader
                    .product(ids::as_product(&id).ok_or_else(|| ids::not_an_id_of("product"))?)
                    .await?
            }
            (None, Some(sku)) => reader.product_by_sku(&sku).await?,
            (Some(_), Some(_)) | (None, None) => {
                return Err(Failure::BadInput("Give either `id` or `sku`.".to_owned()));
            }
        };
        Ok(found.map(ProductObject))
    }

    /// The catalogue, in the order of the stock keeping units.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn products(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
        filter: Option<ProductFilter>,
    ) -> Result<Page<ProductObject>, Failure> {
        let size = paging::size(first)?;
        let after = paging::place(after.as_deref(), read_place)?;
        let ProductFilter {
            text,
            status,
            availability,
        } = filter.unwrap_or_default();
        if text
            .as_ref()
            .is_some_and(|text| text.chars().count() > MAX_SEARCH_CHARACTERS)
        {
            return Err(Failure::BadInput(format!(
                "Search for at most {MAX_SEARCH_CHARACTERS} characters."
            )));
        }
        let text = text
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
        let selection = Selection {
            text,
            statuses: status,
            availabilities: availability,
        };
        let reader = ctx.data_unchecked::<Arc<Reader>>();
        let found = reader.list_products(selection, after.as_ref(), size + 1).await?;
        Ok(paging::page(found, size, after.is_none(), |product| {
            (format!("{}/{}", product.id, product.sku), ProductObject(product))
        }))
    }

    /// Own purchase; another customer's id gives null, as an unknown id does.
    #[graphql(guard = "Requires(Role::Customer)", directive = auth::apply(Role::Customer))]
    async fn purchase(&self, ctx: &Context<'_>, id: ID) -> Result<Option<PurchaseObject>, Failure> {
        let id = ids::as_purchase(&id).ok_or_else(|| ids::not_an_id_of("purchase"))?;
        Ok(ctx
            .data_unchecked::<Arc<Reader>>()
            .purchase(id)
            .await?
            .map(PurchaseObject))
    }

    /// Own order; another customer's id gives null, as an unknown id does.
    #[graphql(guard = "Requires(Role::Customer)", directive = auth::apply(Role::Customer))]
    async fn order(&self, ctx: &Context<'_>, id: ID) -> Result<Option<OrderObject>, Failure> {
        let (purchase, id) = ids::as_order(&id).ok_or_else(|| ids::not_an_id_of("order"))?;
        order::one(ctx, purchase, id).await
    }

    /// Everybody's purchases, newest first; null while they cannot be asked for.
    #[graphql(
        guard = "Requires(Role::Operator)",
        directive = auth::apply(Role::Operator),
        complexity = "paging::cost(first, child_complexity)"
    )]
    async fn purchases(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
        filter: Option<PurchaseFilter>,
    ) -> Result<Option<PurchasePage>, Failure> {
        purchases::page(ctx, first, after, filter.unwrap_or_default())
            .await
            .map(Some)
    }

    /// Messages that wait for an operator, in all services, newest first; null while none of these answers.
    #[graphql(
        guard = "Requires(Role::Operator)",
        directive = auth::apply(Role::Operator),
        complexity = "paging::cost(first, child_complexity)"
    )]
    async fn dead_letters(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
        filter: Option<DeadLetterFilter>,
    ) -> Result<Option<DeadLetterPage>, Failure> {
        let size = paging::size(first)?;
        let after = paging::place(after.as_deref(), dead_letter::Places::read)?;
        dead_letter::page(ctx, size, after, filter.unwrap_or_default())
            .await
            .map(Some)
    }

    /// Every service, by name. One that does not answer is DOWN.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn services(&self, ctx: &Context<'_>) -> Option<Vec<ServiceObject>> {
        Some(health::services(ctx).await)
    }

    /// What the services have still to read, as they tell it themselves. Those of a service that does not answer are missing: see
    /// `services`.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn consumer_groups(&self, ctx: &Context<'_>) -> Result<Option<Vec<GroupObject>>, Failure> {
        health::groups(ctx).await.map(Some)
    }
}

fn read_place(text: &str) -> Option<Place> {
    let (id, sku) = text.split_once('/')?;
    Some(Place {
        sku: sku.to_owned(),
        id: id.parse().ok()?,
    })
}
