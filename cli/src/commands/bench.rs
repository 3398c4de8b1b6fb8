//! `silvertine bench`: the full engine compared with a baseline that only generates, encodes and digests each event, on
//! this machine, in the same run.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use silvertine_engine::{
    digest::Digest,
    event::{Event, EventId, Header, Origin},
    log::Batch,
    pos::Pos,
    source::{Row, Source},
    text::Name,
};
use silvertine_scenarios::scenario::Scenario;
use silvertine_storage::LogAddress;
use silvertine_trading::generator::{Market, QuoteGenerator};

use crate::{
    args::BenchArgs,
    commands::run::runtime,
    exit::{Exit, Failure},
};
use silvertine_runtime::Run;

/// Measures and prints medians.
pub(crate) fn bench(args: BenchArgs) -> Result<Exit, Failure> {
    if args.events == 0 || args.rounds == 0 {
        return Err(Failure::new(Exit::Usage, "--events and --rounds must be at least 1"));
    }
    let mut logs = vec![LogAddress::Memory];
    logs.extend(args.log);
    let mut baseline = Vec::new();
    let mut engine = vec![Vec::new(); logs.len()];
    // The rounds alternate, so that a machine whose speed drifts affects all of them alike.
    for round in 0..args.rounds {
        baseline.push(encode_and_digest(args.events)?);
        for (times, address) in engine.iter_mut().zip(&logs) {
            times.push(run_engine(args.events, address, round)?);
        }
    }
    let baseline = median(baseline);
    println!("{} quotes of one instrument, median of {} rounds", args.events, args.rounds);
    println!(
        "  {:<44} {:>12}/s",
        "baseline: generate, encode, digest",
        rate(args.events, baseline)
    );
    for (times, address) in engine.into_iter().zip(&logs) {
        let time = median(times);
        let share = baseline.as_nanos() * 100 / time.as_nanos().max(1);
        let label = format!("engine with ema-cross on {address}");
        println!("  {label:<44} {:>12}/s  {share:>3} % of the baseline", rate(args.events, time));
    }
    Ok(Exit::Good)
}

fn rate(events: u64, time: Duration) -> u128 {
    u128::from(events) * 1_000_000_000 / time.as_nanos().max(1)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn scenario(events: u64) -> Scenario {
    let text = format!(
        r#"
name = "bench"
seed = 1
[run]
retention_entries = 500000
[[source]]
kind = "generator"
name = "generated"
symbols = ["BENCH"]
events = {events}
[[handler]]
kind = "ema-cross"
params = {{ symbol = "BENCH", fast = 500, slow = 2000 }}
"#
    );
    Scenario::parse(&text, "bench", PathBuf::new()).expect("a scenario of our own")
}

fn encode_and_digest(events: u64) -> Result<Duration, Failure> {
    let market = Market::new(1, vec!["BENCH".parse().expect("a short word")], events);
    let name = Name::new("generated").expect("a short word");
    let mut source = QuoteGenerator::new(name, market).expect("a market of our own");
    let began = Instant::now();
    let (mut batch, mut digest) = (Batch::default(), Digest::EMPTY);
    while let Some(Row::Event(input)) = source.next_row().map_err(Failure::from)? {
        let id = EventId::of_input(&input.source, input.source_seq);
        let header = Header {
            id,
            event_time: input.event_time,
            recv_time: input.recv_time,
            source: input.source,
            source_seq: input.source_seq,
            correlation: id,
            causation: None,
        };
        let (time, body) = (input.recv_time, input.body);
        let pos = Pos { ms: time.as_ms(), seq: input.source_seq };
        digest =
            digest.chain(batch.push(&Event { pos, time, origin: Origin::Input, header, body }));
        if batch.len() == 256 {
            batch.clear();
        }
    }
    std::hint::black_box(digest);
    Ok(began.elapsed())
}

fn run_engine(events: u64, address: &LogAddress, round: usize) -> Result<Duration, Failure> {
    let partition = format!("bench-{}-{round}", std::process::id());
    let partition = Name::new(&partition).expect("a short word");
    let address = match address {
        LogAddress::Redb(path) => LogAddress::Redb(path.join(partition.as_str())),
        LogAddress::Sled(path) => LogAddress::Sled(path.join(partition.as_str())),
        other => other.clone(),
    };
    let run = Run::of(scenario(events)).at(address).partition(partition);
    let runtime = runtime()?;
    let began = Instant::now();
    runtime.block_on(run.start())?;
    Ok(began.elapsed())
}
