//! The participant: the step `authorize-payment` with its rollback, and the step `capture-payment`.

use async_trait::async_trait;
use contracts::{
    ids::{PaymentId, PurchaseId},
    money::Money,
    payments::{
        AuthorizePayment, CapturePayment, PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided,
        VoidPayment,
    },
};
use mailbox::{
    Codec, Fault, Outgoing, Received,
    barrier::Direction,
    participant::{Operation, Participant, ReplyMessage, Verdict, encode_reply},
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::{
    domain::{Action, State},
    provider::SimulatedProvider,
    store::{self, Attempt, World},
};

/// The step that holds the amount, named as in the saga's definition.
pub const AUTHORIZE_PAYMENT: &str = "authorize-payment";
/// The step that takes it.
pub const CAPTURE_PAYMENT: &str = "capture-payment";

/// What the service can be asked.
#[derive(Debug)]
pub enum Command {
    /// Hold the amount.
    Authorize(AuthorizePayment),
    /// Let go of it, or give it back.
    Void(VoidPayment),
    /// Take it.
    Capture(CapturePayment),
}

/// What it can answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Reply {
    /// Held.
    PaymentAuthorized(PaymentAuthorized),
    /// Not held.
    PaymentDeclined(PaymentDeclined),
    /// Neither held nor taken any more.
    PaymentVoided(PaymentVoided),
    /// Taken.
    PaymentCaptured(PaymentCaptured),
}

impl ReplyMessage for Reply {
    fn encode(&self, codec: &Codec, purchase: PurchaseId) -> Result<Outgoing, Fault> {
        match self {
            Self::PaymentAuthorized(reply) => encode_reply(codec, purchase, reply),
            Self::PaymentDeclined(reply) => encode_reply(codec, purchase, reply),
            Self::PaymentVoided(reply) => encode_reply(codec, purchase, reply),
            Self::PaymentCaptured(reply) => encode_reply(codec, purchase, reply),
        }
    }
}

/// The service as a participant of the saga.
#[derive(Debug)]
pub struct Payments {
    provider: SimulatedProvider,
}

impl Payments {
    /// A participant that asks `provider`.
    #[must_use]
    pub fn new(provider: SimulatedProvider) -> Self {
        Self { provider }
    }

    fn authorize(&self, world: &mut World, command: &AuthorizePayment) -> Result<Verdict<Reply>, Fault> {
        let AuthorizePayment {
            purchase_id,
            customer_id,
            amount_minor,
            currency,
            method_token,
        } = command;
        let (purchase_id, payment_id) = (*purchase_id, PaymentId::fresh());
        let declined = |reason| {
            Ok(Verdict::Refused(Reply::PaymentDeclined(PaymentDeclined {
                purchase_id,
                payment_id,
                reason,
            })))
        };
        if *amount_minor <= 0 {
            // No attempt to take money, so there is nothing to record.
            return declined("There is nothing to pay.".to_owned());
        }
        let amount = Money::new(*amount_minor, *currency);
        let answer = self.provider.authorize(amount, method_token);
        let reason = answer.decline_message.clone();
        let state = if reason.is_some() {
            State::Declined
        } else {
            State::Authorized
        };
        let attempt = Attempt {
            purchase_id,
            customer_id: customer_id.clone(),
            amount,
            answer,
        };
        world
            .record(payment_id, state, attempt)
            .map_err(Fault::deterministic)?;
        match reason {
            Some(reason) => declined(reason),
            None => Ok(Verdict::Done(Reply::PaymentAuthorized(PaymentAuthorized {
                purchase_id,
                payment_id,
            }))),
        }
    }
}

#[async_trait]
impl Participant for Payments {
    type Command = Command;
    type Reply = Reply;
    type World = World;

    fn steps(&self) -> &'static [&'static str] {
        &[AUTHORIZE_PAYMENT, CAPTURE_PAYMENT]
    }

    fn read(&self, message: &Received) -> Result<Operation<Command>, Fault> {
        let operation = |purchase_id, step, direction, command| {
            Ok(Operation {
                purchase_id,
                step,
                direction,
                command,
            })
        };
        if let Some(authorize) = message.decode_if::<AuthorizePayment>()? {
            let purchase = authorize.purchase_id;
            return operation(
                purchase,
                AUTHORIZE_PAYMENT,
                Direction::Forward,
                Command::Authorize(authorize),
            );
        }
        if let Some(void) = message.decode_if::<VoidPayment>()? {
            return operation(
                void.purchase_id,
                AUTHORIZE_PAYMENT,
                Direction::Rollback,
                Command::Void(void),
            );
        }
        if let Some(capture) = message.decode_if::<CapturePayment>()? {
            return operation(
                capture.purchase_id,
                CAPTURE_PAYMENT,
                Direction::Forward,
                Command::Capture(capture),
            );
        }
        Err(message.unexpected())
    }

    async fn load(
        &self,
        connection: &mut PgConnection,
        batch: &[Operation<Command>],
    ) -> Result<World, Fault> {
        let purchases: Vec<PurchaseId> = batch.iter().map(|operation| operation.purchase_id).collect();
        store::load(connection, &purchases).await
    }

    fn decide(&self, world: &mut World, operation: &Operation<Command>) -> Result<Verdict<Reply>, Fault> {
        let purchase_id = operation.purchase_id;
        match &operation.command {
            Command::Authorize(authorize) => self.authorize(world, authorize),
            Command::Void(_) => {
                world
                    .apply(purchase_id, Action::Void)
                    .map_err(Fault::deterministic)?;
                Ok(Verdict::Done(Reply::PaymentVoided(PaymentVoided { purchase_id })))
            }
            Command::Capture(_) => {
                let payment_id = world
                    .apply(purchase_id, Action::Capture)
                    .map_err(Fault::deterministic)?;
                Ok(Verdict::Done(Reply::PaymentCaptured(PaymentCaptured {
                    purchase_id,
                    payment_id,
                })))
            }
        }
    }

    fn nothing_to_undo(&self, operation: &Operation<Command>) -> Reply {
        Reply::PaymentVoided(PaymentVoided {
            purchase_id: operation.purchase_id,
        })
    }

    async fn save(&self, connection: &mut PgConnection, world: World) -> Result<Vec<Outgoing>, Fault> {
        store::save(connection, &world).await?;
        Ok(Vec::new())
    }
}
