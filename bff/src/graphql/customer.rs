//! Who bought.

use std::sync::Arc;

use async_graphql::{Context, ID, Object};
use contracts::{http::Contact, ids::CustomerId};

use super::{failure::Failure, ids, reader::Reader};

/// Who bought. Name and e-mail are those of the token of their last purchase.
#[derive(Debug)]
pub(crate) struct CustomerObject(pub CustomerId);

/// Who bought. Name and e-mail are those of the token of their last purchase.
#[Object(name = "Customer")]
impl CustomerObject {
    /// Opaque.
    pub(crate) async fn id(&self) -> ID {
        ids::customer(&self.0)
    }

    async fn name(&self, ctx: &Context<'_>) -> Result<Option<String>, Failure> {
        Ok(self.contact(ctx).await?.and_then(|contact| contact.name))
    }

    async fn email(&self, ctx: &Context<'_>) -> Result<Option<String>, Failure> {
        Ok(self.contact(ctx).await?.and_then(|contact| contact.email))
    }
}

impl CustomerObject {
    async fn contact(&self, ctx: &Context<'_>) -> Result<Option<Contact>, Failure> {
        ctx.data_unchecked::<Arc<Reader>>().contact(&self.0).await
    }
}
