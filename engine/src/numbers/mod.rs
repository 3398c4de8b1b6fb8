//! Prices, quantities and money as fixed-point integers.
//!
//! One scale for all three: nine decimal places (1e-9), the scale of Databento's DBN format. It holds
//! every tick size and step size that exchanges quote (Binance's finest is 1e-8) exactly.
//! [`Price`] and [`Qty`] are `i64`: up to ±9 223 372 036.854775807. [`Money`], the product of the two, is
//! `i128`: up to ±1.7e29. Arithmetic that leaves a range returns [`Overflow`]
//! and never wraps. There is no floating point, so a sum is the same on every machine and in every order.

mod decimal;
mod fixed;
mod money;

pub use self::{
    fixed::{Price, Qty, Ratio},
    money::Money,
};

/// Units of the last place in one whole: the scale of every number of this module.
pub const SCALE: i64 = 1_000_000_000;

/// A result is outside the range of its type, which is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("arithmetic left the range of a {0}")]
pub struct Overflow(pub &'static str);

/// Why a text is not a number of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNumberError {
    /// Not of the form `-123.456`.
    #[error("not a decimal number")]
    Malformed,
    /// More than nine decimal places, so it cannot be held exactly.
    #[error("more than 9 decimal places")]
    TooPrecise,
    /// Outside the type's range.
    #[error("outside the representable range (±9223372036.854775807 for prices and quantities)")]
    OutOfRange,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_parse_exactly() {
        assert_eq!(Price::parse(b"61837.63000000"), Ok(Price::from_units(61_837_630_000_000)));
        assert_eq!(Price::parse(b"-0.000000001"), Ok(Price::from_units(-1)));
        assert_eq!(Price::parse(b".5"), Ok(Price::from_units(500_000_000)));
        assert_eq!(Price::parse(b"1.0000000000"), Ok(Price::from_units(SCALE)));
    }

    #[test]
    fn the_ends_of_every_range_are_shown_and_read_back() {
        for units in [i64::MIN, i64::MAX] {
            let price = Price::from_units(units);
            assert_eq!(price.to_string().parse(), Ok(price));
        }
        for units in [i128::MIN, i128::MAX] {
            let money = Money::from_units(units);
            assert_eq!(money.to_string().parse(), Ok(money));
        }
        assert_eq!(Price::parse(b"-9223372036.854775809"), Err(ParseNumberError::OutOfRange));
    }

    #[test]
    fn money_and_prices_are_spelled_alike() {
        for (text, units) in [(".5", 500_000_000), ("-.5", -500_000_000), ("5.", 5 * SCALE)] {
            assert_eq!(text.parse(), Ok(Price::from_units(units)));
            assert_eq!(text.parse(), Ok(Money::from_units(units.into())));
        }
        for text in ["", "-", ".", "-."] {
            assert_eq!(text.parse::<Money>(), Err(ParseNumberError::Malformed), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "NaN", "inf", "1e5", "1.2.3", "0x10", "1 ", "--1"] {
            assert_eq!(Price::parse(text.as_bytes()), Err(ParseNumberError::Malformed), "{text}");
        }
        assert_eq!(Price::parse(b"0.0000000001"), Err(ParseNumberError::TooPrecise));
        assert_eq!(Price::parse(b"9223372036.854775808"), Err(ParseNumberError::OutOfRange));
        assert_eq!(Price::parse(b"10000000000"), Err(ParseNumberError::OutOfRange));
    }

    #[test]
    fn truncating_drops_only_decimals() {
        let parsed = Qty::parse_truncating(b"218102.59507500002");
        assert_eq!(parsed, Ok(Qty::from_units(218_102_595_075_000)));
        assert!(Qty::parse_truncating(b"1.5x").is_err());
    }

    #[test]
    fn overflow_is_an_error_and_never_a_wrap() {
        assert_eq!(Price::MAX.checked_add(Price::from_units(1)), Err(Overflow("price")));
        assert_eq!(Qty::from_whole(i64::MAX), Err(Overflow("quantity")));
        let huge = Money::from_units(i128::MAX);
        assert!(huge.checked_add(Money::from_units(1)).is_err());
        assert!(huge.scaled(Ratio::ONE).is_err());
        assert!(Money::from_units(1).per_unit(Qty::ZERO).is_err());
        let (one, minus_one) = (Qty::from_units(1), Qty::from_units(-1));
        assert!(Money::from_units(i128::MIN).pro_rata(one, minus_one).is_err());
    }

    #[test]
    fn the_largest_notional_is_exact() {
        let largest = Price::MAX.notional(Qty::MAX);
        assert!(largest > Money::ZERO);
        assert_eq!(largest.per_unit(Qty::MAX), Ok(Price::MAX));
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(units: i64) {
            let price = Price::from_units(units);
            prop_assert_eq!(Price::parse(price.to_string().as_bytes()), Ok(price));
        }

        #[test]
        fn both_codecs_keep_every_number(units: i64, money: i128) {
            let qty = Qty::from_units(units);
            let json = serde_json::to_string(&qty).expect("serializes");
            prop_assert_eq!(serde_json::from_str::<Qty>(&json).expect("parses"), qty);
            let text = Money::from_units(money).to_string();
            prop_assert_eq!(text.parse::<Money>(), Ok(Money::from_units(money)));
            let bytes = postcard::to_stdvec(&Money::from_units(money)).expect("serializes");
            let back: Money = postcard::from_bytes(&bytes).expect("parses");
            prop_assert_eq!(back, Money::from_units(money));
        }

        #[test]
        fn parsing_never_panics(text: Vec<u8>) {
            let _any_result = Price::parse(&text);
        }
    }
}
