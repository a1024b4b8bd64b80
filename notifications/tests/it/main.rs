//! The notifications service on a real PostgreSQL and against a mail server that misbehaves; and what its mails look like.

#![expect(
    clippy::disallowed_methods,
    reason = "tests ask the database with statements of their own"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod events;
mod feed;
mod letters;
mod retention;
mod sending;
mod settings;
mod world;
