//! The clock of a driver, and the virtual clock. Real clocks are read outside this crate.

use std::{future::Future, time::Duration};

use crate::time::Nanos;

/// Decides at what time an input is handled, how long it is held back, and how the driver waits.
pub trait Clock: Send {
    /// The engine time at which an input received at `recv_time` is handled.
    fn stamp(&mut self, recv_time: Nanos) -> Nanos;

    /// How long an input received at `recv_time` is still to be held back; zero to go on at once.
    fn hold_back(&mut self, recv_time: Nanos) -> Duration;

    /// The time up to which timers fire while there is no input; `None` where time does not pass without inputs.
    fn idle_time(&mut self) -> Option<Nanos>;

    /// Waits for `pause` of real time. A virtual clock only counts it.
    fn sleep(&mut self, pause: Duration) -> impl Future<Output = ()> + Send;
}

/// A clock that only inputs move: engine time is the receive time of the input, and waiting takes no time.
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
