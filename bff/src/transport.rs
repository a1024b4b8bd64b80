//! How requests come in and answers go out: GraphQL over HTTP and over WebSocket.
//!
//! Our own handlers instead of the library's axum service, which runs mutations over GET and for content types that any
//! page may send, and closes WebSockets with other codes than the protocol says.
//!
//! | module | job |
//! |---|---|
//! | [`http`] | GraphQL over HTTP: <https://graphql.github.io/graphql-over-http/draft/> |
//! | [`negotiate`] | which media type is answered |
//! | [`events`] | server-sent events, for subscriptions without a WebSocket |
//! | [`websocket`] | graphql-transport-ws: <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md> |
//! | [`limits`] | what one request may ask for |
//! | [`typename`] | `__typename` by the specification |
//! | [`throttle`] | what one viewer may ask for over time |
//! | [`execute`] | from a request to its answer, the same for both ways |
//! | [`order`] | the order of an answer's fields |
//! | [`playground`] | a page to try things out |

mod events;
mod execute;
mod http;
mod limits;
mod negotiate;
mod order;
mod playground;
mod throttle;
mod typename;
mod websocket;

use std::sync::Arc;

use axum::{
    Router,
    routing::{any, get},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::App,
    auth::Authenticator,
    config::{Introspection, Limits},
    graphql::{Edge, Inputs},
};

pub(crate) use throttle::{Standing, Throttle};

/// Bytes of one request, or of one WebSocket message, at most.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Transport {
    pub edge: Edge,
    /// What the variables of a request can be.
    pub inputs: Arc<Inputs>,
    pub app: Arc<App>,
    pub authenticator: Authenticator,
    pub introspection: Introspection,
    /// What one request may ask for.
    pub limits: Limits,
    /// What one viewer may ask for over time.
    pub throttle: Throttle,
    /// Origins, besides our own, whose pages may open WebSockets.
    pub allowed_origins: Arc<[String]>,
    /// The WebSockets and event streams that are open, to be closed in an orderly way.
    pub sockets: TaskTracker,
    pub shutdown: CancellationToken,
}

impl Transport {
    /// The routes of the edge.
    pub fn routes(self) -> Router {
        let playground = match self.introspection {
            Introspection::Everyone => playground::routes(),
            Introspection::Operators => Router::new(),
        };
        Router::new()
            .route("/graphql", any(http::handle))
            .route("/graphql/stream", any(events::handle))
            .route("/graphql/ws", get(websocket::upgrade))
            .with_state(self)
            .merge(playground)
    }

    /// Resolves after `shutdown`, when every WebSocket and event stream is closed.
    pub async fn closed(sockets: TaskTracker, shutdown: CancellationToken) -> anyhow::Result<()> {
        shutdown.cancelled().await;
        sockets.close();
        sockets.wait().await;
        Ok(())
    }
}
