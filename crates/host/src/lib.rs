//! The shell that every service process has in common: configuration, telemetry, health, supervision, drain.
//!
//! A service is started by [`Host::start`], adds its consumers, tasks and routes, and becomes [`Running`]. The services
//! know nothing of signals or processes, so that `belay` can run all of them in one process, and a test can stop and
//! start one of them.
//!
//! | module | job |
//! |---|---|
//! | [`config`] | what every service is told, from the command line or the environment |
//! | [`kafka`] | how to reach the broker and to log in there |
//! | [`database`] | the pool, the schema, the migrations |
//! | [`http`] | the listener with `/healthz`, `/readyz`, `/metrics`, up before anything else |
//! | [`identity`] | who asks a service, for whom, and whether they may |
//! | `parked` | the routes of parked messages, which every service has |
//! | [`service`] | [`Host`] and [`Running`] |
//! | [`telemetry`] | logs, metrics, and the export of traces |
//! | [`program`] | the body of every `main` |

pub mod config;
pub mod database;
pub mod http;
pub mod identity;
pub mod kafka;
mod parked;
pub mod program;
mod report;
pub mod service;
pub mod telemetry;

pub use config::ServiceConfig;
pub use service::{Host, Running};
