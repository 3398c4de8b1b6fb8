//! `silvertine sim`: a scenario's handlers under drawn faults, seed after seed.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use silvertine::{
    engine::digest::Digest,
    scenarios::{handlers::Registry, scenario::Scenario, under_faults::UnderFaults},
    sim::{
        coverage::{Coverage, Sight},
        fault::FaultKind,
        plan::Plan,
        report::Failure as Broken,
        simulate::Report,
    },
    storage::memory::MemoryLog,
};

use crate::{
    cli::SimArgs,
    exit::{Exit, Failure},
};

/// What runs when no scenario is named.
const PROBES: &str = include_str!("../scenarios/probes.toml");

type Subject = UnderFaults<MemoryLog>;

/// Runs seeds and says what they reached, or how the first one failed.
pub(crate) fn sim(args: &SimArgs) -> Result<Exit, Failure> {
    let subject = subject(args)?;
    let tally = run_seeds(&subject, args)?;
    if let Some(hashes) = &args.write_hashes {
        write_hashes(hashes, &tally.hashes)?;
    }
    if let Some(seed) = tally.failed.first() {
        return report_failure(&subject, *seed, args);
    }
    if args.json {
        tally.print_json();
    } else {
        tally.print_text(args.matrix);
    }
    Ok(Exit::Good)
}

fn subject(args: &SimArgs) -> Result<Subject, Failure> {
    let scenario = match &args.scenario {
        Some(path) => Scenario::read(path)?,
        None => Scenario::parse(PROBES, "probes", PathBuf::new())?,
    };
    UnderFaults::new(scenario, Registry::standard(), args.data.clone())
        .map_err(|why| Failure::new(Exit::Scenario, why))
}

/// What came of all seeds together.
#[derive(Default)]
struct Tally {
    runs: u64,
    taken: u64,
    faults: u64,
    owners: u64,
    steps: u64,
    virtual_ns: u128,
    least: Option<(u64, u64)>,
    coverage: Coverage,
    failed: Vec<u64>,
    hashes: BTreeMap<u64, Digest>,
    wall: Duration,
    jobs: usize,
}

impl Tally {
    fn note(&mut self, seed: u64, report: &Report) {
        self.runs += 1;
        self.taken += report.taken;
        self.faults += report.faults;
        self.owners += report.owners;
        self.steps += report.trace.steps();
        self.virtual_ns += u128::from(report.virtual_ns);
        let (taken, faults) = self.least.unwrap_or((u64::MAX, u64::MAX));
        self.least = Some((taken.min(report.taken), faults.min(report.faults)));
        self.coverage.add(&report.coverage);
        if report.violation.is_some() {
            self.failed.push(seed);
        }
        self.hashes.insert(seed, report.trace.hash());
    }

    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.taken += other.taken;
        self.faults += other.faults;
        self.owners += other.owners;
        self.steps += other.steps;
        self.virtual_ns += other.virtual_ns;
        self.least = match (self.least, other.least) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.min(b.1))),
            (a, b) => a.or(b),
        };
        self.coverage.add(&other.coverage);
        self.failed.extend(other.failed);
        self.failed.sort_unstable();
        self.hashes.extend(other.hashes);
    }

    fn per_second(&self, count: u128) -> u128 {
        count * 1_000_000_000 / self.wall.as_nanos().max(1)
    }

    fn print_json(&self) {
        let faults: BTreeMap<_, _> =
            FaultKind::all().map(|kind| (kind.name(), self.coverage.fired(kind))).collect();
        let sights: BTreeMap<_, _> =
            Sight::ALL.iter().map(|&sight| (sight.name(), self.coverage.seen(sight))).collect();
        let object = json!({
            "schema_version": 1, "good": true, "seeds": self.runs, "jobs": self.jobs,
            "seconds": self.wall.as_secs_f64(), "seeds_per_second": self.per_second(self.runs.into()) as u64,
            "inputs": self.taken, "faults": self.faults, "owners": self.owners, "steps": self.steps,
            "virtual_seconds": (self.virtual_ns / 1_000_000_000) as u64,
            "faults_by_kind": faults, "sights": sights, "missing": self.coverage.missing(),
        });
        println!("{object}");
    }

    fn print_text(&self, matrix: bool) {
        let runs = u128::from(self.runs.max(1));
        let (least_taken, least_faults) = self.least.unwrap_or_default();
        println!("good: {} seeds, no promise broken", self.runs);
        println!(
            "  {} schedules/s with {} job(s), {:.1} s in all",
            self.per_second(self.runs.into()),
            self.jobs,
            self.wall.as_secs_f64()
        );
        println!(
            "  per schedule: {} inputs (least {least_taken}), {} faults (least {least_faults}), {} owners, {} steps, {} s of virtual time",
            u128::from(self.taken) / runs,
            u128::from(self.faults) / runs,
            u128::from(self.owners) / runs,
            u128::from(self.steps) / runs,
            self.virtual_ns / 1_000_000_000 / runs,
        );
        println!("  faults fired");
        let fired: Vec<_> = FaultKind::all().collect();
        for row in fired.chunks(4) {
            let cells: Vec<String> = row
                .iter()
                .map(|&kind| format!("{:<17}{:>8}", kind.name(), self.coverage.fired(kind)))
                .collect();
            println!("    {}", cells.join("  "));
        }
        println!("  sights seen");
        for row in Sight::ALL.chunks(3) {
            let cells: Vec<String> = row
                .iter()
                .map(|&sight| format!("{:<21}{:>9}", sight.name(), self.coverage.seen(sight)))
                .collect();
            println!("    {}", cells.join("  "));
        }
        let missing = self.coverage.missing();
        if !missing.is_empty() {
            println!("  never reached: {}", missing.join(", "));
        }
        if matrix {
            println!("\n{}", self.coverage);
        }
    }
}

fn run_seeds(subject: &Subject, args: &SimArgs) -> Result<Tally, Failure> {
    let began = Instant::now();
    let next = AtomicU64::new(args.from_seed);
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let setup_failed = Mutex::new(None);
    let enough = || args.time.is_some_and(|time| began.elapsed() >= time.0);
    let last = match (args.seeds, args.time) {
        (Some(seeds), _) => args.from_seed.saturating_add(seeds),
        (None, Some(_)) => u64::MAX,
        (None, None) => args.from_seed.saturating_add(1000),
    };
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                let mut ours = Tally::default();
                while !stop.load(Ordering::Relaxed) && !enough() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        break;
                    }
                    match subject.run(&subject.plan(seed), false) {
                        Ok(report) => {
                            stop.fetch_or(report.violation.is_some(), Ordering::Relaxed);
                            ours.note(seed, &report);
                        }
                        Err(why) => {
                            stop.store(true, Ordering::Relaxed);
                            *setup_failed.lock().unwrap_or_else(PoisonError::into_inner) =
                                Some(why);
                        }
                    }
                }
                tally.lock().unwrap_or_else(PoisonError::into_inner).add(ours);
            });
        }
    });
    if let Some(why) = setup_failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(Failure::new(Exit::Scenario, why));
    }
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.wall = began.elapsed();
    tally.jobs = args.jobs.into();
    Ok(tally)
}

fn report_failure(subject: &Subject, seed: u64, args: &SimArgs) -> Result<Exit, Failure> {
    let drawn = subject.plan(seed);
    let run =
        |plan: &Plan| subject.run(plan, false).map_err(|why| Failure::new(Exit::Scenario, why));
    let first = run(&drawn)?;
    let Some(violation) = &first.violation else {
        let message =
            format!("seed {seed} broke a promise once and not again: it is not deterministic");
        return Err(Failure::new(Exit::NotDeterministic, message));
    };
    let plan = subject.shrink(&drawn, violation.oracle);
    let report = run(&plan)?;
    let broken = Broken { seed, drawn, plan, report };
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("sim-seed-{seed}.toml")));
    let text = subject
        .scenario(&broken.plan)
        .to_toml()
        .map_err(|why| Failure::new(Exit::Unexpected, why))?;
    fs::write(&path, text)
        .map_err(|why| Failure::new(Exit::OutputFailed, format!("{}: {why}", path.display())))?;
    println!("{broken}");
    println!("again: silvertine run {}", path.display());
    let oracle = broken.violation().map_or("?", |violation| violation.oracle.name());
    Err(Failure::new(Exit::PromiseBroken, format!("seed {seed} broke {oracle}")))
}

fn write_hashes(path: &PathBuf, hashes: &BTreeMap<u64, Digest>) -> Result<(), Failure> {
    let lines: String = hashes.iter().map(|(seed, hash)| format!("{seed} {hash}\n")).collect();
    fs::write(path, lines)
        .map_err(|why| Failure::new(Exit::OutputFailed, format!("{}: {why}", path.display())))
}
