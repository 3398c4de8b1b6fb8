//! The simulator, and who tests it: fixed seeds, planted bugs, determinism, faults in files, and what was reached.

#[path = "../support/cli.rs"]
mod cli;
mod coverage;
mod determinism;
mod files;
mod planted;
mod workloads;

use std::path::PathBuf;

use silvertine::{
    scenarios::{registry::Registry, scenario::Scenario, under_faults::UnderFaults},
    storage::memory::MemoryLog,
};

/// What `silvertine sim` runs when no scenario is named.
fn probes() -> UnderFaults<MemoryLog> {
    let text = include_str!("../../scenarios/probes.toml");
    let scenario = Scenario::parse(text, "probes", PathBuf::new()).expect("a good scenario");
    UnderFaults::new(scenario, Registry::standard(), None).expect("can be run")
}

#[test]
fn the_standard_handlers_keep_every_promise_under_faults() {
    let scenario = Scenario::read("scenarios/ema-cross.toml".as_ref()).expect("a good scenario");
    let check =
        silvertine::runtime::faults::check(scenario, Registry::standard()).expect("can be run");
    let checked = check.seeds(150).run().expect("breaks nothing");
    assert!(checked.faults > 150 * 5, "{} faults", checked.faults);
}

#[test]
fn every_crash_of_a_small_run_is_survived() {
    use silvertine::sim::log::exhaust::{Exhaustive, Plans, bases};
    let subject = probes();
    let mut runs = 0;
    for base in bases(Exhaustive::Crashes, subject.shape()) {
        let fault_free = subject.run(&base, false).expect("runs");
        assert_eq!(fault_free.violation, None);
        let plans = Plans::new(Exhaustive::Crashes, &base, &fault_free);
        for number in 0..plans.count() {
            let plan = plans.nth(number).expect("is there");
            let report = subject.run(&plan, false).expect("runs");
            assert_eq!(report.violation, None, "{}", plan.faults[0]);
            runs += 1;
        }
        assert_eq!(plans.nth(plans.count()), None);
    }
    assert!(runs > 2_000, "{runs} runs");
}

#[test]
fn the_pairs_of_faults_are_numbered_without_a_gap() {
    use silvertine::sim::log::exhaust::{Exhaustive, Plans, bases};
    let subject = probes();
    let base = &bases(Exhaustive::Pairs, subject.shape())[0];
    let plans = Plans::new(Exhaustive::Pairs, base, &subject.run(base, false).expect("runs"));
    let of = |number| plans.nth(number).expect("is there").faults;
    let singles = (0..).take_while(|&number| of(number).len() == 1).count() as u64;
    assert_eq!(plans.count(), singles + singles * (singles + 1) / 2);
    assert_eq!(of(singles), [of(0)[0], of(0)[0]]);
    assert_eq!(of(plans.count() - 1), [of(singles - 1)[0], of(singles - 1)[0]]);
}
