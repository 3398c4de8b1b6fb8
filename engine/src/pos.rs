//! Positions: the order of everything.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A position in a partition, the same 128 bits as a Redis stream id.
///
/// `ms` is engine time, `seq` a counter over the whole partition that starts at one and has no gaps.
/// `seq` alone already orders; `ms` makes positions findable by time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Pos {
    /// Engine time in milliseconds since the epoch.
    pub ms: u64,
    /// Number of the entry in its partition, from one.
    pub seq: u64,
}

impl Pos {
    /// Before the first entry.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// Sixteen big-endian bytes, so that byte order is position order.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// The position written as sixteen big-endian bytes.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 16]) -> Self {
        let bits = u128::from_be_bytes(bytes);
        Self { ms: (bits >> 64) as u64, seq: bits as u64 }
    }
}

impl fmt::Display for Pos {
    /// `<ms>-<seq>`, as Redis writes stream ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// A text that is not of the form `<ms>-<seq>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is written <ms>-<seq>, such as 1723161253937-42")]
pub struct ParsePosError;

impl FromStr for Pos {
    type Err = ParsePosError;

    fn from_str(text: &str) -> Result<Self, ParsePosError> {
        let digits = |part: &str| {
            // `parse` alone would accept a plus sign.
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            if plain { part.parse().map_err(|_| ParsePosError) } else { Err(ParsePosError) }
        };
        let (ms, seq) = text.split_once('-').ok_or(ParsePosError)?;
        Ok(Self { ms: digits(ms)?, seq: digits(seq)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_and_text_keep_position_and_order(a: (u64, u64), b: (u64, u64)) {
            let (a, b) = (Pos { ms: a.0, seq: a.1 }, Pos { ms: b.0, seq: b.1 });
            prop_assert_eq!(Pos::from_be_bytes(a.to_be_bytes()), a);
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_be_bytes().cmp(&b.to_be_bytes()));
        }
    }

    #[test]
    fn malformed_positions_are_refused() {
        for text in ["", "1", "-", "1-", "-1", "+1-2", "1-2-3", "a-b", "99999999999999999999-1"] {
            assert_eq!(text.parse::<Pos>(), Err(ParsePosError), "{text}");
        }
    }
}
