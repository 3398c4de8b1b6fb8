//! What came of a run, and how a broken promise looks to people.

use std::fmt;

use silvertine_engine::digest::Digest;

use super::{
    fault::Counts,
    plan::{Nature, Plan},
    promise::Violation,
    trace::Happened,
};
use crate::kernel::spell;

/// Happenings shown before a violation.
const SHOWN: usize = 60;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// 128 bits that two runs share exactly when all that happened is the same.
    pub hash: Digest,
    /// How much happened.
    pub steps: u64,
    /// Virtual time that passed, in nanoseconds.
    pub virtual_ns: u64,
    /// Messages that stood on streams.
    pub messages: u64,
    /// What struck, and how often.
    pub counts: Counts,
    /// The promise that was broken.
    pub violation: Option<Violation>,
    /// The last things that happened, oldest first.
    pub tail: Vec<Happened>,
}

/// A report of a broken promise with the plan that broke it.
#[derive(Debug)]
pub struct Failure<'a>(pub &'a Plan, pub &'a Report);

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, report) = self;
        let Some(violation) = &report.violation else {
            return write!(f, "seed {} breaks nothing", report.seed);
        };
        writeln!(
            f,
            "seed {} broke {}: {}",
            report.seed,
            violation.promise,
            violation.promise.says()
        )?;
        writeln!(f, "  {}", violation.what)?;
        writeln!(f, "  plan:")?;
        for (group, members) in plan.topology.streams[0].groups.iter().zip(&plan.members) {
            writeln!(
                f,
                "    group {}: {members} members, in_flight {}, reclaim_after {}, handler_timeout {}, window {}{}",
                group.name,
                group.in_flight,
                group.reclaim_after,
                group.handler_timeout,
                group.idempotency_window,
                if group.order_by.is_some() { ", ordered" } else { "" },
            )?;
        }
        let failing = plan.labels.iter().filter(|label| label.nature != Nature::Well).count();
        writeln!(
            f,
            "    {} messages, {failing} of them failing; {:?}; clocks differ by up to {}",
            plan.labels.len(),
            plan.fates,
            spell::span(plan.skew_ns)
        )?;
        for strike in &plan.strikes {
            writeln!(f, "    at {} {:?}", spell::clock(strike.at_ns), strike.what)?;
        }
        writeln!(f, "  what happened last:")?;
        for happened in &report.tail[report.tail.len().saturating_sub(SHOWN)..] {
            writeln!(f, "    {happened}")?;
        }
        write!(f, "  again: silvertine sim --workers --seeds 1 --from-seed {}", report.seed)
    }
}
