//! The edge of Belay: GraphQL for customers and staff.
//!
//! Owns the submissions (what was accepted, until purchase-manager has it and a day longer) and a projection of the
//! catalogue. Accepts GraphQL over HTTP and WebSocket, `product.events.v1` and `purchase.events.v1`. Emits
//! `SubmitPurchase` on `purchase.commands.v1`. Everything else that it shows belongs to other services and is asked for,
//! batched and with time limits.
//!
//! | module | job |
//! |---|---|
//! | [`transport`] | how requests come in and answers go out |
//! | [`auth`] | who asks |
//! | [`graphql`] | the schema |
//! | [`domain`] | words, purchases, prices |
//! | [`submit`] | accepting a purchase |
//! | [`resend`], [`expire`] | what becomes of submissions later |
//! | [`handlers`], [`reconcile`] | the catalogue and the acknowledgements, from events and from their owner |
//! | [`live`] | from events to subscribers |
//! | [`clients`] | the other services |
//! | [`internal`] | how to reach customers, for the services that write to them |
//! | [`store`] | all SQL |
//!
//! Invariants, stated as absences: no purchase is accepted without its command in the outbox, and none is forgotten
//! before purchase-manager has told of it; no key stands for two purchases; nothing that another service owns is needed
//! to browse or to submit; no way to an object passes by the check of whose it is.

mod app;
mod auth;
mod clients;
mod config;
mod domain;
mod expire;
mod graphql;
mod handlers;
mod internal;
mod live;
mod reconcile;
mod resend;
mod store;
mod submit;
mod transport;

use std::sync::Arc;

use contracts::topics::{PRODUCT_EVENTS, PURCHASE_EVENTS};
use host::{Host, Running, identity::Identity};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use app::App;
use auth::{Authenticator, Keys, TokenRules};
use clients::{Addresses, Clients};
use domain::pricing::Shop;
use live::Hub;
use transport::{Throttle, Transport};

pub use config::{Config, Introspection, Limits};

/// The name of the service: of its schema, its consumer groups and its metrics.
pub const SERVICE: &str = "bff";

/// The service's own tables.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The schema in GraphQL's own language, as `schema.graphql` beside the source has it.
#[must_use]
pub fn sdl() -> String {
    graphql::sdl()
}

/// Starts the edge. It waits for its database and the registry; the issuer, Kafka and the other services may be away.
///
/// # Errors
/// A taken port, a database that refuses, tables from a newer version, a schema that the registry refuses.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let mut host = Host::start(SERVICE, &config.service, &MIGRATOR, shutdown.clone()).await?;
    let identity = Identity::new(SERVICE, &config.identity.identity_key);
    let addresses = Addresses {
        purchase_manager: config.purchase_manager,
        product_admin: config.product_admin,
        orders: config.orders,
        payments: config.payments,
        consolidator: config.consolidator,
        notifications: config.notifications,
    };
    let clients = Clients::new(addresses, &identity)?;
    let keys = Keys::new(&config.issuer)?;
    let authenticator = Authenticator::new(
        keys.clone(),
        TokenRules {
            issuer: config.issuer,
            audience: config.audience,
            roles_claim: config.roles_claim.split('.').map(str::to_owned).collect(),
        },
    );
    let hub = Hub::default();
    let app = Arc::new(App {
        pool: host.pool(),
        codec: host.codec(),
        outbox: host.outbox(),
        clients: clients.clone(),
        hub: hub.clone(),
        shop: Shop {
            currency: config.currency,
            payment_methods: config.payment_methods,
        },
        max_open_purchases: config.max_open_purchases,
    });

    host.consume_in_background("catalogue", &[PRODUCT_EVENTS], handlers::CatalogueHandler);
    host.consume_in_background(
        "acknowledgements",
        &[PURCHASE_EVENTS],
        handlers::AcknowledgementHandler,
    );
    let products = hub.clone();
    host.tail(PURCHASE_EVENTS, move |message| hub.hand_on(&message));
    host.tail(PRODUCT_EVENTS, move |message| products.hand_on_product(&message));
    host.spawn(|shutdown| keys.keep(shutdown));
    host.spawn(|shutdown| resend::run(app.pool.clone(), app.codec.clone(), app.outbox.clone(), shutdown));
    host.spawn(|shutdown| expire::run(app.pool.clone(), shutdown));
    host.spawn(|shutdown| reconcile::run(app.pool.clone(), clients, shutdown));

    if let Some(address) = config.internal_http {
        host.serve_internally(address, internal::routes(host.pool()))
            .await?;
    }

    let sockets = TaskTracker::new();
    let tracked = sockets.clone();
    host.spawn(|shutdown| Transport::closed(tracked, shutdown));
    let transport = Transport {
        inputs: Arc::new(graphql::Inputs::of(&graphql::sdl())),
        edge: graphql::schema(app.clone(), config.introspection),
        app,
        authenticator,
        introspection: config.introspection,
        limits: config.limits,
        throttle: Throttle::new(config.viewer_cost_limit, config.viewer_cost_per_second),
        allowed_origins: config.allowed_origins.into(),
        sockets,
        shutdown,
    };
    Ok(host.run_in_public(transport.routes()))
}
