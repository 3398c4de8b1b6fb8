//! What the standard seeds reach: every fault, every interesting state, and no cell of the matrix less than before.

use silvertine::sim::log::coverage::Coverage;

use crate::probes;

/// Seeds whose reach is kept in the repository.
const STANDARD_SEEDS: u64 = 10_000;

/// Rows of the matrix by fault, `x` for each phase that was reached.
fn cells(matrix: &str) -> Vec<(String, Vec<bool>)> {
    let rows = matrix.lines().skip(1).filter(|line| !line.trim().is_empty());
    rows.map(|row| {
        let mut words = row.split_whitespace();
        let fault = words.next().expect("a name").to_owned();
        (fault, words.map(|mark| mark == "x").collect())
    })
    .collect()
}

#[test]
fn the_standard_seeds_reach_every_fault_and_every_state_and_lose_no_cell() {
    let subject = probes();
    let mut runner = subject.runner();
    let mut coverage = Coverage::default();
    for seed in 0..STANDARD_SEEDS {
        let report = runner.run(&subject.plan(seed), false).expect("runs");
        assert_eq!(report.violation, None, "seed {seed}");
        coverage.add(&report.coverage);
    }
    assert_eq!(coverage.missing(), Vec::<&str>::new(), "never reached");
    let (kept, reached) = (cells(include_str!("matrix.txt")), cells(&coverage.to_string()));
    assert_eq!(kept.len(), reached.len(), "a row for each fault");
    for ((fault, kept), (_, reached)) in kept.iter().zip(&reached) {
        let lost = kept.iter().zip(reached).any(|(kept, reached)| *kept && !reached);
        assert!(!lost, "{fault} lost a phase; reached now:\n{coverage}");
    }
}
