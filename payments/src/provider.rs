//! The simulated payment provider: a pure function of the amount and the method's token.

use contracts::money::Money;

/// The token of the method for which the limit decides.
pub const TOKEN_OK: &str = "tok_ok";
/// The token of the method that is always declined.
pub const TOKEN_DECLINED: &str = "tok_declined";

/// Decimal digits in which the limit is given.
const LIMIT_EXPONENT: u32 = 2;

/// What the provider says to an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The payment method as its owner knows it.
    pub method_label: &'static str,
    /// Why not, in words that a shopper understands; none when the amount is held.
    pub decline_message: Option<String>,
}

/// Holds what is not over a limit.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedProvider {
    decline_over_minor: i64,
}

impl SimulatedProvider {
    /// A provider that declines what is over `decline_over_minor` hundredths of the currency's unit.
    ///
    /// Currencies with other minor units than hundredths are compared by the same amount of units, exactly: with 100000,
    /// 1000 JPY and 1000.000 KWD pass, 1001 JPY and 1000.001 KWD do not.
    #[must_use]
    pub const fn new(decline_over_minor: i64) -> Self {
        Self { decline_over_minor }
    }

    /// Asks for the amount to be held. Has no effect anywhere, so asking again is harmless.
    #[must_use]
    pub fn authorize(&self, amount: Money, token: &str) -> Answer {
        match token {
            TOKEN_OK => Answer {
                method_label: "Test card",
                decline_message: self.over_the_limit(amount),
            },
            TOKEN_DECLINED => Answer {
                method_label: "Test card without funds",
                decline_message: Some("The payment method was declined. Choose another one.".to_owned()),
            },
            // The edge refuses tokens that it does not know as user errors; one that comes so far is no less unknown here.
            _ => Answer {
                method_label: "Unknown payment method",
                decline_message: Some("The payment method is not known. Choose another one.".to_owned()),
            },
        }
    }

    fn over_the_limit(&self, amount: Money) -> Option<String> {
        // Both as 128-bit integers of the finer unit: no rounding, no overflow.
        let scale = |exponent: u32| 10_i128.pow(exponent);
        let amount_scaled = i128::from(amount.minor) * scale(LIMIT_EXPONENT);
        let limit_scaled = i128::from(self.decline_over_minor) * scale(amount.currency.exponent());
        if amount_scaled <= limit_scaled {
            return None;
        }
        // The largest amount that passes, in the currency's own minor units. It is less than the amount asked for, so it
        // fits in 64 bits.
        let largest = i64::try_from(limit_scaled / scale(LIMIT_EXPONENT)).unwrap_or(i64::MAX);
        Some(format!(
            "{amount} is over the limit of {} for one payment. Buy less, or choose another payment method.",
            Money::new(largest, amount.currency)
        ))
    }
}

#[cfg(test)]
mod tests {
    use contracts::money::Currency;

    use super::*;

    const PROVIDER: SimulatedProvider = SimulatedProvider::new(100_000);

    fn passes(minor: i64, currency: &str) -> bool {
        let amount = Money::new(minor, currency.parse().unwrap());
        PROVIDER.authorize(amount, TOKEN_OK).decline_message.is_none()
    }

    #[test]
    fn what_is_over_a_thousand_is_declined_and_a_thousand_is_not() {
        assert!(passes(99_900, "EUR"));
        assert!(passes(100_000, "EUR"));
        assert!(!passes(100_001, "EUR"));
        assert!(!passes(i64::MAX, "EUR"));
    }

    #[test]
    fn the_limit_is_the_same_amount_of_units_in_every_currency() {
        assert!(passes(1_000, "JPY"));
        assert!(!passes(1_001, "JPY"));
        assert!(passes(1_000_000, "KWD"));
        assert!(!passes(1_000_001, "KWD"));
    }

    #[test]
    fn a_decline_says_amount_and_limit() {
        let answer = PROVIDER.authorize(Money::new(100_001, Currency::EUR), TOKEN_OK);
        assert_eq!(
            answer.decline_message.as_deref(),
            Some(
                "1000.01 EUR is over the limit of 1000.00 EUR for one payment. Buy less, or choose another payment method."
            )
        );
    }

    #[test]
    fn a_limit_between_two_yen_is_said_as_the_largest_amount_that_passes() {
        let provider = SimulatedProvider::new(100_050);
        let yen = |minor| Money::new(minor, "JPY".parse().unwrap());
        assert_eq!(provider.authorize(yen(1_000), TOKEN_OK).decline_message, None);
        let declined = provider.authorize(yen(1_001), TOKEN_OK).decline_message.unwrap();
        assert!(declined.contains("over the limit of 1000 JPY"), "{declined}");
    }

    #[test]
    fn other_tokens_are_always_declined() {
        let cent = Money::new(1, Currency::EUR);
        for (token, words) in [
            (TOKEN_DECLINED, "was declined"),
            ("tok_other", "is not known"),
            ("", "is not known"),
        ] {
            let declined = PROVIDER.authorize(cent, token).decline_message.unwrap();
            assert!(declined.contains(words), "{token}: {declined}");
        }
    }
}
