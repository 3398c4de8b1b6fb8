//! `silvertine run`.

use std::{path::Path, time::Instant};

use silvertine_engine::driver::{End, RunError};
use silvertine_runtime::{LaunchError, Run, Speed};
use silvertine_scenarios::{
    registry::Registry,
    runner::{RunReport, RunnerError},
    scenario::{ClockMode, Scenario},
};
use silvertine_storage::LogAddress;
use tokio::runtime::{Builder, Runtime};

use crate::{
    args::RunArgs,
    commands::faults,
    exit::{Exit, Failure, say},
    latency::LatencyRecorder,
    progress::ProgressView,
    signals::stop_on_signals,
    summary::{self, Summary},
};

/// Runs a scenario.
pub(crate) fn run(args: RunArgs, registry: Registry) -> Result<Exit, Failure> {
    let scenario = prepare(&args)?;
    if scenario.is_simulated() {
        return faults::run(&args, &scenario, &registry);
    }
    if args.timeline {
        let why = "--timeline shows what the simulator did; this scenario has no [[fault]]";
        return Err(Failure::new(Exit::Usage, why));
    }
    if let Some(key) = args.released_both_ways() {
        let why = format!("--release {key} and --release-past {key} contradict each other");
        return Err(Failure::new(Exit::Usage, why));
    }
    let mut run = Run::of(scenario.clone()).with(registry).at(args.log.clone());
    run = run.speed(args.speed).until(stop_on_signals()?);
    if let Some(partition) = args.partition {
        run = run.partition(partition);
    }
    if let Some(data) = &args.data {
        run = run.data(data);
    }
    if args.resume {
        run = run.resume();
    }
    if let Some(pos) = args.past_halt {
        run = run.past_halt(pos);
    }
    for &key in &args.release_past {
        run = run.release_past(key);
    }
    for &key in &args.release {
        run = run.release(key);
    }
    let observer = LatencyRecorder::new(ProgressView::new());

    let began = Instant::now();
    let ran = runtime()?.block_on(run.observed(observer));
    let wall = began.elapsed();
    if let (true, Err(LaunchError::Run(RunnerError::Run(RunError::Halted(halt))))) =
        (args.json, &ran)
    {
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
    conclude(&scenario, &args.scenario, &args.log, &report)
}

/// A single-threaded runtime: everything runs on this thread.
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
    if scenario.clock == ClockMode::Wall && args.speed != Speed::Max {
        return Err(Failure::new(
            Exit::Usage,
            "--speed paces a virtual clock; this scenario runs on the wall clock",
        ));
    }
    Ok(scenario)
}

/// Compares the result with the scenario's expectations, unless the run was stopped early.
fn conclude(
    scenario: &Scenario,
    path: &Path,
    log: &LogAddress,
    report: &RunReport,
) -> Result<Exit, Failure> {
    if report.outcome.end == End::Stopped {
        let head = report.outcome.head;
        let way_on = match log {
            LogAddress::Memory => "the log was in memory and is gone; --log keeps one",
            _ => "--resume goes on",
        };
        say(format_args!("stopped at {head}, everything is committed; {way_on}"));
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
