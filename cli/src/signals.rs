//! SIGINT and SIGTERM ask for a graceful stop; a second request ends the process at once.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level,
};
use silvertine_engine::stop::StopFlag;

use crate::exit::{Exit, Failure};

/// Signals that come so soon after the first one belong to the same request: `timeout`, for one, signals the process
/// and its group, and a terminal and a supervisor may both do so.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// A stop flag that signals raise, also while this thread computes without a pause.
pub(crate) fn stop_on_signals() -> Result<StopFlag, Failure> {
    let stop = StopFlag::default();
    watch(stop.clone())
        .map_err(|why| Failure::new(Exit::Unexpected, format!("cannot watch signals: {why}")))?;
    Ok(stop)
}

fn watch(stop: StopFlag) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let watching = move || {
        let mut first = None;
        for signal in signals.forever() {
            let first = *first.get_or_insert_with(Instant::now);
            if first.elapsed() > SAME_REQUEST {
                // The code by which shells say that a signal ended a process.
                low_level::exit(128 + signal);
            }
            stop.request();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watching).map(drop)
}
