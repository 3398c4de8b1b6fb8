//! `silvertine sim --workers`: the worker plane under drawn faults, seed after seed; and one plan from a file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use silvertine_engine::digest::Digest;
use silvertine_runtime::faults::worker_subject;
use silvertine_sim::{
    kernel::shrink::Budget,
    streams::{
        Counterexample, Plan, Report,
        fault::{Counts, Fault},
        shrink_failure, simulate, simulate_keeping_all,
    },
};

use super::{SHRINKING, determinism, run::violation_json, seeds};
use crate::{
    args::SimArgs,
    exit::{Exit, Failure, say},
    program::program,
    signals::stop_on_signals,
};

/// Runs seeds, or the plan of a file, and says what they reached, or how the first one failed.
pub(super) fn sim(args: &SimArgs) -> Result<Exit, Failure> {
    let interrupted = stop_on_signals()?.shared();
    let is_interrupted = || interrupted.load(Ordering::Relaxed);
    let (tally, what) = match &args.plan {
        Some(path) => (run_file(&read_plan(path)?, args), "plan"),
        None => (run_seeds(args, &interrupted)?, "seeds"),
    };
    if let Some(path) = &args.write_hashes {
        determinism::write_hashes(path, &tally.hashes)?;
    }
    if let Some(plan) = &tally.parted {
        return Err(two_traces(plan));
    }
    if let Some(plan) = &tally.broken {
        return report_failure(plan, args, &is_interrupted);
    }
    if tally.runs == 0 && !is_interrupted() {
        return Err(Failure::new(Exit::NotReached, "no plan was run, so nothing is known"));
    }
    if args.check_determinism && !is_interrupted() {
        determinism::compare_with_another_process(tally.runs, &tally.hashes, args, &interrupted)?;
    }
    if is_interrupted() {
        tally.print("stopped", what, args);
        let runs = tally.runs;
        say(format_args!("stopped after {runs} {what}; what else was asked for was not checked"));
        return Ok(Exit::Stopped);
    }
    tally.print("good", what, args);
    let missing = tally.missing();
    if args.require_all && !missing.is_empty() {
        let message = format!("never reached: {}", missing.join(", "));
        return Err(Failure::new(Exit::NotReached, message));
    }
    Ok(Exit::Good)
}

/// What came of all plans together.
#[derive(Default)]
struct Tally {
    runs: u64,
    steps: u64,
    messages: u64,
    virtual_ns: u128,
    counts: Counts,
    /// The first plans that broke a promise, and that gave two traces.
    broken: Option<Plan>,
    parted: Option<Plan>,
    /// Trace hash of each plan, by its seed.
    hashes: BTreeMap<u64, Digest>,
    wall: Duration,
}

impl Tally {
    /// Runs a plan, twice if its determinism is to be checked.
    fn run(&mut self, plan: Plan, args: &SimArgs) {
        let report = simulate(&plan, worker_subject());
        let Report { trace, messages, virtual_ns, counts, violation, .. } = report;
        self.runs += 1;
        self.steps += trace.steps();
        self.messages += messages;
        self.virtual_ns += u128::from(virtual_ns);
        self.counts.add(&counts);
        self.hashes.insert(plan.seed, trace.hash());
        if args.check_determinism && simulate(&plan, worker_subject()).hash() != trace.hash() {
            self.parted = first(self.parted.take(), Some(plan));
        } else if violation.is_some() {
            self.broken = first(self.broken.take(), Some(plan));
        }
    }

    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.messages += other.messages;
        self.virtual_ns += other.virtual_ns;
        self.counts.add(&other.counts);
        self.broken = first(self.broken.take(), other.broken);
        self.parted = first(self.parted.take(), other.parted);
        self.hashes.extend(other.hashes);
    }

    fn missing(&self) -> Vec<&'static str> {
        self.counts.missing().map(Fault::name).collect()
    }

    /// Says on stdout what came of it; `end` is `good` or `stopped`.
    fn print(&self, end: &str, what: &str, args: &SimArgs) {
        let per_second = u128::from(self.runs) * 1_000_000_000 / self.wall.as_nanos().max(1);
        if args.json {
            let faults: BTreeMap<_, _> =
                Fault::ALL.iter().map(|&fault| (fault.name(), self.counts.of(fault))).collect();
            let object = json!({
                "schema_version": 1, "good": true,
                "end": if end == "stopped" { end } else { "finished" }, "schedules": self.runs, "jobs": args.jobs,
                "seconds": self.wall.as_secs_f64(), "schedules_per_second": per_second as u64,
                "messages": self.messages, "steps": self.steps,
                "virtual_seconds": (self.virtual_ns / 1_000_000_000) as u64,
                "faults_by_kind": faults, "missing": self.missing(),
            });
            println!("{object}");
            return;
        }
        let runs = self.runs.max(1);
        println!("{end}: {} {what} of the worker plane, no promise broken", self.runs);
        println!(
            "  {per_second} schedules/s with {} job(s), {:.1} s in all",
            args.jobs,
            self.wall.as_secs_f64()
        );
        println!(
            "  per schedule: {} messages, {} steps, {} s of virtual time",
            self.messages / runs,
            self.steps / runs,
            self.virtual_ns / u128::from(runs) / 1_000_000_000
        );
        println!("  what happened, and how often:");
        for fault in Fault::ALL {
            println!(
                "    {:>10}  {:<16} {}",
                self.counts.of(*fault),
                fault.name(),
                fault.meaning()
            );
        }
        let missing = self.missing();
        if !missing.is_empty() {
            println!("  never reached: {}", missing.join(", "));
        }
    }
}

/// The plan of the lower seed.
fn first(one: Option<Plan>, other: Option<Plan>) -> Option<Plan> {
    one.into_iter().chain(other).min_by_key(|plan| plan.seed)
}

fn run_seeds(args: &SimArgs, interrupted: &AtomicBool) -> Result<Tally, Failure> {
    let seeds = seeds(args)?;
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let enough = || {
        interrupted.load(Ordering::Relaxed)
            || args.time.is_some_and(|time| began.elapsed() >= time.duration())
    };
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                let mut ours = Tally::default();
                while !stop.load(Ordering::Relaxed) && !enough() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    ours.run(Plan::draw(seed), args);
                    let failed = ours.broken.is_some() || ours.parted.is_some();
                    stop.fetch_or(failed, Ordering::Relaxed);
                }
                tally.lock().unwrap_or_else(PoisonError::into_inner).add(ours);
            });
        }
    });
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.wall = began.elapsed();
    Ok(tally)
}

fn run_file(plan: &Plan, args: &SimArgs) -> Tally {
    let began = Instant::now();
    let mut tally = Tally::default();
    tally.run(plan.clone(), args);
    tally.wall = began.elapsed();
    tally
}

fn read_plan(path: &Path) -> Result<Plan, Failure> {
    let failed = |why: String| Failure::new(Exit::Scenario, format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|why| failed(why.to_string()))?;
    let plan: Plan = toml::from_str(&text).map_err(|why| failed(why.to_string()))?;
    plan.check().map_err(|why| failed(why.to_string()))?;
    Ok(plan)
}

fn write_plan(path: &Path, plan: &Plan) -> Result<(), Failure> {
    let text =
        toml::to_string(plan).map_err(|why| Failure::new(Exit::Unexpected, why.to_string()))?;
    fs::write(path, text)
        .map_err(|why| Failure::new(Exit::OutputFailed, format!("{}: {why}", path.display())))
}

fn two_traces(plan: &Plan) -> Failure {
    let run = || simulate_keeping_all(plan, worker_subject());
    let difference = run().trace.first_difference(&run().trace);
    let message = format!("seed {} gives two different traces: {difference}", plan.seed);
    Failure::new(Exit::NotDeterministic, message)
}

fn report_failure(
    drawn: &Plan,
    args: &SimArgs,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<Exit, Failure> {
    let seed = drawn.seed;
    let first = simulate(drawn, worker_subject());
    let Some(violation) = &first.violation else {
        let message = format!("seed {seed} broke a promise once and not again");
        return Err(Failure::new(Exit::NotDeterministic, message));
    };
    let promise = violation.promise;
    // A plan from a file is shown as it is.
    let (broken, written) = if args.plan.is_some() {
        (Counterexample { drawn: drawn.clone(), plan: drawn.clone(), report: first }, None)
    } else {
        let began = Instant::now();
        let stop = || is_interrupted() || began.elapsed() > SHRINKING;
        let budget = Budget { stop: &stop, ..Budget::default() };
        let broken = shrink_failure(drawn, worker_subject(), promise, budget);
        let path =
            args.out.clone().unwrap_or_else(|| PathBuf::from(format!("workers-{seed}.toml")));
        // What was found must not be lost with a file that cannot be written.
        let written = write_plan(&path, &broken.plan).map(|()| path);
        (broken, Some(written))
    };
    let file = written.as_ref().and_then(|written| written.as_ref().ok());
    if args.json {
        println!("{}", failure_json(&broken, file.map(PathBuf::as_path)));
    } else {
        println!("{broken}");
        if let Some(file) = file {
            println!("again: {} sim --workers --plan {}", program(), file.display());
        }
    }
    let drawn_again = match args.plan {
        None => format!("; {} sim --workers --seeds 1 --from-seed {seed}", program()),
        Some(_) => String::new(),
    };
    let unwritten = match written {
        Some(Err(why)) => format!("; not written: {}", why.message),
        _ => String::new(),
    };
    let message = format!("seed {seed} broke {promise}{drawn_again}{unwritten}");
    Err(Failure::new(Exit::PromiseBroken, message))
}

/// One JSON object for the first plan that broke a promise, and the file that shows it again.
fn failure_json(broken: &Counterexample, file: Option<&Path>) -> Value {
    let (strikes, messages) = broken.plan.size();
    let violation = broken.violation().map(violation_json);
    json!({
        "schema_version": 1, "good": false, "end": "finished", "seed": broken.drawn.seed, "violation": violation,
        "strikes": strikes, "messages": messages, "plan": broken.plan.lines(),
        "file": file.map(|path| path.display().to_string()),
    })
}
