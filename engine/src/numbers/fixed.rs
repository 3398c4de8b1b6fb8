//! Prices, quantities and ratios: three distinct types of 64-bit fixed-point numbers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Overflow, ParseNumberError, SCALE,
    decimal::{Decimal, DecimalText, Excess, parse_decimal, parse_units, write_units},
};

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
    /// Halfway between two prices, rounded down to 1e-9.
    #[must_use]
    pub fn midpoint(self, other: Self) -> Self {
        Self(self.0.midpoint(other.0))
    }
}

impl Qty {
    /// Parses ASCII digits and drops those after the ninth decimal place. For statistics such as
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

/// `numerator / denominator`, rounded half away from zero. The denominator is not zero, and not minus one where
/// the numerator is the lowest value, whose opposite does not exist.
pub(super) fn div_round(numerator: i128, denominator: i128) -> i128 {
    let quotient = numerator / denominator;
    let remainder = numerator % denominator;
    if remainder.unsigned_abs() * 2 < denominator.unsigned_abs() {
        return quotient;
    }
    let same_sign = (numerator < 0) == (denominator < 0);
    if same_sign { quotient + 1 } else { quotient - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_half_away_from_zero() {
        assert_eq!(div_round(5, 10), 1);
        assert_eq!(div_round(-5, 10), -1);
        assert_eq!(div_round(4, 10), 0);
        assert_eq!(div_round(15, -10), -2);
        assert_eq!(div_round(1, 3), 0);
        assert_eq!(div_round(2, 3), 1);
    }
}
