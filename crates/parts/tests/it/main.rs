//! The real parts start, do what the system needs of them, and leave nothing behind. What starts them is ignored by default:
//! `make test-real` runs it.

mod pinned;
mod process;
mod secured_kafka;
mod services;
