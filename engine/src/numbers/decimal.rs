//! Decimal text to units of 1e-9 and back, exactly.

use std::fmt;

use serde::de;

use super::{ParseNumberError, SCALE};

const DECIMALS: usize = 9;

/// What to do with digits past the ninth decimal place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Refuse,
    Drop,
}

/// Parses ASCII `[-+]digits[.digits]` exactly to units of 1e-9.
pub(super) fn parse_units(text: &[u8]) -> Result<i64, ParseNumberError> {
    parse_decimal(text, Excess::Refuse)
}

pub(super) fn parse_decimal(text: &[u8], excess: Excess) -> Result<i64, ParseNumberError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    // Each digit is added with the sign of the number: the lowest value has no positive counterpart.
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

/// Units of 1e-9 as the shortest exact decimal, written into a buffer from its end.
pub(super) struct Decimal {
    /// As long as the lowest value: the sign, 30 digits, the point, and nine more digits.
    bytes: [u8; 41],
    /// Where the digits begin. The sign stands before them.
    begin: usize,
    negative: bool,
}

impl Decimal {
    pub(super) fn of(units: i128) -> Self {
        /// The digits of a whole number that 64 bits always hold.
        const CHUNK: u128 = 1_000_000_000_000_000_000;
        let mut decimal = Self { bytes: [0; 41], begin: 41, negative: units < 0 };
        let (magnitude, scale) = (units.unsigned_abs(), SCALE.unsigned_abs());
        // Nearly every number fits into 64 bits, and dividing 64 bits is far faster.
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

    /// Writes a number in front, padded with zeros to `least` digits.
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

    /// The digits, with the sign where the number is negative.
    pub(super) fn text(&self) -> &str {
        let begin = self.begin - usize::from(self.negative);
        std::str::from_utf8(&self.bytes[begin..]).unwrap_or_default()
    }
}

/// Writes units of 1e-9 as the shortest exact decimal.
pub(super) fn write_units(f: &mut fmt::Formatter<'_>, units: i128) -> fmt::Result {
    let decimal = Decimal::of(units);
    f.pad_integral(!decimal.negative, "", decimal.digits())
}

/// Reads a decimal from text or from an integer literal; a float literal has already lost digits,
/// so it is refused with the way out.
pub(super) struct DecimalText(pub(super) &'static str);

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
