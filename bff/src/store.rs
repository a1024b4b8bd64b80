//! All SQL of this service.

pub(crate) mod catalogue;
pub(crate) mod contact;
pub(crate) mod submission;
