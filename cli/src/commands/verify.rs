//! `silvertine verify`: re-executes a log and compares every byte.

use serde_json::json;
use silvertine_engine::{
    digest::Digest,
    event::TopicSet,
    halt::Halt,
    log::{EventLog, LogError},
    park::Parked,
    pos::Pos,
    recovery::{self, RecordedDeadLetter, ReplayError, Replayed},
    text::Name,
};
use silvertine_scenarios::{manifest::Manifest, registry::Registry};
use silvertine_storage::{AnyLog, LogAddress};

use crate::{
    args::VerifyArgs,
    commands::run::runtime,
    exit::{Exit, Failure},
    summary::{halt_json, parked_json},
};

/// The result of verifying a good log.
struct Verified {
    scenario: Name,
    head: Pos,
    digest: Digest,
    replayed: Replayed,
    /// Events that handlers failed on and were not handed again, since the log began.
    given_up: u64,
    /// The first of them that is kept, where no topic parks.
    first_given_up: Option<RecordedDeadLetter>,
    halt: Option<Halt>,
    parked: Vec<Parked>,
}

/// Verifies a log.
pub(crate) fn verify(args: VerifyArgs, registry: &Registry) -> Result<Exit, Failure> {
    let log = open_existing(&args.log)?;
    let verified = runtime()?.block_on(check(&args.log, &log, registry))?;
    let Verified { scenario, head, digest, replayed, given_up, first_given_up, halt, parked } =
        verified;
    if args.json {
        let object = json!({
            "schema_version": 1, "log": args.log.to_string(), "scenario": scenario, "good": true,
            "entries": replayed.entries, "from": replayed.from.to_string(), "head": head.to_string(),
            "digest": digest.to_string(), "given_up": given_up,
            "first_given_up": first_given_up.as_ref().map(|letter| json!({
                "pos": letter.pos.to_string(), "handler": letter.handler,
                "event": letter.event, "reason": letter.reason,
            })),
            "halted": halt.as_ref().map(halt_json),
            "parked": parked_json(&parked),
        });
        println!("{object}");
    } else {
        let from = match replayed.from {
            Pos::ZERO => "the beginning".to_owned(),
            pos => format!("the oldest kept snapshot at {pos}"),
        };
        println!("good: {} entries of {scenario} re-executed from {from}", replayed.entries);
        println!("  head    {head}\n  digest  {digest}");
        match first_given_up {
            Some(RecordedDeadLetter { pos, handler, reason, .. }) => {
                println!(
                    "  events given up: {given_up}, the first at {pos} by {handler}: {reason}"
                );
            }
            None if given_up > 0 => println!("  events given up: {given_up}"),
            None => {}
        }
        for parked in parked {
            println!("  {parked}");
        }
        if let Some(halt) = halt {
            println!("  {halt}");
        }
    }
    Ok(Exit::Good)
}

/// Opens a log that must be there.
pub(crate) fn open_existing(address: &LogAddress) -> Result<AnyLog, Failure> {
    let partition = match address {
        LogAddress::Memory => {
            let why = "a log in memory is gone with its process; name redb:PATH, sled:PATH or redis://…#PARTITION";
            return Err(Failure::new(Exit::Usage, why));
        }
        LogAddress::Redis { partition: None, .. } => {
            let why = format!("{address}: name the partition as {address}#PARTITION");
            return Err(Failure::new(Exit::Usage, why));
        }
        LogAddress::Redis { partition: Some(partition), .. } => *partition,
        LogAddress::Redb(_) | LogAddress::Sled(_) => Name::default(),
    };
    let cannot_open = |error: LogError| Failure::new(Exit::LogUnavailable, error.to_string());
    AnyLog::open(address, partition, true).map_err(|error| match error.kind {
        silvertine_engine::log::LogErrorKind::Foreign { .. } => cannot_open(error),
        _ => error.into(),
    })
}

async fn check(
    address: &LogAddress,
    log: &AnyLog,
    registry: &Registry,
) -> Result<Verified, Failure> {
    let nothing = || Failure::new(Exit::LogUnavailable, format!("{address}: there is no log"));
    let head = log.head().await?.ok_or_else(nothing)?;
    let manifest = log.manifest().await?.ok_or_else(nothing)?;
    let manifest = Manifest::from_bytes(&manifest)?;
    let mut engine = manifest.engine(registry)?;
    if head.trimmed != Pos::ZERO {
        let oldest = log.snapshots().await?.into_iter().find(|pos| *pos >= head.trimmed);
        let oldest = oldest.ok_or(ReplayError::NoSnapshot { through: head.trimmed })?;
        recovery::load_snapshot(&mut engine, log, oldest).await?;
    }
    let replayed = recovery::replay(&mut engine, log, &head, |_| {}).await?;
    let given_up = engine.given_up();
    // Where a topic parks, the first recorded failure need not be an event that was given up.
    let parks = engine.config().on_failure.parking() != TopicSet::EMPTY;
    let first_given_up = match given_up {
        0 => None,
        _ if parks => None,
        _ => recovery::dead_letters(log, replayed.from, 1).await?.pop(),
    };
    let (scenario, halt) = (manifest.scenario, engine.halted().cloned());
    let (head, digest) = (head.pos, head.digest);
    let parked = engine.parked();
    Ok(Verified { scenario, head, digest, replayed, given_up, first_given_up, halt, parked })
}
