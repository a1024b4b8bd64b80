//! Sagas to simulate.

pub mod broken;
pub mod flight;
pub mod journey;
#[cfg(feature = "purchase")]
pub mod purchase;
