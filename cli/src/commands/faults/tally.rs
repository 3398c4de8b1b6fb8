//! Totals over many runs under faults.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::{Value, json};
use silvertine_engine::digest::Digest;
use silvertine_sim::log::{
    counterexample::Counterexample,
    coverage::{Coverage, Sight},
    fault::FaultKind,
    plan::Plan,
    report::Report,
};

use super::run::violation_json;
use crate::args::SimArgs;

/// Totals over all seeds.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) runs: u64,
    inputs: u64,
    taken: u64,
    faults: u64,
    owners: u64,
    steps: u64,
    virtual_ns: u128,
    /// Of one schedule: inputs, faults.
    least: Option<(u64, u64)>,
    pub(super) coverage: Coverage,
    /// Numbers of plans that broke a promise, in order.
    pub(super) failed: Vec<u64>,
    /// Trace hash of each plan, by number.
    pub(super) hashes: BTreeMap<u64, Digest>,
    pub(super) wall: Duration,
    pub(super) jobs: usize,
}

impl Tally {
    pub(super) fn note(&mut self, number: u64, plan: &Plan, report: &Report) {
        self.runs += 1;
        self.inputs += plan.events();
        self.taken += report.taken;
        self.faults += report.faults;
        self.owners += report.owners;
        self.steps += report.trace.steps();
        self.virtual_ns += u128::from(report.virtual_ns);
        let (inputs, faults) = self.least.unwrap_or((u64::MAX, u64::MAX));
        self.least = Some((inputs.min(plan.events()), faults.min(report.faults)));
        self.coverage.add(&report.coverage);
        if report.violation.is_some() {
            self.failed.push(number);
        }
        self.hashes.insert(number, report.trace.hash());
    }

    pub(super) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.inputs += other.inputs;
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

    /// Prints the totals on stdout; `end` is `good` or `stopped`.
    pub(super) fn print(&self, end: &str, what: &str, args: &SimArgs) {
        if args.json {
            self.print_json(end);
        } else {
            self.print_text(end, what, args.matrix);
        }
    }

    fn print_json(&self, end: &str) {
        let faults: BTreeMap<_, _> = FaultKind::ALL
            .iter()
            .copied()
            .map(|kind| (kind.name(), self.coverage.fired.of(kind)))
            .collect();
        let sights: BTreeMap<_, _> =
            Sight::ALL.iter().map(|&sight| (sight.name(), self.coverage.seen.of(sight))).collect();
        let object = json!({
            "schema_version": 1, "good": true,
            "end": if end == "stopped" { end } else { "finished" }, "schedules": self.runs, "jobs": self.jobs,
            "seconds": self.wall.as_secs_f64(), "schedules_per_second": self.per_second(self.runs.into()) as u64,
            "inputs": self.inputs, "taken": self.taken, "faults": self.faults, "owners": self.owners, "steps": self.steps,
            "virtual_seconds": (self.virtual_ns / 1_000_000_000) as u64,
            "faults_by_kind": faults, "sights": sights, "missing": self.coverage.missing(),
        });
        println!("{object}");
    }

    fn print_text(&self, end: &str, what: &str, matrix: bool) {
        let runs = u128::from(self.runs.max(1));
        let (least_inputs, least_faults) = self.least.unwrap_or_default();
        println!("{end}: {} {what}, no promise broken", self.runs);
        println!(
            "  {} schedules/s with {} job(s), {:.1} s in all",
            self.per_second(self.runs.into()),
            self.jobs,
            self.wall.as_secs_f64()
        );
        println!(
            "  per schedule: {} inputs (least {least_inputs}), {} taken, {} faults (least {least_faults}), {} owners, {} steps, {} s of virtual time",
            u128::from(self.inputs) / runs,
            u128::from(self.taken) / runs,
            mean(self.faults, runs),
            mean(self.owners, runs),
            u128::from(self.steps) / runs,
            self.virtual_ns / 1_000_000_000 / runs,
        );
        println!("  faults fired");
        for row in FaultKind::ALL.chunks(4) {
            let cells: Vec<String> = row
                .iter()
                .map(|&kind| format!("{:<17}{:>8}", kind.name(), self.coverage.fired.of(kind)))
                .collect();
            println!("    {}", cells.join("  "));
        }
        println!("  sights seen");
        for row in Sight::ALL.chunks(3) {
            let cells: Vec<String> = row
                .iter()
                .map(|&sight| format!("{:<21}{:>9}", sight.name(), self.coverage.seen.of(sight)))
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

/// One JSON object for the first plan that broke a promise, and the file that shows it again.
pub(super) fn failure_json(broken: &Counterexample, file: Option<&Path>) -> Value {
    let violation = broken.violation().map(violation_json);
    let faults: Vec<String> = broken.plan.faults.iter().map(ToString::to_string).collect();
    json!({
        "schema_version": 1, "good": false, "end": "finished", "seed": broken.seed, "violation": violation,
        "faults": faults, "inputs": broken.plan.events(), "file": file.map(|path| path.display().to_string()),
    })
}

/// A mean with one decimal, so that a small mean is told apart from zero.
fn mean(sum: u64, runs: u128) -> String {
    let tenths = (u128::from(sum) * 10 + runs / 2) / runs;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_below_one_is_not_told_as_none() {
        assert_eq!(mean(0, 5), "0.0");
        assert_eq!(mean(97, 100), "1.0");
        assert_eq!(mean(9, 10), "0.9");
        assert_eq!(mean(25, 3), "8.3");
    }
}
