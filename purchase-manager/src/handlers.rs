//! Messages from Kafka: submissions, replies, and whether what is held is still wanted.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::{
    envelope::{EnvelopeError, header},
    ids::PurchaseId,
    product_admin::ReservationExpired,
    purchase_manager::SubmitPurchase,
    topics,
};
use mailbox::{Fault, Handler, Outgoing, Received};
use saga::{HoldAnswer, Input, Outcome, StepName};
use sqlx::PgConnection;

use crate::{
    exchange::Reply,
    orchestrator::{Answer, Event, Orchestrator, What},
    purchase::Purchase,
    purchase_saga::RESERVE_PRODUCTS,
};

/// Handles `purchase.commands.v1` and `purchase.replies.v1`.
#[derive(Debug)]
pub struct Messages {
    orchestrator: Arc<Orchestrator>,
}

impl Messages {
    /// A handler that hands everything to `orchestrator`.
    #[must_use]
    pub fn new(orchestrator: Arc<Orchestrator>) -> Self {
        Self { orchestrator }
    }
}

#[async_trait]
impl Handler for Messages {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        batch: &[Received],
    ) -> Result<Vec<Outgoing>, Fault> {
        let events = batch.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
        let worked = self.orchestrator.work(connection, events).await?;
        for (message, answer) in batch.iter().zip(&worked.answers) {
            match answer {
                Answer::Decided(Outcome::Hold(hold)) => answer_hold(message, *hold)?,
                Answer::Decided(outcome) => {
                    tracing::debug!(purchase.id = %message.key, message.id = %message.envelope.id, ?outcome, "taken");
                }
                Answer::Repeated | Answer::CancelKept => {}
                Answer::Unknown => {
                    return Err(Fault::deterministic(anyhow::anyhow!(
                        "there is no purchase {}",
                        message.key
                    )));
                }
                Answer::Foreign => {
                    return Err(Fault::deterministic(anyhow::anyhow!(
                        "purchase {} was cancelled by another customer before it was submitted",
                        message.key
                    )));
                }
            }
        }
        Ok(worked.outgoing)
    }
}

/// What a saga says of units that are held for it for longer than they should be. It is in its log; whoever asked hears of it
/// by `ReleaseProducts`, or not at all and asks again.
fn answer_hold(message: &Received, answer: HoldAnswer) -> Result<(), Fault> {
    let word = match answer {
        HoldAnswer::Kept => "kept",
        HoldAnswer::RolledBackAgain => "released",
        HoldAnswer::RollbackToCome => "released soon",
        // The saga has turned back and knows of nothing to give back, product-admin says that there is something.
        HoldAnswer::NothingToRollBack => {
            return Err(Fault::deterministic(anyhow::anyhow!(
                "units are held for purchase {}, which has turned back and never had any: somebody has to look",
                message.key
            )));
        }
    };
    metrics::counter!("belay_holds_expired_total", "answer" => word).increment(1);
    tracing::info!(
        purchase.id = %message.key,
        message.id = %message.envelope.id,
        answer = word,
        "units are held for longer than they should be"
    );
    Ok(())
}

fn read(message: &Received) -> Result<Event<'_>, Fault> {
    let (purchase_id, what) = if message.topic == topics::PURCHASE_REPLIES {
        let command_id = message
            .envelope
            .command_id
            .ok_or_else(|| Fault::deterministic(EnvelopeError::Missing(header::COMMAND_ID)))?;
        let purchase_id: PurchaseId = message.key.parse().map_err(Fault::deterministic)?;
        let reply = Reply::read(message)?;
        (
            purchase_id,
            What::Input(Input::Reply {
                command_id: command_id.0,
                reply,
            }),
        )
    } else if let Some(expired) = message.decode_if::<ReservationExpired>()? {
        let step = StepName::from(RESERVE_PRODUCTS);
        (expired.purchase_id, What::Input(Input::HoldExpired { step }))
    } else {
        let submitted: SubmitPurchase = message
            .decode_if::<SubmitPurchase>()?
            .ok_or_else(|| message.unexpected())?;
        let purchase = Purchase::try_from(submitted).map_err(Fault::deterministic)?;
        (purchase.id, What::Submit(Box::new(purchase)))
    };
    if message.key != purchase_id.to_string() {
        return Err(Fault::deterministic(anyhow::anyhow!(
            "the key {} is not the id of the purchase that the message is about",
            message.key
        )));
    }
    Ok(Event {
        purchase_id,
        what,
        cause: Some(message),
    })
}
