//! The guard of a field, and the directive that shows it in the schema's text.
//!
//! The two stand side by side at every guarded field; the test `schema::whatever_shows_a_guard_has_one` holds them
//! together.

use async_graphql::{Context, Guard, TypeDirective};

use super::failure::Failure;
use crate::auth::{Role, Viewer};

/// The role that a field asks for. Shown here, enforced by code.
#[TypeDirective(location = "FieldDefinition", location = "Object")]
pub(crate) fn auth(#[graphql(default_with = "Role::Customer")] requires: Role) {}

/// Lets viewers of this role and above pass.
#[derive(Debug)]
pub(crate) struct Requires(pub Role);

impl Guard for Requires {
    async fn check(&self, ctx: &Context<'_>) -> async_graphql::Result<()> {
        let viewer = ctx.data_unchecked::<Viewer>();
        if viewer.role() >= self.0 {
            return Ok(());
        }
        let failure = match viewer {
            Viewer::Anonymous => Failure::Unauthenticated(
                "Sign in to use this: send the header `Authorization: Bearer <token>`.".to_owned(),
            ),
            Viewer::Known(_) => Failure::Forbidden(format!(
                "This needs the role {}, which your token does not have.",
                self.0.name()
            )),
        };
        Err(failure.into())
    }
}
