//! `silvertine sim`: a scenario's handlers under drawn faults, seed after seed.

mod determinism;
mod run;
mod tally;
mod workers;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use silvertine_scenarios::{
    PROBES,
    registry::Registry,
    scenario::Scenario,
    under_faults::{PlanRunner, ScenarioSubject, UnderFaults},
};
use silvertine_sim::log::{
    counterexample::Counterexample,
    exhaust::{self, Exhaustive},
    plan::{LAST_SEED, Plan, SEEDS_OF_FAMILY, seeds_from},
    subject::SetupError,
};
use silvertine_storage::memory::MemoryLog;

pub(crate) use self::run::run;
use self::tally::Tally;
use crate::{
    args::SimArgs,
    exit::{Exit, Failure, say},
    program::program,
    signals::stop_on_signals,
};

/// Seeds of a run without `--seeds` and `--time`.
const SEEDS: u64 = 1000;
/// The longest time spent on shrinking a plan: one that never finishes takes long at each attempt.
const SHRINKING: Duration = Duration::from_secs(60);

type Subject = UnderFaults<MemoryLog>;

/// Runs plans and reports what they reached, or how the first one failed.
pub(crate) fn sim(args: &SimArgs, registry: Registry) -> Result<Exit, Failure> {
    if args.workers {
        return workers::sim(args);
    }
    let subject = subject(args, registry)?;
    let plans = Plans::new(&subject, args)?;
    let interrupted = stop_on_signals()?.shared();
    let tally = run_all(&subject, &plans, args, &interrupted)?;
    if let Some(path) = &args.write_hashes {
        determinism::write_hashes(path, &tally.hashes)?;
    }
    if let Some(number) = tally.failed.first() {
        let drawn = plans.nth(*number).expect("it was run");
        return report_failure(&subject, *number, drawn, args, &interrupted);
    }
    let is_interrupted = || interrupted.load(Ordering::Relaxed);
    if tally.runs == 0 && !is_interrupted() {
        return Err(Failure::new(Exit::NotReached, "no plan was run, so nothing is known"));
    }
    if args.check_determinism && !is_interrupted() {
        determinism::compare_with_another_process(tally.runs, &tally.hashes, args, &interrupted)?;
    }
    if is_interrupted() {
        return Ok(report_stop(&tally, plans.name(), args));
    }
    tally.print("good", plans.name(), args);
    if args.require_all && !tally.coverage.missing().is_empty() {
        let missing = tally.coverage.missing().join(", ");
        return Err(Failure::new(Exit::NotReached, format!("never reached: {missing}")));
    }
    Ok(Exit::Good)
}

/// Sums up what ran before a stop was requested.
fn report_stop(tally: &Tally, what: &str, args: &SimArgs) -> Exit {
    tally.print("stopped", what, args);
    let runs = tally.runs;
    say(format_args!("stopped after {runs} {what}; what else was asked for was not checked"));
    Exit::Stopped
}

fn subject(args: &SimArgs, registry: Registry) -> Result<Subject, Failure> {
    let scenario = match &args.scenario {
        Some(path) => Scenario::read(path)?,
        None => Scenario::parse(PROBES, "probes", PathBuf::new())?,
    };
    ScenarioSubject::<MemoryLog>::new(&scenario, &registry, args.data.clone()).check_sources()?;
    UnderFaults::new(scenario, registry, args.data.clone())
        .map_err(|why| Failure::new(Exit::Scenario, why.to_string()))
}

/// The seeds that are asked for.
fn seeds(args: &SimArgs) -> Result<Range<u64>, Failure> {
    let from = args.from_seed;
    let count = match (args.seeds, args.time) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => (LAST_SEED + 1).saturating_sub(from).max(1),
        (None, None) => SEEDS,
    };
    seeds_from(from, count).map_err(|why| Failure::new(Exit::Usage, why.to_string()))
}

/// The plans to run, each by its number.
enum Plans<'a> {
    /// Drawn from seeds; the number is the seed.
    Drawn { subject: &'a Subject, seeds: Range<u64> },
    /// Every plan over some base plans.
    Exhaustive(Vec<exhaust::Plans>),
}

impl<'a> Plans<'a> {
    fn new(subject: &'a Subject, args: &SimArgs) -> Result<Self, Failure> {
        if let Some(mode) = args.exhaustive {
            return Self::exhaustive(subject, mode.into());
        }
        Ok(Self::Drawn { subject, seeds: seeds(args)? })
    }

    fn exhaustive(subject: &Subject, mode: Exhaustive) -> Result<Self, Failure> {
        let mut plans = Vec::new();
        for base in exhaust::bases(mode, subject.shape()) {
            let fault_free = subject.run(&base, false).map_err(cannot_run)?;
            plans.push(exhaust::Plans::new(mode, &base, &fault_free));
        }
        Ok(Self::Exhaustive(plans))
    }

    const fn first(&self) -> u64 {
        match self {
            Self::Drawn { seeds, .. } => seeds.start,
            Self::Exhaustive(_) => 0,
        }
    }

    fn nth(&self, number: u64) -> Option<Plan> {
        match self {
            Self::Drawn { subject, seeds } => (number < seeds.end).then(|| subject.plan(number)),
            Self::Exhaustive(spaces) => {
                let mut number = number;
                for plans in spaces {
                    match plans.nth(number) {
                        Some(plan) => return Some(plan),
                        None => number -= plans.count(),
                    }
                }
                None
            }
        }
    }

    /// The plans of the `nth` family, counted from the one of the first plan, with their numbers. None past the last.
    fn family(&self, nth: u64) -> Vec<(u64, Plan)> {
        let family = self.first() / SEEDS_OF_FAMILY + nth;
        let numbers = family * SEEDS_OF_FAMILY..(family + 1) * SEEDS_OF_FAMILY;
        let ours = numbers.skip_while(|&number| number < self.first());
        ours.map_while(|number| Some((number, self.nth(number)?))).collect()
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Drawn { .. } => "seeds",
            Self::Exhaustive(_) => "plans, all there are",
        }
    }
}

fn cannot_run(why: SetupError) -> Failure {
    Failure::new(Exit::Scenario, why.to_string())
}

fn run_all(
    subject: &Subject,
    plans: &Plans<'_>,
    args: &SimArgs,
    interrupted: &AtomicBool,
) -> Result<Tally, Failure> {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let failed = Mutex::new(None);
    let enough = || {
        interrupted.load(Ordering::Relaxed)
            || args.time.is_some_and(|time| began.elapsed() >= time.duration())
    };
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                let mut ours = Tally::default();
                let mut runner = subject.runner();
                while !stop.load(Ordering::Relaxed) && !enough() {
                    let family = plans.family(next.fetch_add(1, Ordering::Relaxed));
                    if family.is_empty() {
                        break;
                    }
                    // A family is always finished, so that the seeds that were run have no gaps.
                    for (number, plan) in family {
                        let ran = run_once(&mut runner, number, &plan, args, &mut ours);
                        stop.fetch_or(ran.is_err() || !ours.failed.is_empty(), Ordering::Relaxed);
                        if let Err(failure) = ran {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                        }
                    }
                }
                tally.lock().unwrap_or_else(PoisonError::into_inner).add(ours);
            });
        }
    });
    if let Some(failure) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.wall = began.elapsed().max(Duration::from_nanos(1));
    tally.jobs = args.jobs.into();
    Ok(tally)
}

fn run_once(
    runner: &mut PlanRunner<'_, MemoryLog>,
    number: u64,
    plan: &Plan,
    args: &SimArgs,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let report = runner.run(plan, false).map_err(cannot_run)?;
    if args.check_determinism {
        determinism::compare_with_second_run(runner.subject(), number, plan, &report)?;
    }
    tally.note(number, plan, &report);
    Ok(())
}

fn report_failure(
    subject: &Subject,
    number: u64,
    drawn: Plan,
    args: &SimArgs,
    interrupted: &AtomicBool,
) -> Result<Exit, Failure> {
    let first = subject.run(&drawn, false).map_err(cannot_run)?;
    let Some(violation) = &first.violation else {
        let message = format!("plan {number} broke a promise once and not again");
        return Err(Failure::new(Exit::NotDeterministic, message));
    };
    let began = Instant::now();
    let enough = || interrupted.load(Ordering::Relaxed) || began.elapsed() > SHRINKING;
    let plan = subject.shrink(&drawn, violation.promise, &enough);
    let report = subject.run(&plan, false).map_err(cannot_run)?;
    let broken = Counterexample { seed: number, drawn, plan, report };
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("sim-{number}.toml")));
    // The violation is reported even where the file cannot be written.
    let written = write_scenario(subject, &broken.plan, &path);
    let broke = broken.violation().map_or("?", |violation| violation.promise.name());
    if args.json {
        println!("{}", tally::failure_json(&broken, written.is_ok().then_some(&*path)));
    } else {
        println!("{broken}");
        if written.is_ok() {
            println!("again: {} run {}", program(), path.display());
        }
    }
    let scenario = args.scenario.as_ref().map(|path| format!(" {}", path.display()));
    let drawn_again = match args.exhaustive {
        None => format!(
            "; {} sim{} --seeds 1 --from-seed {number}",
            program(),
            scenario.unwrap_or_default()
        ),
        Some(_) => String::new(),
    };
    let unwritten =
        written.err().map_or_else(String::new, |why| format!("; not written: {}", why.message));
    let message = format!("seed {number} broke {broke}{drawn_again}{unwritten}");
    Err(Failure::new(Exit::PromiseBroken, message))
}

/// Writes a plan as a scenario that runs anywhere.
fn write_scenario(subject: &Subject, plan: &Plan, path: &Path) -> Result<(), Failure> {
    let text = subject.scenario(plan).to_toml();
    let text = text.map_err(|why| Failure::new(Exit::Unexpected, why.to_string()))?;
    fs::write(path, text)
        .map_err(|why| Failure::new(Exit::OutputFailed, format!("{}: {why}", path.display())))
}
