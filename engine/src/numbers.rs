//! Prices, quantities and money as fixed-point integers.
//!
//! One scale for all three: nine decimal places (1e-9), the scale of Databento's DBN format. It holds
//! every tick size and step size that exchanges quote (Binance's finest is 1e-8) exactly.
//! [`Price`] and [`Qty`] are `i64`: up to ±9 223 372 036.854775807. [`Money`], the product of the two, is
//! `i128`: up to ±1.7e29. Arithmetic that leaves a range is an [`Overflow`] error, never a wrap, and
//! no floating point exists here, so a sum is the same on every machine and in every order.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units of the last place in one whole: the scale of every number of this module.
pub const SCALE: i64 = 1_000_000_000;
const DECIMALS: usize = 9;

/// A result left the range of its type; nothing was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("arithmetic left the range of a {0}")]
pub struct Overflow(pub &'static str);

/// Why a text is not a number of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
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

/// What to do with digits past the ninth decimal place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excess {
    Refuse,
    Drop,
}

/// Parses ASCII `[-+]digits[.digits]` exactly to units of 1e-9.
fn parse_units(text: &[u8]) -> Result<i64, ParseNumberError> {
    parse_decimal(text, Excess::Refuse)
}

fn parse_decimal(text: &[u8], excess: Excess) -> Result<i64, ParseNumberError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    // Digits are added with the sign they count with: the lowest value has no positive counterpart.
    let sign = if negative { -1 } else { 1 };
    let mut units: i64 = 0;
    let mut decimals = None;
    let mut seen_digit = false;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                seen_digit = true;
                let digit = sign * i64::from(byte - b'0');
                if let Some(count) = decimals.as_mut() {
                    if *count == DECIMALS {
                        // Zeros past the last place lose nothing; any other digit would.
                        if digit == 0 || excess == Excess::Drop {
                            continue;
                        }
                        return Err(ParseNumberError::TooPrecise);
                    }
                    *count += 1;
                }
                units = units
                    .checked_mul(10)
                    .and_then(|units| units.checked_add(digit))
                    .ok_or(ParseNumberError::OutOfRange)?;
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => return Err(ParseNumberError::Malformed),
        }
    }
    if !seen_digit {
        return Err(ParseNumberError::Malformed);
    }
    for _ in decimals.unwrap_or(0)..DECIMALS {
        units = units.checked_mul(10).ok_or(ParseNumberError::OutOfRange)?;
    }
    Ok(units)
}

/// Units of 1e-9 as the shortest exact decimal, written from its end into memory of its own.
struct Decimal {
    /// As many as the lowest value takes: the sign, 30 digits, the point, and nine more.
    bytes: [u8; 41],
    /// Where the digits begin; there is a sign before them.
    begin: usize,
    negative: bool,
}

impl Decimal {
    fn of(units: i128) -> Self {
        /// The digits of a whole number that 64 bits always hold.
        const CHUNK: u128 = 1_000_000_000_000_000_000;
        let mut decimal = Self { bytes: [0; 41], begin: 41, negative: units < 0 };
        let (magnitude, scale) = (units.unsigned_abs(), SCALE.unsigned_abs());
        // Nearly every number fits into 64 bits, which are divided far sooner.
        let (whole, mut fraction) = match u64::try_from(magnitude) {
            Ok(magnitude) => (u128::from(magnitude / scale), magnitude % scale),
            Err(_) => (magnitude / u128::from(scale), (magnitude % u128::from(scale)) as u64),
        };
        if fraction > 0 {
            let mut places = DECIMALS;
            while fraction.is_multiple_of(10) {
                (fraction, places) = (fraction / 10, places - 1);
            }
            decimal.put_digits(fraction, places);
            decimal.put(b'.');
        }
        match u64::try_from(whole) {
            Ok(whole) => decimal.put_digits(whole, 1),
            Err(_) => {
                decimal.put_digits((whole % CHUNK) as u64, 18);
                decimal.put_digits((whole / CHUNK) as u64, 1);
            }
        }
        decimal.bytes[decimal.begin - 1] = b'-';
        decimal
    }

    /// Puts a number before what is there, with zeros in front where it has fewer digits than `least`.
    fn put_digits(&mut self, mut number: u64, least: usize) {
        let end = self.begin;
        while number > 0 || end - self.begin < least {
            self.put(b'0' + (number % 10) as u8);
            number /= 10;
        }
    }

    fn put(&mut self, byte: u8) {
        self.begin -= 1;
        self.bytes[self.begin] = byte;
    }

    fn digits(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.begin..]).unwrap_or_default()
    }

    /// The digits, behind a sign where the number is negative.
    fn text(&self) -> &str {
        let begin = self.begin - usize::from(self.negative);
        std::str::from_utf8(&self.bytes[begin..]).unwrap_or_default()
    }
}

/// Writes units of 1e-9 as the shortest exact decimal.
fn write_units(f: &mut fmt::Formatter<'_>, units: i128) -> fmt::Result {
    let decimal = Decimal::of(units);
    f.pad_integral(!decimal.negative, "", decimal.digits())
}

macro_rules! fixed_point {
    ($name:ident, $word:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(i64::MAX);

            /// The value of `units` times 1e-9.
            #[must_use]
            pub const fn from_units(units: i64) -> Self {
                Self(units)
            }

            /// The value in units of 1e-9.
            #[must_use]
            pub const fn units(self) -> i64 {
                self.0
            }

            /// The value of a whole number.
            ///
            /// # Errors
            /// [`Overflow`] past ±9 223 372 036.
            pub fn from_whole(whole: i64) -> Result<Self, Overflow> {
                whole.checked_mul(SCALE).map(Self).ok_or(Overflow($word))
            }

            /// Parses ASCII digits such as `61837.63` exactly.
            ///
            /// # Errors
            /// [`ParseNumberError`] where the text is no decimal number, has a non-zero tenth
            /// decimal, or is out of range. `NaN`, `inf` and exponents are malformed.
            pub fn parse(text: &[u8]) -> Result<Self, ParseNumberError> {
                parse_units(text).map(Self)
            }

            /// The sum.
            ///
            /// # Errors
            /// [`Overflow`] when it leaves the range.
            pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
                self.0.checked_add(other.0).map(Self).ok_or(Overflow($word))
            }

            /// The difference.
            ///
            /// # Errors
            /// [`Overflow`] when it leaves the range.
            pub fn checked_sub(self, other: Self) -> Result<Self, Overflow> {
                self.0.checked_sub(other.0).map(Self).ok_or(Overflow($word))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_units(f, self.0.into())
            }
        }

        impl FromStr for $name {
            type Err = ParseNumberError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text.as_bytes())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(Decimal::of(self.0.into()).text())
                } else {
                    serializer.serialize_i64(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_any(DecimalText($word)).map(Self)
                } else {
                    i64::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

fixed_point!(Price, "price", "A price per unit of an instrument, in its quote currency.");
fixed_point!(Qty, "quantity", "A quantity of an instrument; negative where a position is short.");
fixed_point!(Ratio, "ratio", "A dimensionless number: a signal's strength, a fee rate.");

impl Price {
    /// What `qty` costs at this price, rounded half away from zero to 1e-9.
    #[must_use]
    pub fn notional(self, qty: Qty) -> Money {
        // |price| and |qty| are below 2^63, so the product is below 2^126 and always fits.
        Money(div_round(i128::from(self.0) * i128::from(qty.0), SCALE.into()))
    }

    /// Halfway between two prices, rounded down to 1e-9.
    #[must_use]
    pub fn midpoint(self, other: Self) -> Self {
        Self(self.0.midpoint(other.0))
    }
}

impl Qty {
    /// Parses ASCII digits, cutting what stands behind the ninth decimal place. For statistics such as
    /// a bar's volume, which many tools sum up in floating point and write with its noise.
    ///
    /// # Errors
    /// [`ParseNumberError`] where the text is no decimal number or is out of range.
    pub fn parse_truncating(text: &[u8]) -> Result<Self, ParseNumberError> {
        parse_decimal(text, Excess::Drop).map(Self)
    }

    /// The absolute value; the one value without a counterpart becomes [`Qty::MAX`].
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// The same amount on the other side; the one value without a counterpart becomes [`Qty::MAX`].
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }

    /// This quantity times `ratio`, rounded half away from zero.
    ///
    /// # Errors
    /// [`Overflow`] when the product leaves the range.
    pub fn scaled(self, ratio: Ratio) -> Result<Self, Overflow> {
        let units = div_round(i128::from(self.0) * i128::from(ratio.0), SCALE.into());
        i64::try_from(units).map(Self).map_err(|_| Overflow("quantity"))
    }
}

impl Ratio {
    /// One.
    pub const ONE: Self = Self(SCALE);
    /// Minus one.
    pub const MINUS_ONE: Self = Self(-SCALE);
}

/// An amount of money: the product of a price and a quantity, and sums of such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i128);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The amount of `units` times 1e-9.
    #[must_use]
    pub const fn from_units(units: i128) -> Self {
        Self(units)
    }

    /// The amount in units of 1e-9.
    #[must_use]
    pub const fn units(self) -> i128 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Overflow`] when it leaves the range.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).map(Self).ok_or(Overflow("money amount"))
    }

    /// The difference.
    ///
    /// # Errors
    /// [`Overflow`] when it leaves the range.
    pub fn checked_sub(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(Overflow("money amount"))
    }

    /// This amount times `ratio`, rounded half away from zero.
    ///
    /// # Errors
    /// [`Overflow`] when the product leaves the range.
    pub fn scaled(self, ratio: Ratio) -> Result<Self, Overflow> {
        let product = self.0.checked_mul(ratio.0.into()).ok_or(Overflow("money amount"))?;
        Ok(Self(div_round(product, SCALE.into())))
    }

    /// The part of this amount that `part` of `whole` stands for, rounded half away from zero.
    ///
    /// # Errors
    /// [`Overflow`] when the product leaves the range or `whole` is zero.
    pub fn pro_rata(self, part: Qty, whole: Qty) -> Result<Self, Overflow> {
        if whole == Qty::ZERO {
            return Err(Overflow("money amount"));
        }
        let product = self.0.checked_mul(part.0.into()).ok_or(Overflow("money amount"))?;
        if product == i128::MIN && whole.0 == -1 {
            return Err(Overflow("money amount"));
        }
        Ok(Self(div_round(product, whole.0.into())))
    }

    /// The price at which `qty` costs this amount, rounded half away from zero.
    ///
    /// # Errors
    /// [`Overflow`] when `qty` is zero or the price leaves its range.
    pub fn per_unit(self, qty: Qty) -> Result<Price, Overflow> {
        if qty == Qty::ZERO {
            return Err(Overflow("price"));
        }
        let product = self.0.checked_mul(SCALE.into()).ok_or(Overflow("money amount"))?;
        let units = div_round(product, qty.0.into());
        i64::try_from(units).map(Price).map_err(|_| Overflow("price"))
    }
}

/// `numerator / denominator`, rounded half away from zero. The denominator is not zero, and not minus one where
/// the numerator is the lowest value, whose opposite does not exist.
fn div_round(numerator: i128, denominator: i128) -> i128 {
    let quotient = numerator / denominator;
    let remainder = numerator % denominator;
    if remainder.unsigned_abs() * 2 < denominator.unsigned_abs() {
        return quotient;
    }
    let same_sign = (numerator < 0) == (denominator < 0);
    if same_sign { quotient + 1 } else { quotient - 1 }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_units(f, self.0)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(Decimal::of(self.0).text())
        } else {
            serializer.serialize_i128(self.0)
        }
    }
}

impl FromStr for Money {
    type Err = ParseNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let negative = whole.starts_with('-');
        let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        let nothing = digits.is_empty() && decimals.is_empty();
        if nothing || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseNumberError::Malformed);
        }
        // The fraction is below one, so it parses as the smaller type; the sign belongs to the whole.
        let fraction = parse_units(format!("0.{decimals}").as_bytes())?;
        let fraction = i128::from(if negative { -fraction } else { fraction });
        let whole: i128 = match digits {
            "" => 0,
            _ => whole.parse().map_err(|_| ParseNumberError::OutOfRange)?,
        };
        whole
            .checked_mul(SCALE.into())
            .and_then(|units| units.checked_add(fraction))
            .map(Self)
            .ok_or(ParseNumberError::OutOfRange)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse()
                .map_err(|why| de::Error::custom(format!("amount of money {text:?}: {why}")))
        } else {
            i128::deserialize(deserializer).map(Self)
        }
    }
}

/// Reads a decimal from text or from an integer literal; a float literal has already lost digits,
/// so it is refused with the way out.
struct DecimalText(&'static str);

impl de::Visitor<'_> for DecimalText {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} as a decimal in quotes, such as \"61837.63\"", self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
        parse_units(text.as_bytes()).map_err(|why| E::custom(format!("{} {text:?}: {why}", self.0)))
    }

    fn visit_i64<E: de::Error>(self, whole: i64) -> Result<i64, E> {
        whole.checked_mul(SCALE).ok_or_else(|| E::custom(ParseNumberError::OutOfRange))
    }

    fn visit_u64<E: de::Error>(self, whole: u64) -> Result<i64, E> {
        let whole = i64::try_from(whole).map_err(|_| E::custom(ParseNumberError::OutOfRange))?;
        self.visit_i64(whole)
    }
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

    #[test]
    fn rounding_is_half_away_from_zero() {
        assert_eq!(div_round(5, 10), 1);
        assert_eq!(div_round(-5, 10), -1);
        assert_eq!(div_round(4, 10), 0);
        assert_eq!(div_round(15, -10), -2);
        assert_eq!(div_round(1, 3), 0);
        assert_eq!(div_round(2, 3), 1);
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
