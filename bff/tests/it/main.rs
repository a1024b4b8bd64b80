//! The edge as a whole, on a real PostgreSQL and a real broker protocol; the other services and the issuer are stood in
//! for by HTTP mocks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests look into the tables with statements of their own"
)]

mod acting;
mod audits;
mod auth;
mod breaking;
mod browser;
mod catalogue;
mod contacts;
mod documents;
mod edge;
mod events;
mod following;
mod health;
mod limits;
mod matrix;
mod operators;
mod page;
mod products;
mod properties;
mod purchases;
mod reads;
mod resend;
mod schema;
mod submit;
mod tokens;
mod transport;
mod websocket;
