//! Money is an integer of minor units and a currency. There is no float and no string arithmetic.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An ISO 4217 code. Only the form is checked: three upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Currency([u8; 3]);

/// The text is not three upper-case letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ISO 4217 currency code: write three upper-case letters, such as EUR")]
pub struct NotACurrency(pub String);

/// An amount left the range of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the amount does not fit: it must stay within 64 bits of minor units")]
pub struct Overflow;

impl Currency {
    /// The euro.
    pub const EUR: Currency = Currency(*b"EUR");

    /// How many decimal digits the minor unit has (ISO 4217:2015, table A.1; the currencies not listed have two).
    #[must_use]
    pub fn exponent(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF"
            | b"UGX" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency is three ASCII letters")
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            Ok(_) | Err(_) => Err(NotACurrency(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = NotACurrency;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An exact amount: `minor` units of `currency` (cents for EUR).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Minor units; negative is allowed here and refused where it makes no sense.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// `minor` units of `currency`.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// This amount, `quantity` times.
    ///
    /// # Errors
    /// [`Overflow`] when the product leaves 64 bits.
    pub fn times(self, quantity: i32) -> Result<Self, Overflow> {
        let minor = self.minor.checked_mul(i64::from(quantity)).ok_or(Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// The decimal as people write it, with the scale of the currency: `1000.01`.
    #[must_use]
    pub fn decimal(&self) -> String {
        let exponent = self.currency.exponent();
        if exponent == 0 {
            return self.minor.to_string();
        }
        let unit = 10_u64.pow(exponent);
        let sign = if self.minor < 0 { "-" } else { "" };
        let absolute = self.minor.unsigned_abs();
        let width = usize::try_from(exponent).expect("an exponent is at most 3");
        format!("{sign}{}.{:0width$}", absolute / unit, absolute % unit)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_the_scale_of_their_currency() {
        assert_eq!(Money::new(100_001, Currency::EUR).decimal(), "1000.01");
        assert_eq!(Money::new(-5, Currency::EUR).decimal(), "-0.05");
        assert_eq!(Money::new(700, "JPY".parse().unwrap()).decimal(), "700");
        assert_eq!(Money::new(1, "KWD".parse().unwrap()).decimal(), "0.001");
    }

    #[test]
    fn a_product_that_leaves_64_bits_is_an_error() {
        assert_eq!(Money::new(i64::MAX, Currency::EUR).times(2), Err(Overflow));
    }

    #[test]
    fn only_three_upper_case_letters_are_a_currency() {
        for wrong in ["", "eur", "EURO", "E1R", "€€"] {
            assert!(wrong.parse::<Currency>().is_err(), "{wrong} was taken");
        }
    }
}
