//! The one place that reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use silvertine_engine::time::Nanos;

/// The system clock's time, in nanoseconds since the epoch.
#[must_use]
pub fn now() -> Nanos {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}
