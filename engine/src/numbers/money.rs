//! Money: products of prices and quantities, and their sums.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Overflow, ParseNumberError, SCALE,
    decimal::{Decimal, parse_units, write_units},
    fixed::{Price, Qty, Ratio, div_round},
};

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
        let product = self.0.checked_mul(ratio.units().into()).ok_or(Overflow("money amount"))?;
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
        let product = self.0.checked_mul(part.units().into()).ok_or(Overflow("money amount"))?;
        if product == i128::MIN && whole.units() == -1 {
            return Err(Overflow("money amount"));
        }
        let share = Self(div_round(product, whole.units().into()));
        // Of a position that is partly closed, no more than all of its cost can go.
        debug_assert!(
            part.units().unsigned_abs() > whole.units().unsigned_abs()
                || share.0.unsigned_abs() <= self.0.unsigned_abs(),
            "a part is more than the whole"
        );
        Ok(share)
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
        let units = div_round(product, qty.units().into());
        i64::try_from(units).map(Price::from_units).map_err(|_| Overflow("price"))
    }
}

impl Price {
    /// The value of `qty` at this price, rounded half away from zero to 1e-9.
    #[must_use]
    pub fn notional(self, qty: Qty) -> Money {
        // |price| and |qty| are below 2^63, so the product is below 2^126 and always fits.
        Money(div_round(i128::from(self.units()) * i128::from(qty.units()), SCALE.into()))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_units(f, self.0)
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

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(Decimal::of(self.0).text())
        } else {
            serializer.serialize_i128(self.0)
        }
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
