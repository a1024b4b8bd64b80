//! The wire contract: the files of `avro/` and the Rust types hold together, and no version breaks another one.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod compatibility;
mod files;
mod published;
mod round_trip;
mod samples;
mod topics;

use std::path::PathBuf;

/// The folder `avro/` of the repository.
fn avro() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../avro"))
}
