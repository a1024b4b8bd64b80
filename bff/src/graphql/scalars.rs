//! Amounts and the scalars that they are made of.

use async_graphql::{
    InputObject, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value,
};
use contracts::money::{Currency, Money};
use rust_decimal::Decimal;

/// Digits of a decimal at most; more than any amount in 64 bits has.
const MAX_DECIMAL_CHARACTERS: usize = 30;

/// Exact decimal as a string, scale = minor units of the currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecimalScalar(pub Decimal);

/// Exact decimal as a string, scale = minor units of the currency.
#[Scalar(name = "Decimal")]
impl ScalarType for DecimalScalar {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if text.len() <= MAX_DECIMAL_CHARACTERS => Decimal::from_str_exact(&text)
                .map(Self)
                .map_err(|_| InputValueError::custom("write a decimal such as \"12.50\"")),
            Value::String(_) => Err(InputValueError::custom("this decimal is too long")),
            other => Err(InputValueError::custom(format!(
                "write it as a string, \"{other}\", so that it stays exact"
            ))),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// 64-bit offset or count, as a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Long(pub i64);

/// 64-bit offset or count, as a string.
#[Scalar(name = "Long")]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text.parse().map_err(InputValueError::custom)?)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// ISO 4217
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CurrencyCode(pub Currency);

/// ISO 4217
#[Scalar(name = "CurrencyCode")]
impl ScalarType for CurrencyCode {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text.parse()?)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// An exact amount.
#[derive(Debug, Clone, Copy, SimpleObject)]
#[graphql(name = "Money")]
pub(crate) struct MoneyObject {
    amount: DecimalScalar,
    currency: CurrencyCode,
}

impl From<Money> for MoneyObject {
    fn from(money: Money) -> Self {
        Self {
            amount: DecimalScalar(Decimal::new(money.minor, money.currency.exponent())),
            currency: CurrencyCode(money.currency),
        }
    }
}

/// An exact amount.
#[derive(Debug, Clone, Copy, InputObject)]
pub(crate) struct MoneyInput {
    pub amount: DecimalScalar,
    pub currency: CurrencyCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_strings_with_the_scale_of_their_currency() {
        let shown = |minor, currency: &str| {
            MoneyObject::from(Money::new(minor, currency.parse().unwrap()))
                .amount
                .to_value()
                .to_string()
        };
        assert_eq!(shown(1000, "EUR"), "\"10.00\"");
        assert_eq!(shown(-5, "EUR"), "\"-0.05\"");
        assert_eq!(shown(7, "JPY"), "\"7\"");
    }

    #[test]
    fn a_float_is_no_decimal() {
        assert!(DecimalScalar::parse(Value::from(12.5)).is_err());
        assert!(DecimalScalar::parse(Value::from("1e3")).is_err());
        assert!(DecimalScalar::parse(Value::from("12.50")).is_ok());
    }
}
