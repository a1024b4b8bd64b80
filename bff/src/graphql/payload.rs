//! What mutations answer.

use async_graphql::{Interface, SimpleObject};

use super::{dead_letter::DeadLetterObject, product::ProductObject, purchase::PurchaseObject};
use crate::domain::{Refusal, words::UserErrorCode};

/// Why something was not done. Nothing has changed then.
#[derive(Debug, SimpleObject)]
#[graphql(name = "UserError")]
pub(crate) struct UserErrorObject {
    code: UserErrorCode,
    /// What is wrong, and what to do.
    message: String,
    /// The path to the field of the input that is to blame.
    field: Option<Vec<String>>,
    /// Whether the same request may succeed later.
    retryable: bool,
}

impl From<Refusal> for UserErrorObject {
    fn from(refusal: Refusal) -> Self {
        let Refusal {
            code,
            message,
            field,
            retryable,
        } = refusal;
        Self {
            code,
            message,
            field,
            retryable,
        }
    }
}

/// Refusals as they are shown.
pub(crate) fn user_errors(refusals: Vec<Refusal>) -> Vec<UserErrorObject> {
    refusals.into_iter().map(UserErrorObject::from).collect()
}

/// What every mutation answers.
#[derive(Debug, Interface)]
#[graphql(field(name = "user_errors", ty = "&Vec<UserErrorObject>"))]
pub(crate) enum Payload {
    SubmitPurchase(SubmitPurchasePayload),
    Purchase(PurchasePayload),
    Product(ProductPayload),
    DeadLetters(DeadLettersPayload),
}

/// What became of a submission.
#[derive(Debug, SimpleObject)]
pub(crate) struct SubmitPurchasePayload {
    pub purchase: Option<PurchaseObject>,
    /// True when the key had been seen: nothing new was started.
    pub deduplicated: bool,
    pub user_errors: Vec<UserErrorObject>,
}

/// What became of a purchase.
#[derive(Debug, SimpleObject)]
pub(crate) struct PurchasePayload {
    pub purchase: Option<PurchaseObject>,
    /// The effects, in words.
    pub effects: Vec<String>,
    pub user_errors: Vec<UserErrorObject>,
}

/// What became of a product.
#[derive(Debug, SimpleObject)]
pub(crate) struct ProductPayload {
    pub product: Option<ProductObject>,
    pub user_errors: Vec<UserErrorObject>,
}

/// What became of parked messages.
#[derive(Debug, SimpleObject)]
pub(crate) struct DeadLettersPayload {
    pub dead_letters: Vec<DeadLetterObject>,
    pub user_errors: Vec<UserErrorObject>,
}
