//! `silvertine relay`: committed events of a log onto named streams.

use silvertine::{
    streams::Streams,
    worker::{Relay, now},
};

use super::{args::RelayArgs, open, say};
use crate::{
    exit::{Exit, Failure},
    run::runtime,
    signals::stop_on_signals,
    verify::open_existing,
};

/// Passes committed events on.
pub(crate) fn relay(args: RelayArgs) -> Result<Exit, Failure> {
    let streams = open(&args.store, false)?;
    let log = open_existing(&args.log)?;
    let stop = stop_on_signals()?;
    let relay = Relay::new(log, streams.clone(), &args.service)
        .map_err(|why| Failure::new(Exit::Usage, why))?;
    let passed_on = runtime()?.block_on(async {
        streams.declare(now()).await?;
        relay.run(args.follow, &stop).await
    })?;
    say(&format!("{passed_on} events passed on"))?;
    Ok(if stop.is_requested() { Exit::Stopped } else { Exit::Good })
}
