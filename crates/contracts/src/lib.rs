//! The wire contract: what the services say to each other, and nothing about how it travels.
//!
//! Owns the Rust types of `avro/`, the ids, money, the names of the topics, and the headers of a message.
//! It never talks to a broker, a database or a clock.
//!
//! | module | job |
//! |---|---|
//! | [`ids`] | one type for every kind of id |
//! | [`money`] | minor units and a currency |
//! | [`message`] | what makes a Rust type a message, and its Avro encoding |
//! | [`consolidator`], [`product_admin`], [`payments`], [`orders`], [`purchase_manager`] | the messages, by owner |
//! | [`topics`] | every topic, what it may carry, and how the broker keeps it |
//! | [`traffic`] | which service produces and consumes what |
//! | [`envelope`] | the headers that every message carries |
//! | [`http`] | what the services answer each other over HTTP |
//! | [`calls`] | who may ask whom over HTTP |
//! | [`operator`] | what operators do with a purchase |
//! | [`parked`] | what every service answers about its parked messages |
//! | [`trace`] | W3C trace context |

pub mod calls;
pub mod consolidator;
pub mod envelope;
pub mod http;
pub mod ids;
pub mod message;
pub mod money;
pub mod operator;
pub mod orders;
pub mod parked;
pub mod payments;
pub mod product_admin;
pub mod purchase_manager;
pub mod report;
pub mod topics;
pub mod trace;
pub mod traffic;

pub use message::{Message, MessageType};
