//! The schema: what can be asked, changed and followed.
//!
//! | module | job |
//! |---|---|
//! | [`query`], [`mutation`], [`subscription`] | the three roots |
//! | [`product`], [`purchase`], [`order`], [`customer`], [`viewer`] | the objects |
//! | [`purchases`], [`saga_message`] | pages of purchases, and of the messages of one |
//! | [`assortment`] | what staff do with products and their stock |
//! | [`operator`], [`dead_letter`] | what operators do with purchases and with parked messages |
//! | [`health`] | how the services are |
//! | [`following`] | between a subscription and the events: current state first, nothing lost |
//! | [`reader`], [`batches`] | every read, batched, with the check of whose it is |
//! | [`authorization`] | the guard and the directive that shows it |
//! | [`failure`] | what becomes an entry of `errors` |
//! | [`payload`] | what mutations answer, with the refusals of the business |
//! | [`ids`], [`paging`], [`scalars`] | opaque ids, pages, amounts |
//! | [`nulls`] | where a field that failed leaves its null |
//! | [`inputs`] | whether variables are what they are declared to be |
//!
//! Ownership is checked in [`reader`] and nowhere else, so that every way to an object passes the check.

mod assortment;
mod authorization;
mod batches;
mod charge;
mod customer;
mod dead_letter;
mod failure;
mod following;
mod health;
mod ids;
mod inputs;
mod mutation;
mod nulls;
mod operator;
mod order;
mod paging;
mod payload;
mod product;
mod purchase;
mod purchases;
mod query;
mod reader;
mod saga_message;
mod scalars;
mod subscription;
mod viewer;

use std::sync::Arc;

use async_graphql::{Interface, SDLExportOptions, Schema, SchemaBuilder};

use crate::{app::App, config::Introspection};

pub(crate) use charge::Charge;
pub(crate) use failure::{Code, RequestTrace};
pub(crate) use inputs::Inputs;
pub(crate) use reader::Reader;

/// The most that one request may cost: every field counts one, those of a page as often as `first` says.
pub(crate) const MAX_COMPLEXITY: usize = 5_000;
/// How deep fragments and fields may be nested for the library to follow them. Above our own limit on depth, which
/// leaves introspection out (`transport::limits`).
const MAX_RECURSION: usize = 48;

/// The schema with its roots.
pub(crate) type Edge = Schema<query::Query, mutation::Mutation, subscription::Subscription>;

/// The schema for requests.
pub(crate) fn schema(app: Arc<App>, introspection: Introspection) -> Edge {
    let builder = builder().data(app);
    match introspection {
        Introspection::Everyone => builder.finish(),
        // A guess at what was meant would tell the schema word by word.
        Introspection::Operators => builder.disable_suggestions().finish(),
    }
}

/// The schema's text.
pub(crate) fn sdl() -> String {
    let options = SDLExportOptions::new()
        .include_specified_by()
        .use_space_ident()
        .prefer_single_line_descriptions();
    builder().finish().sdl_with_options(options)
}

fn builder() -> SchemaBuilder<query::Query, mutation::Mutation, subscription::Subscription> {
    Schema::build(query::Query, mutation::Mutation, subscription::Subscription)
        .register_output_type::<payload::Payload>()
        .limit_complexity(MAX_COMPLEXITY)
        .limit_recursive_depth(MAX_RECURSION)
        .extension(nulls::NullsFactory)
        .extension(charge::ChargeFactory)
}

/// Anything with an id of its own.
#[derive(Interface)]
#[graphql(field(
    name = "id",
    ty = "async_graphql::ID",
    desc = "Opaque, and unique among all nodes."
))]
pub(crate) enum Node {
    Product(product::ProductObject),
    Purchase(purchase::PurchaseObject),
    Order(order::OrderObject),
    Payment(order::PaymentObject),
    DeadLetter(dead_letter::DeadLetterObject),
    Customer(customer::CustomerObject),
}
