//! The whole system under test: what the scenarios in `tests/` are written with.
//!
//! | module | job |
//! |---|---|
//! | [`world`] | a system of its own for one test, and what it says of itself |
//! | [`customer`] | a customer or a member of staff at the GraphQL edge |
//! | [`operator`] | an operator at the services themselves |
//! | `ground` | what it stands on: embedded parts or real ones |
//! | [`subscription`] | a graphql-transport-ws client |

pub mod customer;
mod ground;
pub mod operator;
pub mod subscription;
pub mod world;

pub use customer::Customer;
pub use operator::Operator;
pub use world::World;
