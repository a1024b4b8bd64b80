//! The edge as a whole, on a real PostgreSQL and a real broker protocol; the other services and the issuer are stood in
//! for by HTTP mocks.

mod auth;
mod catalogue;
mod edge;
mod products;
mod purchases;
mod resend;
mod schema;
mod submit;
mod tokens;
mod transport;
mod websocket;
