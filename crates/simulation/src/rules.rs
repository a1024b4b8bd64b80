//! What must hold: after every decision ([`engine`]), after every commit and publication (in `world`), and at rest
//! ([`at_rest`]).

pub(crate) mod at_rest;
pub(crate) mod engine;
