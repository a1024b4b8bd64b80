//! The messages of a purchase's saga, for operators.

use std::sync::Arc;

use async_graphql::{Context, ID, Json, Object};
use chrono::{DateTime, Utc};
use contracts::{ids::PurchaseId, operator::SagaMessage};
use serde_json::Value;

use super::{
    authorization::{Requires, auth},
    failure::Failure,
    ids,
    paging::{self, Page},
    reader::Reader,
    scalars::Long,
};
use crate::{auth::Role, domain::time};

/// One command, reply or event. What pays and what people wrote is left out of the payload before it comes here.
#[derive(Debug)]
pub(crate) struct SagaMessageObject {
    purchase: PurchaseId,
    message: SagaMessage,
    at: DateTime<Utc>,
}

/// One command, reply or event. What pays and what people wrote is left out of the payload before it comes here.
#[Object(name = "SagaMessage")]
impl SagaMessageObject {
    /// Opaque.
    async fn id(&self) -> ID {
        ids::saga_message(self.purchase, self.message.place)
    }

    /// The record's name, such as `ReserveProducts`.
    #[graphql(name = "type")]
    async fn message_type(&self) -> &str {
        &self.message.message_type
    }

    async fn topic(&self) -> &str {
        &self.message.topic
    }

    /// Known for received messages only.
    async fn partition(&self) -> Option<i32> {
        self.message.partition
    }

    /// Known for received messages only.
    async fn offset(&self) -> Option<Long> {
        self.message.offset.map(Long)
    }

    /// Known for received messages only.
    async fn schema_id(&self) -> Option<i32> {
        self.message.schema_id
    }

    /// The step that it belongs to.
    async fn step(&self) -> Option<&str> {
        self.message.step.as_deref()
    }

    async fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// The content; null for events, which are not kept.
    #[graphql(guard = "Requires(Role::Admin)", directive = auth::apply(Role::Admin))]
    async fn payload(&self) -> Option<Json<Value>> {
        self.message.payload.clone().map(Json)
    }
}

/// A page of a purchase's messages, oldest first.
pub(super) async fn page(
    ctx: &Context<'_>,
    purchase: PurchaseId,
    first: Option<i32>,
    after: Option<String>,
) -> Result<Page<SagaMessageObject>, Failure> {
    let size = paging::size(first)?;
    let after = paging::place(after.as_deref(), |text| text.parse::<i64>().ok())?;
    let reader = ctx.data_unchecked::<Arc<Reader>>();
    let mut found = Vec::new();
    for message in reader.saga_messages(purchase, after, size + 1).await? {
        let at = time(message.at)?;
        found.push(SagaMessageObject {
            purchase,
            message,
            at,
        });
    }
    Ok(paging::page(found, size, after.is_none(), |message| {
        (message.message.place.to_string(), message)
    }))
}
