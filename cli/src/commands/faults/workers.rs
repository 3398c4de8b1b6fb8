//! `silvertine sim --workers`: the worker plane under drawn faults, seed after seed.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use silvertine_runtime::faults::simulate_workers;
use silvertine_sim::streams::{
    self, Plan, Report,
    fault::{Counts, Fault},
};

use super::SEEDS;
use crate::{
    args::SimArgs,
    exit::{Exit, Failure},
    program::program,
};

/// Totals over all seeds.
#[derive(Default)]
struct Tally {
    runs: u64,
    steps: u64,
    messages: u64,
    virtual_ns: u128,
    counts: Counts,
    /// The first seeds that broke a promise, and those that gave two traces.
    broken: Option<u64>,
    parted: Option<u64>,
}

impl Tally {
    fn note(&mut self, report: &Report) {
        self.runs += 1;
        self.steps += report.steps;
        self.messages += report.messages;
        self.virtual_ns += u128::from(report.virtual_ns);
        self.counts.add(&report.counts);
        if report.violation.is_some() {
            self.broken = self.broken.into_iter().chain([report.seed]).min();
        }
    }

    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.messages += other.messages;
        self.virtual_ns += other.virtual_ns;
        self.counts.add(&other.counts);
        self.broken = self.broken.into_iter().chain(other.broken).min();
        self.parted = self.parted.into_iter().chain(other.parted).min();
    }

    fn print(&self, args: &SimArgs, wall: Duration) {
        let per_second = u128::from(self.runs) * 1_000_000_000 / wall.as_nanos().max(1);
        let faults: BTreeMap<_, _> =
            Fault::ALL.iter().map(|&fault| (fault.name(), self.counts.of(fault))).collect();
        if args.json {
            let object = json!({
                "schema_version": 1, "good": true, "schedules": self.runs, "jobs": args.jobs,
                "seconds": wall.as_secs_f64(), "schedules_per_second": per_second as u64,
                "messages": self.messages, "steps": self.steps,
                "virtual_seconds": (self.virtual_ns / 1_000_000_000) as u64, "faults_by_kind": faults,
            });
            println!("{object}");
            return;
        }
        let runs = self.runs.max(1);
        println!("good: {} seeds of the worker plane, no promise broken", self.runs);
        println!(
            "  {per_second} schedules/s with {} job(s), {:.1} s in all",
            args.jobs,
            wall.as_secs_f64()
        );
        println!(
            "  per schedule: {} messages, {} steps, {} s of virtual time",
            self.messages / runs,
            self.steps / runs,
            self.virtual_ns / u128::from(runs) / 1_000_000_000
        );
        println!("  what happened, and how often:");
        for fault in Fault::ALL {
            println!("    {:>10}  {:<15} {}", self.counts.of(*fault), fault.name(), fault.says());
        }
    }
}

/// Runs seeds and says what they reached, or how the first one failed.
pub(super) fn sim(args: &SimArgs) -> Result<Exit, Failure> {
    let began = Instant::now();
    let tally = run_all(args, began);
    if let Some(seed) = tally.parted {
        let message = format!("seed {seed} gives two different traces");
        return Err(Failure::new(Exit::NotDeterministic, message));
    }
    if let Some(seed) = tally.broken {
        let plan = Plan::draw(seed);
        let report = simulate_workers(&plan);
        println!("{}", streams::Failure(&plan, &report));
        let promise = report.violation.as_ref().map_or("nothing", |broken| broken.promise.name());
        let again = format!("{} sim --workers --seeds 1 --from-seed {seed}", program());
        return Err(Failure::new(
            Exit::PromiseBroken,
            format!("seed {seed} broke {promise}; {again}"),
        ));
    }
    if tally.runs == 0 {
        return Err(Failure::new(Exit::NotReached, "no plan was run, so nothing is known"));
    }
    tally.print(args, began.elapsed());
    let missing: Vec<_> = tally.counts.missing().into_iter().map(Fault::name).collect();
    if args.require_all && !missing.is_empty() {
        return Err(Failure::new(
            Exit::NotReached,
            format!("never reached: {}", missing.join(", ")),
        ));
    }
    Ok(Exit::Good)
}

fn run_all(args: &SimArgs, began: Instant) -> Tally {
    let count = match (args.seeds, args.time) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => u64::MAX,
        (None, None) => SEEDS,
    };
    let (next, to) = (AtomicU64::new(args.from_seed), args.from_seed.saturating_add(count));
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let enough = || args.time.is_some_and(|time| began.elapsed() >= time.duration());
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                let mut ours = Tally::default();
                while !stop.load(Ordering::Relaxed) && !enough() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        break;
                    }
                    let plan = Plan::draw(seed);
                    let report = simulate_workers(&plan);
                    if args.check_determinism && simulate_workers(&plan).hash != report.hash {
                        ours.parted = Some(seed);
                    }
                    ours.note(&report);
                    stop.fetch_or(ours.broken.or(ours.parted).is_some(), Ordering::Relaxed);
                }
                tally.lock().unwrap_or_else(PoisonError::into_inner).add(&ours);
            });
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}
