//! What an owner is handed besides the log: an observer that the harness sees through, and a clock.

use std::time::Duration;

use silvertine::engine::{
    clock::Clock,
    driver::{Observer, Progress},
    log::LogError,
    time::Nanos,
};

use super::Harness;

/// Sees failed attempts and finished commits on behalf of the harness.
pub(super) struct Watcher(pub(super) Harness);

impl Observer for Watcher {
    fn committed(&mut self, progress: Progress) {
        if let Some((inputs, stop)) = &self.0.lock().stop_at
            && progress.counts.inputs >= *inputs
        {
            stop.request();
        }
    }

    fn retrying(&mut self, error: &LogError, _attempt: u32, _pause: Duration) {
        let mut state = self.0.lock();
        state.failures.push(error.clone());
        state.attempt_failed(error);
    }
}

/// Time is what inputs say, or their number where they say nothing; pauses are real.
pub(super) struct RealPauses(pub(super) Harness);

/// The time of the n-th input that carries none, from one.
pub fn time_of_input(n: u64) -> Nanos {
    Nanos(n * 1_000_000)
}

impl Clock for RealPauses {
    fn stamp(&mut self, recv_time: Nanos) -> Nanos {
        let mut state = self.0.lock();
        state.inputs += 1;
        if recv_time == Nanos::ZERO { time_of_input(state.inputs) } else { recv_time }
    }

    fn hold_back(&mut self, _recv_time: Nanos) -> Duration {
        Duration::ZERO
    }

    fn idle_time(&mut self) -> Option<Nanos> {
        None
    }

    async fn sleep(&mut self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }
}
