//! `silvertine run` for a scenario with faults or a section `[sim]`: it runs in the simulator, and every promise is watched.

use serde_json::{Map, Value, json};
use silvertine_scenarios::{
    registry::Registry, runner::RunReport, scenario::Scenario, under_faults::ScenarioSubject,
};
use silvertine_sim::{
    kernel::{catalogue::Kind, report::Violation},
    log::{
        fault::FaultKind,
        report::Report,
        simulate::{Options, simulate_until},
    },
};
use silvertine_storage::{LogAddress, memory::MemoryLog};

use crate::{
    args::RunArgs,
    exit::{Exit, Failure, say},
    signals::stop_on_signals,
};

/// Trace lines shown before a violation.
const SHOWN: usize = 40;

/// Runs a scenario with faults.
pub(crate) fn run(
    args: &RunArgs,
    scenario: &Scenario,
    registry: &Registry,
) -> Result<Exit, Failure> {
    if args.log != LogAddress::Memory || args.resume {
        let why = "this scenario runs in the simulator, which has a log of its own: leave --log and --resume out";
        return Err(Failure::new(Exit::Usage, why));
    }
    let subject = ScenarioSubject::<MemoryLog>::new(scenario, registry, args.data.clone());
    subject.check_sources()?;
    let options = Options::seeded(scenario.sim.unwrap_or_default().seed).keep_trace(args.timeline);
    let stop = stop_on_signals()?.shared();
    let report = simulate_until(&subject, &scenario.faults, options, &stop)
        .map_err(|why| Failure::new(Exit::Scenario, why.to_string()))?;
    if args.timeline {
        for happened in report.trace.all() {
            println!("{happened}");
        }
    }
    if args.json {
        print_json(args, scenario, &report);
    } else {
        print_text(args, scenario, &report);
    }
    conclude(args, scenario, &report)
}

fn conclude(args: &RunArgs, scenario: &Scenario, report: &Report) -> Result<Exit, Failure> {
    let shown = args.scenario.display();
    if let Some(violation) = &report.violation {
        let message = format!("{shown}: broke {}: {}", violation.promise, violation.what);
        return Err(Failure::new(Exit::PromiseBroken, message));
    }
    if report.stopped {
        let taken = report.taken;
        say(format_args!(
            "stopped after {taken} inputs; what must hold at the end was not checked"
        ));
        return Ok(Exit::Stopped);
    }
    let Report { counts, figures, parked, digest, .. } = report;
    let unmet = RunReport::unmet_by(&scenario.expect, counts, figures, parked, *digest);
    if unmet.is_empty() {
        return Ok(Exit::Good);
    }
    let message = format!("{shown}: not as expected: {}", unmet.join("; "));
    Err(Failure::new(Exit::ExpectationMissed, message))
}

/// Faults that fired, by kind.
fn fired(report: &Report) -> impl Iterator<Item = (FaultKind, u64)> {
    FaultKind::ALL
        .iter()
        .copied()
        .map(|kind| (kind, report.coverage.fired.of(kind)))
        .filter(|&(_, count)| count > 0)
}

/// A broken promise, for programs.
pub(super) fn violation_json<P: Kind>(violation: &Violation<P>) -> Value {
    let Violation { promise, what, expected, actual } = violation;
    json!({ "promise": promise.name(), "what": what, "expected": expected, "actual": actual })
}

fn print_json(args: &RunArgs, scenario: &Scenario, report: &Report) {
    let faults: Map<String, Value> =
        fired(report).map(|(kind, count)| (kind.name().to_owned(), count.into())).collect();
    let violation = report.violation.as_ref().map(violation_json);
    let object = json!({
        "schema_version": 1, "scenario": scenario.name, "file": args.scenario.display().to_string(),
        "log": "simulated", "good": report.violation.is_none() && !report.stopped,
        "end": if report.stopped { "stopped" } else { "finished" }, "events": report.counts.inputs,
        "entries": report.counts.entries, "orders": report.counts.orders, "fills": report.counts.fills,
        "digest": report.digest.to_string(), "faults": faults, "owners": report.owners,
        "taken": report.taken, "virtual_seconds": report.virtual_ns / 1_000_000_000,
        "trace": report.trace.hash().to_string(), "violation": violation,
    });
    println!("{object}");
}

fn print_text(args: &RunArgs, scenario: &Scenario, report: &Report) {
    let counts = &report.counts;
    println!("{}  ({}) under faults, in the simulator", scenario.name, args.scenario.display());
    // The totals are only known at the end.
    if !report.stopped {
        println!("  events   {} in, {} entries", counts.inputs, counts.entries);
        println!(
            "  orders   {}, fills {}, rejected {}",
            counts.orders, counts.fills, counts.rejected
        );
    }
    let faults: Vec<String> =
        fired(report).map(|(kind, count)| format!("{kind} {count}")).collect();
    println!(
        "  faults   {}",
        if faults.is_empty() { "none fired".to_owned() } else { faults.join(", ") }
    );
    let missed = (scenario.faults.len() as u64).saturating_sub(report.faults);
    if missed > 0 && !report.stopped {
        println!(
            "  missed   {missed} of {} faults: the run never got there, or nothing could feel them",
            scenario.faults.len()
        );
    }
    println!(
        "  owners   {}, {} inputs taken by all of them, {} s of virtual time",
        report.owners,
        report.taken,
        report.virtual_ns / 1_000_000_000
    );
    println!("  trace    {}", report.trace.hash());
    println!("  digest   {}", report.digest);
    let Some(violation) = &report.violation else {
        if report.stopped {
            println!("  stopped: no promise broken so far");
            return;
        }
        println!("  good: the same log, state and figures as without faults; no promise broken");
        return;
    };
    println!("{violation}");
    println!("  what happened last:");
    let timeline = report.timeline();
    for happened in &timeline[timeline.len().saturating_sub(SHOWN)..] {
        println!("    {happened}");
    }
}
