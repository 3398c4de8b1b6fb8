//! The virtual clock: time is what the inputs say, and waiting costs nothing.

use std::time::Duration;

use silvertine_engine::{clock::Clock, time::Nanos};

/// A clock that stands still unless an input moves it.
#[derive(Clone, Copy, Debug, Default)]
pub struct VirtualClock {
    slept: Duration,
}

impl VirtualClock {
    /// How long a driver would have waited on a real clock.
    #[must_use]
    pub const fn slept(&self) -> Duration {
        self.slept
    }
}

impl Clock for VirtualClock {
    fn stamp(&mut self, recv_time: Nanos) -> Nanos {
        recv_time
    }

    fn hold_back(&mut self, _recv_time: Nanos) -> Duration {
        Duration::ZERO
    }

    fn idle_time(&mut self) -> Option<Nanos> {
        None
    }

    async fn sleep(&mut self, pause: Duration) {
        self.slept = self.slept.saturating_add(pause);
    }
}
