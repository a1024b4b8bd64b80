//! Who asks.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use contracts::operator::PurchaseSearch;

use super::{
    failure::Failure,
    ids,
    order::{self, OrderObject},
    paging::{self, Page},
    purchases::{self, PurchasePage},
    reader::Reader,
};
use crate::{
    auth::{Identity, Role},
    domain::words::PurchaseState,
};

/// Who asks, as the token says.
#[derive(Debug)]
pub(crate) struct ViewerObject(pub Identity);

/// Who asks, as the token says.
#[Object(name = "Viewer")]
impl ViewerObject {
    /// Opaque.
    async fn id(&self) -> ID {
        ids::customer(&self.0.subject)
    }

    async fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    async fn email(&self) -> Option<&str> {
        self.0.email.as_deref()
    }

    /// Every role that counts, implied ones included.
    async fn roles(&self) -> Vec<Role> {
        self.0.role.with_implied()
    }

    /// The viewer's own purchases, newest first; null while they cannot be asked for.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn purchases(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
        states: Option<Vec<PurchaseState>>,
    ) -> Result<Option<PurchasePage>, Failure> {
        let size = paging::size(first)?;
        let before = purchases::place(after.as_deref())?;
        let asks_for_none = states.as_ref().is_some_and(Vec::is_empty);
        let states = states.unwrap_or_default();
        let search = PurchaseSearch {
            customer: Some(self.0.subject.clone()),
            states: (!states.is_empty()).then(|| {
                let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
                words.join(",")
            }),
            ..PurchaseSearch::default()
        };
        let found = if asks_for_none {
            Vec::new()
        } else {
            let reader = ctx.data_unchecked::<Arc<Reader>>();
            reader.purchases_of_viewer(before, size + 1, &states).await?
        };
        Ok(Some(purchases::of(found, size, before.is_none(), search)))
    }

    /// The viewer's own orders, newest first; null while they cannot be asked for.
    #[graphql(complexity = "paging::cost(first, child_complexity)")]
    async fn orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Option<Page<OrderObject>>, Failure> {
        order::own(ctx, first, after).await.map(Some)
    }
}
