//! Who asks.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use contracts::ids::PurchaseId;

use super::{
    failure::Failure,
    ids,
    paging::{self, Page},
    purchase::PurchaseObject,
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
    ) -> Result<Option<Page<PurchaseObject>>, Failure> {
        let size = paging::size(first)?;
        let before = paging::place(after.as_deref(), |text| text.parse::<PurchaseId>().ok())?;
        let states = match states {
            // No state at all is asked for.
            Some(states) if states.is_empty() => return Ok(Some(Page::new(before.is_some(), false))),
            Some(states) => states,
            None => Vec::new(),
        };
        let reader = ctx.data_unchecked::<Arc<Reader>>();
        let found = reader.purchases_of_viewer(before, size + 1, &states).await?;
        Ok(Some(paging::page(found, size, before.is_none(), |purchase| {
            (purchase.id.to_string(), PurchaseObject(purchase))
        })))
    }
}
