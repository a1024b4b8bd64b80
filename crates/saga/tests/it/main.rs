//! The engine's tests. Most are scripts: what the saga commands, what it is answered, how it ends. Every
//! input of every script passes the same rules (`rules.rs`) as the random and the exhaustive runs.

mod cancel;
mod compatibility;
mod forward;
mod hold;
mod log_and_replay;
mod model;
mod moves;
mod operator;
mod properties;
mod replies;
mod retry;
mod rollback;
mod rules;
mod sagas;
mod script;
mod shape;
mod timeouts;
mod view;
