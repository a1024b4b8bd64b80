//! What can be followed.

use std::sync::Arc;

use async_graphql::{Context, ID, Subscription as GraphqlSubscription};
use futures::{Stream, stream};

use super::{
    authorization::{Requires, auth},
    dead_letter::{Added, DeadLetterObject},
    failure::Failure,
    following::{ManyPurchases, OnePurchase, SomeProducts, Source},
    ids,
    mutation::signed_in,
    product::ProductObject,
    purchase::PurchaseObject,
    purchases::PurchaseFilter,
    reader::Reader,
};
use crate::{app::App, auth::Role};

/// Products that one subscription follows at most.
const MAX_PRODUCTS: usize = 100;

/// The root of subscriptions.
#[derive(Debug)]
pub(crate) struct Subscription;

/// What can be followed, at /graphql/ws with the protocol graphql-transport-ws, or as server-sent events at /graphql/stream. Every
/// subscription begins with the current state; who reconnects has missed nothing.
#[GraphqlSubscription]
impl Subscription {
    /// Sends the current state first, then every newer version; ends after a terminal state.
    #[graphql(guard = "Requires(Role::Customer)", directive = auth::apply(Role::Customer))]
    async fn purchase_updated(
        &self,
        ctx: &Context<'_>,
        id: ID,
    ) -> Result<impl Stream<Item = PurchaseObject> + use<>, Failure> {
        let id = ids::as_purchase(&id).ok_or_else(|| ids::not_an_id_of("purchase"))?;
        let reader = ctx.data_unchecked::<Arc<Reader>>().clone();
        // Listening begins before the current state is read, so that nothing falls between the two.
        let listener = ctx.data_unchecked::<Arc<App>>().hub.listen(id);
        let Some(current) = reader.purchase(id).await? else {
            return Err(Failure::BadInput("There is no such purchase.".to_owned()));
        };
        let following = OnePurchase {
            id,
            reader,
            listener,
            first: Some(current),
            sent: None,
            over: false,
        };
        Ok(stream::unfold(following, |mut following| async move {
            let update = following.next().await?;
            Some((PurchaseObject(update), following))
        }))
    }

    /// All of the viewer's own purchases: first those that are open and the newest 100, then every newer version of any.
    #[graphql(guard = "Requires(Role::Customer)", directive = auth::apply(Role::Customer))]
    async fn my_purchases_updated(
        &self,
        ctx: &Context<'_>,
    ) -> Result<impl Stream<Item = PurchaseObject> + use<>, Failure> {
        let customer = signed_in(ctx)?.subject.clone();
        let listener = ctx.data_unchecked::<Arc<App>>().hub.listen_to_customer(customer);
        many(ctx, Source::Own(listener)).await
    }

    /// Everybody's purchases that match: first those that are open (100 at most) and the newest 100, then every newer version of any.
    /// One that was sent and matches no longer is sent once more.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn purchases_updated(
        &self,
        ctx: &Context<'_>,
        filter: Option<PurchaseFilter>,
    ) -> Result<impl Stream<Item = PurchaseObject> + use<>, Failure> {
        let wanted = filter.unwrap_or_default().read()?;
        let listener = ctx.data_unchecked::<Arc<App>>().hub.listen_to_purchases();
        many(ctx, Source::Wanted(listener, Box::new(wanted))).await
    }

    /// Products as they are, then every newer version; ends when none of them can be seen any more. Between 1 and 100.
    async fn product_updated(
        &self,
        ctx: &Context<'_>,
        ids: Vec<ID>,
    ) -> Result<impl Stream<Item = ProductObject> + use<>, Failure> {
        if ids.is_empty() || ids.len() > MAX_PRODUCTS {
            return Err(Failure::BadInput(format!(
                "Name between 1 and {MAX_PRODUCTS} products."
            )));
        }
        let products: Option<Vec<_>> = ids.iter().map(ids::as_product).collect();
        let products = products.ok_or_else(|| ids::not_an_id_of("product"))?;
        let reader = ctx.data_unchecked::<Arc<Reader>>().clone();
        let listener = ctx.data_unchecked::<Arc<App>>().hub.listen_to_products();
        let following = SomeProducts::begin(reader, listener, &products).await?;
        Ok(stream::unfold(following, |mut following| async move {
            let update = following.next().await?;
            Some((ProductObject((*update).clone()), following))
        }))
    }

    /// Messages that wait for an operator: the newest that do so already, then every one that comes, soon after it does.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn dead_letter_added(
        &self,
        ctx: &Context<'_>,
    ) -> Result<impl Stream<Item = DeadLetterObject> + use<>, Failure> {
        let added = Added::new(ctx.data_unchecked::<Arc<App>>().clone());
        Ok(stream::unfold(added, |mut added| async move {
            let message = added.next().await;
            Some((message, added))
        }))
    }
}

async fn many(
    ctx: &Context<'_>,
    source: Source,
) -> Result<impl Stream<Item = PurchaseObject> + use<>, Failure> {
    let reader = ctx.data_unchecked::<Arc<Reader>>().clone();
    let following = ManyPurchases::begin(reader, source).await?;
    Ok(stream::unfold(following, |mut following| async move {
        let update = following.next().await;
        Some((PurchaseObject(update), following))
    }))
}
