//! SIGINT and SIGTERM ask for a graceful stop; a second one ends the process at once.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use silvertine_engine::stop::StopFlag;

use crate::exit::{Exit, Failure};

/// A stop flag that signals raise.
pub(crate) fn stop_on_signals() -> Result<StopFlag, Failure> {
    let failed = |why| Failure::new(Exit::Unexpected, format!("cannot watch signals: {why}"));
    let stop = StopFlag::default();
    register(&stop).map_err(failed)?;
    Ok(stop)
}

fn register(stop: &StopFlag) -> io::Result<()> {
    for (signal, abort_code) in [(SIGINT, 130), (SIGTERM, 143)] {
        // Registered first, so that it acts from the second signal on.
        let armed: Arc<AtomicBool> = stop.shared();
        flag::register_conditional_shutdown(signal, abort_code, Arc::clone(&armed))?;
        flag::register(signal, armed)?;
    }
    Ok(())
}
