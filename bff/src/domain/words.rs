//! The closed lists of words that the services and the schema share.

/// A word of a service that is in none of our lists: the service is newer than this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no {list} that this version knows")]
pub(crate) struct UnknownWord {
    pub list: &'static str,
    pub word: String,
}

/// An enum of the schema whose values travel between the services under the same names.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, async_graphql::Enum)]
        #[allow(clippy::enum_variant_names, reason = "the words are the contract's")]
        pub(crate) enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// The word as it travels.
            #[allow(dead_code, reason = "not every list is also written")]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$value),)+
                    _ => Err(UnknownWord { list: stringify!($name), word: word.chars().take(60).collect() }),
                }
            }
        }
    };
}

words! {
    /// Where a purchase stands.
    PurchaseState {
        /// Accepted; nothing has been heard of it yet.
        Pending = "PENDING",
        /// Its steps are being carried out.
        Running = "RUNNING",
        /// Everything is done.
        Completed = "COMPLETED",
        /// What was done is being taken back.
        Compensating = "COMPENSATING",
        /// Taken back because somebody asked for it.
        Cancelled = "CANCELLED",
        /// Taken back because it could not be done.
        Rejected = "REJECTED",
        /// It waits for an operator.
        Stuck = "STUCK",
    }
}

words! {
    /// Where a step stands.
    StepState {
        /// Not begun.
        Pending = "PENDING",
        /// Asked for; no answer yet.
        Running = "RUNNING",
        /// Done.
        Succeeded = "SUCCEEDED",
        /// Asked for again, because no answer came in time.
        Retrying = "RETRYING",
        /// Refused, or given up.
        Failed = "FAILED",
        /// Not needed.
        Skipped = "SKIPPED",
    }
}

words! {
    /// Whether a step does something or takes it back.
    StepDirection {
        /// Does something.
        Forward = "FORWARD",
        /// Takes it back.
        Compensation = "COMPENSATION",
    }
}

words! {
    /// What may be done with a purchase.
    PurchaseAction {
        /// Ask for it to be taken back.
        Cancel = "CANCEL",
        /// Ask a step again.
        Retry = "RETRY",
        /// Take it back on an operator's word.
        Compensate = "COMPENSATE",
        /// Declare it finished.
        Resolve = "RESOLVE",
    }
}

words! {
    /// Whether a product is on sale.
    ProductStatus {
        /// Not on sale yet.
        Draft = "DRAFT",
        /// On sale.
        Active = "ACTIVE",
        /// No longer on sale.
        Archived = "ARCHIVED",
    }
}

words! {
    /// How much of a product there is, roughly.
    Availability {
        /// Plenty.
        InStock = "IN_STOCK",
        /// Few.
        LowStock = "LOW_STOCK",
        /// None.
        OutOfStock = "OUT_OF_STOCK",
    }
}

words! {
    /// Where a payment stands.
    PaymentState {
        /// The money is held.
        Authorized = "AUTHORIZED",
        /// The money is taken.
        Captured = "CAPTURED",
        /// The provider said no.
        Declined = "DECLINED",
        /// The hold was given up.
        Voided = "VOIDED",
        /// The money was given back.
        Refunded = "REFUNDED",
    }
}

words! {
    /// Where an order stands.
    OrderState {
        /// It waits for the goods to be handed over.
        Placed = "PLACED",
        /// The goods are on their way.
        Dispatched = "DISPATCHED",
        /// It was taken back.
        Cancelled = "CANCELLED",
    }
}

words! {
    /// Why something was not done.
    UserErrorCode {
        /// The input cannot be what was meant.
        Invalid = "INVALID",
        /// Something is missing.
        Required = "REQUIRED",
        /// There is no such thing, or it is not yours.
        NotFound = "NOT_FOUND",
        /// The product is not on sale.
        ProductUnavailable = "PRODUCT_UNAVAILABLE",
        /// There is too little of it.
        InsufficientStock = "INSUFFICIENT_STOCK",
        /// The price is another one now.
        PriceChanged = "PRICE_CHANGED",
        /// The currency is not the one that is asked for here.
        CurrencyMismatch = "CURRENCY_MISMATCH",
        /// The payment was declined.
        PaymentDeclined = "PAYMENT_DECLINED",
        /// Another product has this stock keeping unit.
        DuplicateSku = "DUPLICATE_SKU",
        /// Somebody asked for it to be taken back.
        Cancelled = "CANCELLED",
        /// It is not in a state that allows this.
        StateConflict = "STATE_CONFLICT",
        /// It was changed in the meantime.
        VersionConflict = "VERSION_CONFLICT",
        /// The order is being made or is made: there is no way back.
        PastPointOfNoReturn = "PAST_POINT_OF_NO_RETURN",
        /// The idempotency key was used for another request.
        IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED",
        /// A service that is needed does not answer; try again later.
        TemporarilyUnavailable = "TEMPORARILY_UNAVAILABLE",
    }
}

impl PurchaseState {
    /// Whether nothing can change any more.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled | Self::Rejected => true,
            Self::Pending | Self::Running | Self::Compensating | Self::Stuck => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_is_written() {
        assert_eq!("COMPENSATING".parse(), Ok(PurchaseState::Compensating));
        assert_eq!(Availability::OutOfStock.as_str(), "OUT_OF_STOCK");
        assert_eq!(
            "LOST".parse::<OrderState>().unwrap_err().to_string(),
            "`LOST` is no OrderState that this version knows"
        );
    }
}
