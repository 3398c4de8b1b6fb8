//! Latency as it is measured here: wall time from the driver taking an input to the acknowledgement of the
//! commit that holds it.

use std::time::Instant;

use hdrhistogram::Histogram;
use silvertine_engine::driver::{Observer, Progress};

/// The longest latency that is recorded: one hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Records the latency of every input, in nanoseconds with three significant digits.
pub(crate) struct LatencyRecorder<O> {
    /// The observer behind it.
    pub inner: O,
    taken: Vec<Instant>,
    /// The latencies so far.
    pub histogram: Histogram<u64>,
}

impl<O> LatencyRecorder<O> {
    /// A recorder in front of another observer.
    pub(crate) fn new(inner: O) -> Self {
        let histogram = Histogram::new_with_max(LONGEST_NS, 3).expect("bounds make sense");
        Self { inner, taken: Vec::new(), histogram }
    }
}

impl<O: Observer> Observer for LatencyRecorder<O> {
    fn taken(&mut self) {
        self.taken.push(Instant::now());
        self.inner.taken();
    }

    fn committed(&mut self, progress: Progress) {
        let now = Instant::now();
        for taken in self.taken.drain(..) {
            let nanos = now.duration_since(taken).as_nanos();
            self.histogram.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        self.inner.committed(progress);
    }

    fn replaying(&mut self, pos: silvertine_engine::pos::Pos) {
        self.inner.replaying(pos);
    }

    fn retrying(
        &mut self,
        error: &silvertine_engine::log::LogError,
        attempt: u32,
        pause: std::time::Duration,
    ) {
        self.inner.retrying(error, attempt, pause);
    }
}
