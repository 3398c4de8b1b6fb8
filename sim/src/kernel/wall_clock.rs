//! Wall clocks over virtual time: they begin at some date, differ from each other and jump.

use silvertine_engine::time::Nanos;

/// A wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// What it reads when a run begins and nothing is wrong with it, in nanoseconds since 1970.
    pub epoch_ns: u64,
    /// By how much it is ahead, in nanoseconds.
    pub ahead_ns: i64,
}

impl WallClock {
    /// A clock that is right.
    #[must_use]
    pub const fn new(epoch_ns: u64) -> Self {
        Self { epoch_ns, ahead_ns: 0 }
    }

    /// The same clock, ahead by so much.
    #[must_use]
    pub const fn ahead_by(self, ahead_ns: i64) -> Self {
        Self { ahead_ns, ..self }
    }

    /// It jumps.
    pub const fn jump(&mut self, by_ns: i64) {
        self.ahead_ns = self.ahead_ns.saturating_add(by_ns);
    }

    /// What it reads at this virtual time.
    #[must_use]
    pub const fn read(&self, now_ns: u64) -> Nanos {
        Nanos(self.epoch_ns.saturating_add(now_ns).saturating_add_signed(self.ahead_ns))
    }

    /// The virtual time at which it reads `at`; zero if that was before the run.
    #[must_use]
    pub const fn when(&self, at: Nanos) -> u64 {
        at.0.saturating_add_signed(self.ahead_ns.saturating_neg()).saturating_sub(self.epoch_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_says_when_it_reads_what() {
        let mut clock = WallClock::new(1_000);
        clock.jump(-30);
        assert_eq!(clock.read(50), Nanos(1_020));
        assert_eq!(clock.when(Nanos(1_020)), 50);
        assert_eq!(clock.when(Nanos(900)), 0);
    }
}
