//! Engine time: nanoseconds since the Unix epoch.
//!
//! Nothing in this crate reads the operating system's clock. Time arrives with an input (virtual clock) or from the driver's
//! clock (wall clock) and is written into the log, so replay sees the same.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Nanoseconds in one millisecond, the unit of [`Pos::ms`](crate::pos::Pos).
pub const NANOS_PER_MS: u64 = 1_000_000;
/// Nanoseconds in one second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, until the year 2554.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The Unix epoch: the engine time before the first input.
    pub const ZERO: Self = Self(0);
    /// The last representable point.
    pub const MAX: Self = Self(u64::MAX);
    /// The latest that an input may carry, and so the latest that engine time gets: 2500-01-01T00:00:00Z.
    ///
    /// Timers may be due later, in the half century that remains. At [`Nanos::MAX`] addition saturates: a handler that sets
    /// its timer again whenever it fires would be called for ever there.
    pub const LATEST_INPUT: Self = Self(16_725_225_600_000_000_000);

    /// The point `ms` milliseconds after the epoch, or `None` past the range.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Option<Self> {
        match ms.checked_mul(NANOS_PER_MS) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }

    /// Whole milliseconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0 / NANOS_PER_MS
    }

    /// This point plus `span`; saturates at [`Nanos::MAX`].
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span_ns))
    }

    /// The time from `earlier` to this point; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Nanos {
    /// UTC in the form `2024-08-08T23:54:13.937085768Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / NANOS_PER_SECOND;
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let second_of_day = seconds % 86_400;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
            self.0 % NANOS_PER_SECOND
        )
    }
}

/// Nanoseconds since the epoch of a UTC calendar time, or `None` where a field is out of range.
///
/// Leap seconds do not exist on this scale, as everywhere in Unix time.
#[must_use]
pub fn from_civil(
    (year, month, day): (u64, u64, u64),
    (hour, minute, second): (u64, u64, u64),
    nanos: u64,
) -> Option<Nanos> {
    let in_range = (1970..=2553).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && nanos < NANOS_PER_SECOND;
    if !in_range {
        return None;
    }
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Nanos(seconds * NANOS_PER_SECOND + nanos))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch of a proleptic Gregorian date, by Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`], by the same author.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_time_converts_both_ways() {
        let when = from_civil((2024, 8, 8), (23, 54, 13), 937_085_768).expect("valid");
        assert_eq!(when, Nanos(1_723_161_253_937_085_768));
        assert_eq!(when.to_string(), "2024-08-08T23:54:13.937085768Z");
        assert_eq!(from_civil((1970, 1, 1), (0, 0, 0), 0), Some(Nanos::ZERO));
    }

    #[test]
    fn the_latest_input_begins_the_year_2500_and_leaves_room_for_timers() {
        assert_eq!(Nanos::LATEST_INPUT.to_string(), "2500-01-01T00:00:00.000000000Z");
        let half_a_century = Duration::from_secs(50 * 365 * 86_400);
        assert!(Nanos::LATEST_INPUT.saturating_add(half_a_century) < Nanos::MAX);
    }

    #[test]
    fn impossible_dates_are_refused() {
        assert_eq!(from_civil((2023, 2, 29), (0, 0, 0), 0), None);
        assert!(from_civil((2024, 2, 29), (0, 0, 0), 0).is_some());
        assert_eq!(from_civil((2024, 13, 1), (0, 0, 0), 0), None);
        assert_eq!(from_civil((2024, 1, 1), (24, 0, 0), 0), None);
        assert_eq!(from_civil((1969, 12, 31), (0, 0, 0), 0), None);
    }

    #[test]
    fn every_day_of_four_centuries_converts_back() {
        for days in 0..146_097 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
