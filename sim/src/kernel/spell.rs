//! Times and spans as people write them: `00:01:30.250`, `5s`, `250ms`.

use silvertine_engine::{
    span::{ParseSpanError, Span},
    time::NANOS_PER_SECOND,
};
use thiserror::Error;

/// A text is no time, or no span of time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TimeError {
    /// It is no span; the error shows what one looks like.
    #[error(transparent)]
    Span(#[from] ParseSpanError),
    /// It is longer than 292 years.
    #[error("{text:?} is out of range")]
    Range {
        /// What was to be read.
        text: String,
    },
    /// It is no time of a run.
    #[error("{text:?} is no time of a run such as 00:00:10 or commit#17")]
    Clock {
        /// What was to be read.
        text: String,
    },
}

/// A span in the largest unit that says it in whole numbers.
#[must_use]
pub fn span(ns: u64) -> String {
    Span::from_nanos(ns).to_string()
}

/// A span with its sign.
#[must_use]
pub fn signed_span(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    format!("{sign}{}", span(ns.unsigned_abs()))
}

/// A time of day, or of a run: `HH:MM:SS`, with a fraction where there is one.
#[must_use]
pub fn clock(ns: u64) -> String {
    let seconds = ns / NANOS_PER_SECOND;
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = ns % NANOS_PER_SECOND;
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:09}") };
    format!("{h:02}:{m:02}:{s:02}{}", fraction.trim_end_matches('0'))
}

/// Reads a span of time such as `5s`, `250ms`, `2m`, in nanoseconds.
///
/// # Errors
/// The text is no span of time.
pub fn parse_span(text: &str) -> Result<u64, TimeError> {
    Ok(text.parse::<Span>()?.as_nanos())
}

/// Reads what [`signed_span`] writes.
///
/// # Errors
/// The text is no span, or one beyond 292 years.
pub fn parse_signed_span(text: &str) -> Result<i64, TimeError> {
    let (negative, span) = text.strip_prefix('-').map_or((false, text), |span| (true, span));
    let ns = i64::try_from(parse_span(span)?);
    let ns = ns.map_err(|_| TimeError::Range { text: text.to_owned() })?;
    Ok(if negative { -ns } else { ns })
}

/// Reads what [`clock`] writes.
///
/// # Errors
/// The text is no time of a run.
pub fn parse_clock(text: &str) -> Result<u64, TimeError> {
    let wrong = || TimeError::Clock { text: text.to_owned() };
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with('+'));
    let mut parts = text.split(':');
    let (Some(h), Some(m), Some(s), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let (s, fraction) = s.split_once('.').unwrap_or((s, "0"));
    let nanos = number(&format!("{fraction:0<9}")).filter(|_| fraction.len() <= 9);
    let seconds = match (number(h), number(m), number(s)) {
        (Some(h), Some(m @ 0..60), Some(s @ 0..60)) => {
            h.checked_mul(3600).and_then(|h| h.checked_add(m * 60 + s))
        }
        _ => None,
    };
    let ns = seconds.and_then(|seconds| seconds.checked_mul(NANOS_PER_SECOND));
    ns.zip(nanos).and_then(|(ns, nanos)| ns.checked_add(nanos)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(ns: u64, signed in -i64::MAX..i64::MAX) {
            prop_assert_eq!(parse_span(&span(ns)), Ok(ns));
            prop_assert_eq!(parse_clock(&clock(ns)), Ok(ns));
            prop_assert_eq!(parse_signed_span(&signed_span(signed)), Ok(signed));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "5", "s", "5x", "-5s", "99999999999h", "+5s"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        for text in
            ["", "10", "00:10", "00:60:00", "00:00:60", "a:b:c", "1:2:3:4", "0:0:0.1234567890"]
        {
            assert!(parse_clock(text).is_err(), "{text}");
        }
    }
}
