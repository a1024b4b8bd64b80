//! Who asks.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use contracts::operator::PurchaseSearch;

use super::{
    charge::Charge,
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

/// Points that a viewer has; every field of a request costs one, those of a page as often as `first` says.
#[derive(Debug, SimpleObject)]
pub(crate) struct RateLimit {
    /// Points at most.
    limit: i32,
    /// Points that are left.
    remaining: i32,
    /// What this operation costs.
    cost: i32,
    /// When all points are back, if nothing more is asked for.
    reset_at: DateTime<Utc>,
}

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

    /// What the viewer may still ask for, this operation included.
    async fn rate_limit(&self, ctx: &Context<'_>) -> Result<RateLimit, Failure> {
        let charge = ctx.data_opt::<Arc<Charge>>().and_then(|charge| charge.standing());
        let standing = charge
            .ok_or_else(|| Failure::Internal(anyhow::anyhow!("a viewer's operation was not charged")))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "tells a client when to come again; no fact of the business depends on it"
        )]
        let now = Utc::now();
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        Ok(RateLimit {
            limit: number(standing.limit),
            remaining: number(standing.remaining),
            cost: number(standing.cost),
            reset_at: now + standing.full_in,
        })
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
