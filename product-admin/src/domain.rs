//! Products, stock and reservations: states and decisions, without async, SQL or clock.
//!
//! | module | decides |
//! |---|---|
//! | [`level`] | what shoppers see of a product's stock, and how much fits |
//! | [`stock`] | what purchases may reserve, release and confirm |
//! | [`product`] | what a product may be called and cost |
//! | [`edit`] | what may be changed of it later |

pub mod edit;
pub mod level;
pub mod product;
pub mod stock;
