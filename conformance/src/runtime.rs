//! Where laws run: on a runtime of their own, for those logs and stores that need one, and not for ever.

use std::{future::Future, time::Duration};

use crate::breach::Must;

/// No law takes so long, on whatever machine.
const LAW_MAX: Duration = Duration::from_secs(120);

/// Runs a law, or a part of one, to its end.
pub(crate) fn run<T>(law: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let in_time = async { tokio::time::timeout(LAW_MAX, law).await };
    runtime.must("a runtime").block_on(in_time).must("a law comes to its end")
}
