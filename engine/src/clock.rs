//! The clock that a driver is handed: what a driver needs of one, and the virtual clock. Real clocks are read outside
//! this crate.

use std::{future::Future, time::Duration};

use crate::time::Nanos;

/// Tells the driver what time an input is handled at, how long to hold it back, and how to wait.
pub trait Clock: Send {
    /// The engine time at which an input received at `recv_time` is handled.
    fn stamp(&mut self, recv_time: Nanos) -> Nanos;

    /// How long an input received at `recv_time` is still to be held back; zero to go on at once.
    fn hold_back(&mut self, recv_time: Nanos) -> Duration;

    /// The time to fire timers by while no input is there; `None` where time stands still without
    /// inputs.
    fn idle_time(&mut self) -> Option<Nanos>;

    /// Waits so long in real time (a virtual clock only counts it).
    fn sleep(&mut self, pause: Duration) -> impl Future<Output = ()> + Send;
}

/// A clock that stands still unless an input moves it: time is what the inputs say, and waiting costs nothing.
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
