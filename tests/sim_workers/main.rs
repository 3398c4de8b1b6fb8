//! The worker plane under faults: fixed seeds, determinism, what was reached, and planted bugs.

#[path = "../support/cli.rs"]
mod cli;
mod planted;

use silvertine::{
    runtime::faults::simulate_workers,
    sim::streams::{Failure, Plan, fault::Counts},
};

#[test]
fn the_standard_seeds_keep_every_promise_and_reach_every_fault() {
    let mut counts = Counts::default();
    for seed in 0..900 {
        let plan = Plan::draw(seed);
        let report = simulate_workers(&plan);
        assert!(report.violation.is_none(), "{}", Failure(&plan, &report));
        counts.add(&report.counts);
    }
    assert_eq!(counts.missing(), []);
}

#[test]
fn every_seed_gives_the_same_trace_twice_and_no_two_seeds_the_same() {
    let hashes =
        || (0..150).map(|seed| simulate_workers(&Plan::draw(seed)).hash).collect::<Vec<_>>();
    let first = hashes();
    assert_eq!(first, hashes());
    let mut distinct = first.clone();
    distinct.sort_by_key(|hash| hash.to_bytes());
    distinct.dedup();
    assert_eq!(distinct.len(), first.len());
}

#[test]
fn two_processes_and_any_number_of_threads_say_the_same() {
    let run = |jobs: &str| {
        let args =
            ["sim", "--workers", "--seeds", "60", "--check-determinism", "--json", "--jobs", jobs];
        let mut said = cli::silvertine(&args).json();
        let object = said.as_object_mut().expect("an object");
        object
            .retain(|key, _| !["seconds", "schedules_per_second", "jobs"].contains(&key.as_str()));
        said
    };
    assert_eq!(run("1"), run("3"));
}

#[test]
fn a_kind_of_fault_that_no_seed_reached_is_named() {
    let run = cli::silvertine(&["sim", "--workers", "--seeds", "1", "--require-all"]);
    assert_eq!(run.code, Some(15), "{run:?}");
    assert!(run.stderr.contains("never reached: "), "{run:?}");
}
