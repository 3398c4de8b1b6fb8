//! The worker plane under faults: fixed seeds, determinism, what was reached, planted bugs, and plans in files.

#[path = "../support/cli.rs"]
mod cli;
mod planted;

use silvertine::{
    runtime::faults::{simulate_workers, worker_subject},
    sim::streams::{
        Counterexample, Plan,
        fault::{Counts, Fault},
        simulate,
    },
};

#[test]
fn the_standard_seeds_keep_every_promise_and_reach_every_fault() {
    let mut counts = Counts::default();
    for seed in 0..900 {
        let plan = Plan::draw(seed);
        let report = simulate(&plan, worker_subject());
        counts.add(&report.counts);
        if report.violation.is_some() {
            panic!("{}", Counterexample { drawn: plan.clone(), plan, report });
        }
    }
    assert_eq!(counts.missing().collect::<Vec<Fault>>(), []);
}

#[test]
fn every_seed_gives_the_same_trace_twice_and_no_two_seeds_the_same() {
    let hashes =
        || (0..150).map(|seed| simulate_workers(&Plan::draw(seed)).hash()).collect::<Vec<_>>();
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

#[test]
fn a_plan_in_a_file_is_the_plan_that_was_written() {
    for seed in 0..300 {
        let plan = Plan::draw(seed);
        assert_eq!(plan.check(), Ok(()), "seed {seed}");
        let text = toml::to_string(&plan).expect("a plan is written");
        assert_eq!(toml::from_str::<Plan>(&text).expect("a plan is read"), plan, "{text}");
    }
}

#[test]
fn a_plan_from_a_file_runs_as_its_seed_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plan.toml");
    std::fs::write(&path, toml::to_string(&Plan::draw(7)).expect("a plan is written"))
        .expect("a file is written");
    let counts = |args: &[&str]| {
        let said = cli::silvertine(&[&["sim", "--workers", "--json"], args].concat()).json();
        (said["steps"].clone(), said["faults_by_kind"].clone())
    };
    let path = path.to_str().expect("text");
    assert_eq!(counts(&["--plan", path]), counts(&["--seeds", "1", "--from-seed", "7"]));
}

#[test]
fn a_plan_that_makes_no_sense_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plan.toml");
    let text = toml::to_string(&Plan::draw(7)).expect("a plan is written");
    let wrong = text.replacen("members = [", "members = [0, ", 1);
    std::fs::write(&path, wrong).expect("a file is written");
    let run = cli::silvertine(&["sim", "--workers", "--plan", path.to_str().expect("text")]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.stderr.contains("members"), "{run:?}");
}

#[test]
fn seeds_past_the_last_one_are_refused_in_the_same_words_on_both_planes() {
    let refused = |plane: &[&str]| {
        let last = ["sim", "--seeds", "2", "--from-seed", "9223372036854775807"];
        let run = cli::silvertine(&[&last, plane].concat());
        assert_eq!(run.code, Some(2), "{run:?}");
        run.stderr
    };
    assert_eq!(refused(&["--workers"]), refused(&[]));
}
