//! `silvertine relay`: committed events of a log onto named streams.

use silvertine_streams::Streams;
use silvertine_worker::{Relay, now};

use super::{args::RelayArgs, open, say};
use crate::{
    commands::{run::runtime, verify::open_existing},
    exit::{Exit, Failure},
    signals::stop_on_signals,
};

/// Passes committed events on.
pub(crate) fn relay(args: RelayArgs) -> Result<Exit, Failure> {
    let streams = open(&args.store, false)?;
    let log = open_existing(&args.log)?;
    let stop = stop_on_signals()?;
    let relay = Relay::new(log, streams.clone(), &args.service)?;
    let passed_on = runtime()?.block_on(async {
        streams.declare(now()).await?;
        Ok::<_, Failure>(relay.run(args.follow, &stop).await?)
    })?;
    say(&format!("{passed_on} events passed on"))?;
    Ok(if stop.is_requested() { Exit::Stopped } else { Exit::Good })
}
