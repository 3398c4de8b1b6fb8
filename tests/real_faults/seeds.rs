//! Many faults in one run, drawn from seeds.

use crate::{carry_out, oracle::Undisturbed, plan, workload};

/// The seeds of the drawn plans: the first twelve in a row that draw every kind of fault between them.
pub const SEEDS: [u64; 12] = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// Plans strike before the first so many commits.
pub const COMMITS: u64 = 60;

fn run_seed(seed: u64) {
    let scenario = match seed % 3 {
        0 => workload::shipped(),
        1 => workload::generated(1_800),
        _ => workload::trimming(1_800),
    };
    let commits = Undisturbed::of(&scenario).commits;
    assert!(commits >= COMMITS, "{commits} commits are too few for the plan");
    carry_out(plan::drawn(seed, COMMITS), &scenario);
}

macro_rules! one_test_per_seed {
    ($($name:ident: $seed:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            run_seed($seed);
        })*
    };
}

one_test_per_seed! {
    faults_of_seed_5_leave_no_trace: 5,
    faults_of_seed_6_leave_no_trace: 6,
    faults_of_seed_7_leave_no_trace: 7,
    faults_of_seed_8_leave_no_trace: 8,
    faults_of_seed_9_leave_no_trace: 9,
    faults_of_seed_10_leave_no_trace: 10,
    faults_of_seed_11_leave_no_trace: 11,
    faults_of_seed_12_leave_no_trace: 12,
    faults_of_seed_13_leave_no_trace: 13,
    faults_of_seed_14_leave_no_trace: 14,
    faults_of_seed_15_leave_no_trace: 15,
    faults_of_seed_16_leave_no_trace: 16,
}
