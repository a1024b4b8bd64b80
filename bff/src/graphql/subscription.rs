//! What can be followed.

use std::{sync::Arc, time::Duration};

use async_graphql::{Context, ID, Subscription as GraphqlSubscription};
use contracts::ids::PurchaseId;
use futures::{Stream, stream};

use super::{
    authorization::{Requires, auth},
    failure::Failure,
    ids,
    purchase::PurchaseObject,
    reader::Reader,
};
use crate::{app::App, auth::Role, domain::purchase::Purchase, live::Listener};

/// How long a subscriber waits for an event before the current state is read again: so a lost event delays an update,
/// and costs none.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The root of subscriptions.
#[derive(Debug)]
pub(crate) struct Subscription;

/// What can be followed, at /graphql/ws with the protocol graphql-transport-ws.
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
        let following = Following {
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
}

struct Following {
    id: PurchaseId,
    reader: Arc<Reader>,
    listener: Listener,
    /// The state at the beginning, until it is sent.
    first: Option<Arc<Purchase>>,
    /// The version that was sent last.
    sent: Option<i32>,
    over: bool,
}

impl Following {
    /// The next newer version; none after a terminal state.
    async fn next(&mut self) -> Option<Arc<Purchase>> {
        while !self.over {
            let update = match self.first.take() {
                Some(first) => first,
                None => match self.wait().await {
                    Some(update) => update,
                    None => continue,
                },
            };
            if self.sent.is_none_or(|sent| update.version > sent) {
                self.sent = Some(update.version);
                self.over = update.state.is_terminal();
                return Some(update);
            }
        }
        None
    }

    async fn wait(&mut self) -> Option<Arc<Purchase>> {
        match tokio::time::timeout(READ_AGAIN_AFTER, self.listener.next()).await {
            Ok(Some(update)) => Some(update),
            // Some events were missed, or none came: the owner knows. When it is away, the next turn asks again.
            Ok(None) | Err(_) => self.reader.purchase(self.id).await.ok().flatten(),
        }
    }
}
