//! The clock that a driver is handed. This crate only names what it needs of one.

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
