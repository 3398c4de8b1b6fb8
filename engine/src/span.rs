//! Spans of time as people write them in files and on command lines: `5s`, `250ms`, `2m`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const UNITS: [(&str, u64); 7] = [
    ("d", 24 * 3600 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A length of time, up to 584 years in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many nanoseconds.
    #[must_use]
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// So many whole seconds, capped at the longest span.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// So many milliseconds, capped at the longest span.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// The span in nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span in whole milliseconds, rounded up, so that a wait of so long is never shorter than the span.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// The span as the standard library's type.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl fmt::Display for Span {
    /// In the largest unit in which it is a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|&&(_, unit)| self.0 >= unit && self.0.is_multiple_of(unit));
        let (name, unit) = whole.unwrap_or(&("ns", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// A text that is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no span of time such as 5s, 250ms, 2m")]
pub struct ParseSpanError(String);

impl FromStr for Span {
    type Err = ParseSpanError;

    /// Reads `5s`, `250ms`, `2m`; the error shows what a span looks like.
    fn from_str(text: &str) -> Result<Self, ParseSpanError> {
        let wrong = || ParseSpanError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let unit = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        let ns = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        ns.map(Self).ok_or_else(wrong)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(ns: u64) {
            prop_assert_eq!(Span(ns).to_string().parse(), Ok(Span(ns)));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "5", "s", "5x", "-5s", "99999999999h", "+5s", "5 s", "1.5s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!("7d".parse(), Ok(Span::from_secs(7 * 86_400)));
    }
}
