//! The one place that reads a real clock on behalf of the engine.

use std::{
    str::FromStr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use silvertine_engine::{clock::Clock, time::Nanos};

/// How fast recorded time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speed {
    /// As fast as it goes.
    #[default]
    Max,
    /// So many times as fast as it was recorded.
    Times(u32),
}

/// The text names no speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a speed is max or a whole multiple such as 1x, 10x")]
pub struct ParseSpeedError;

impl FromStr for Speed {
    type Err = ParseSpeedError;

    fn from_str(text: &str) -> Result<Self, ParseSpeedError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.strip_suffix('x').and_then(|times| times.parse().ok());
        match times {
            Some(times) if times > 0 => Ok(Self::Times(times)),
            _ => Err(ParseSpeedError),
        }
    }
}

/// Virtual or wall time with real waiting.
#[derive(Clone, Debug)]
pub enum LiveClock {
    /// Time is what the inputs say, held back to a pace.
    Paced {
        /// The pace.
        speed: Speed,
        /// When the first input was taken, here and in recorded time.
        began: Option<(Instant, Nanos)>,
    },
    /// Time is what the system clock says, and never goes back.
    Wall {
        /// The last reading.
        last: Nanos,
    },
}

impl LiveClock {
    /// A virtual clock that holds inputs back to `speed`.
    #[must_use]
    pub const fn paced(speed: Speed) -> Self {
        Self::Paced { speed, began: None }
    }

    /// The wall clock.
    #[must_use]
    pub const fn wall() -> Self {
        Self::Wall { last: Nanos::ZERO }
    }

    fn read_wall(last: &mut Nanos) -> Nanos {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        *last = Nanos(now).min(Nanos::LATEST_INPUT).max(*last);
        *last
    }
}

impl Clock for LiveClock {
    fn stamp(&mut self, recv_time: Nanos) -> Nanos {
        match self {
            Self::Paced { .. } => recv_time,
            Self::Wall { last } => Self::read_wall(last),
        }
    }

    fn hold_back(&mut self, recv_time: Nanos) -> Duration {
        let Self::Paced { speed: Speed::Times(times), began } = self else { return Duration::ZERO };
        let (here, there) = *began.get_or_insert_with(|| (Instant::now(), recv_time));
        let due = recv_time.since(there) / *times;
        due.saturating_sub(here.elapsed())
    }

    fn idle_time(&mut self) -> Option<Nanos> {
        match self {
            Self::Paced { .. } => None,
            Self::Wall { last } => Some(Self::read_wall(last)),
        }
    }

    async fn sleep(&mut self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_max_or_whole_multiples() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("10x".parse(), Ok(Speed::Times(10)));
        for nonsense in ["", "0x", "-1x", "1.5x", "fast", "10"] {
            assert!(nonsense.parse::<Speed>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn the_wall_clock_never_goes_back() {
        let mut clock = LiveClock::Wall { last: Nanos::MAX };
        assert_eq!(clock.stamp(Nanos::ZERO), Nanos::MAX);
    }
}
