//! `silvertine run`.

use std::{
    path::Path,
    process,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use silvertine::{
    engine::{
        driver::{End, RunError},
        log::OwnerId,
    },
    scenarios::{
        runner::{Report, Runner, RunnerError},
        scenario::{ClockMode, Scenario},
    },
    storage::{AnyLog, LogAddress},
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    cli::RunArgs,
    clock::{LiveClock, Speed},
    exit::{Exit, Failure, say},
    latency::LatencyRecorder,
    progress::ProgressView,
    signals::stop_on_signals,
    simulated,
    summary::{self, Summary},
};

/// Entries kept of a run in memory whose scenario does not say.
const MEMORY_RETENTION: u64 = 1_000_000;

/// Runs a scenario.
pub(crate) fn run(args: RunArgs) -> Result<Exit, Failure> {
    let scenario = prepare(&args)?;
    if scenario.is_simulated() {
        return simulated::run(&args, &scenario);
    }
    if args.timeline {
        let why = "--timeline shows what the simulator did; this scenario has no [[fault]]";
        return Err(Failure::new(Exit::Usage, why));
    }
    if let Some(key) = args.released_both_ways() {
        let why = format!("--release {key} and --release-past {key} contradict each other");
        return Err(Failure::new(Exit::Usage, why));
    }
    let partition = args.partition.unwrap_or(scenario.name);
    let log = AnyLog::open(&args.log, partition, false)?;
    let clock = match scenario.clock {
        ClockMode::Virtual => LiveClock::Paced { speed: args.speed, began: None },
        ClockMode::Wall => LiveClock::Wall { last: Default::default() },
    };
    let runner = Runner {
        data: args.data.clone(),
        resume: args.resume,
        past_halt: args.past_halt,
        releases: args.releases(),
        owner: new_owner(),
        ..Runner::default()
    };
    let stop = stop_on_signals()?;
    let observer = LatencyRecorder::new(ProgressView::new());

    let began = Instant::now();
    let ran = runtime()?.block_on(runner.run(&scenario, log, clock, observer, &stop));
    let wall = began.elapsed();
    if let (true, Err(RunnerError::Run(RunError::Halted(halt)))) = (args.json, &ran) {
        let printed = summary::print_halt_json(scenario.name, &args.log, halt);
        printed.map_err(|why| Failure::unwritable(&why))?;
    }
    let (report, latency) = ran?;
    latency.inner.clear();

    let summary = Summary {
        scenario_path: &args.scenario,
        log: &args.log,
        report: &report,
        wall,
        latency: &latency.histogram,
    };
    let printed = if args.json { summary.print_json() } else { summary.print_text() };
    printed.map_err(|why| Failure::unwritable(&why))?;
    conclude(&scenario, &args.scenario, &report)
}

/// A runtime for this thread; everything but waiting happens on it.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::new(Exit::Unexpected, format!("cannot start the runtime: {why}")))
}

fn prepare(args: &RunArgs) -> Result<Scenario, Failure> {
    let mut scenario = Scenario::read(&args.scenario)?;
    if let Some(seed) = args.seed {
        scenario.seed = seed;
    }
    if let Some(batch) = args.batch {
        if batch == 0 {
            return Err(Failure::new(Exit::Usage, "--batch must be at least 1"));
        }
        scenario.run.batch_entries = batch;
    }
    if let Some(seconds) = args.give_up_after {
        scenario.run.give_up_after_s = seconds;
    }
    let in_memory = args.log == LogAddress::Memory && !scenario.is_simulated();
    if in_memory && scenario.run.retention_entries.is_none() {
        scenario.run.retention_entries = Some(MEMORY_RETENTION);
    }
    if scenario.clock == ClockMode::Wall && args.speed != Speed::Max {
        return Err(Failure::new(
            Exit::Usage,
            "--speed paces a virtual clock; this scenario runs on the wall clock",
        ));
    }
    Ok(scenario)
}

/// An id that no other process has: who we are and when we began.
pub(crate) fn new_owner() -> OwnerId {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    OwnerId(since_epoch.as_nanos() << 32 | u128::from(process::id()))
}

/// Compares with the scenario's expectations, unless the run was cut short.
fn conclude(scenario: &Scenario, path: &Path, report: &Report) -> Result<Exit, Failure> {
    if report.outcome.end == End::Stopped {
        let head = report.outcome.head;
        say(format_args!("stopped at {head}, everything is committed; --resume goes on"));
        return Ok(Exit::Stopped);
    }
    let unmet = report.unmet(&scenario.expect);
    if !unmet.is_empty() {
        let message = format!("{}: not as expected: {}", path.display(), unmet.join("; "));
        return Err(Failure::new(Exit::ExpectationMissed, message));
    }
    if report.parked.is_empty() || scenario.expect.parked.is_some() {
        return Ok(Exit::Good);
    }
    let keys: Vec<String> = report.parked.iter().map(|parked| parked.key.to_string()).collect();
    say(format_args!(
        "the run ended and everything is committed, but events are parked under {}; when the handler is mended, --resume --release HANDLER:SYMBOL tries them again",
        keys.join(", ")
    ));
    Ok(Exit::Parked)
}
