//! Real faults: scenarios on real `redis-server` processes behind a proxy, with the connection, the
//! server and the ownership failing before stated commits.
//!
//! Every test states its plan of faults; a supervisor starts the owner again whenever it ends with an
//! error. In the end the log must be, byte by byte, the one that an undisturbed run in memory writes, and
//! nothing that was acknowledged may be gone unless that was reported with positions. Nothing here waits
//! for a time: faults begin before commits and end after failed attempts, and a client that would sit
//! out a silence has its clock moved on instead.

#![cfg(feature = "redis")]

#[path = "../support/cli.rs"]
mod cli;

mod damage;
mod harness;
mod ingress;
mod network;
mod oracle;
mod owners;
mod plan;
mod process;
mod seeds;
mod servers;
mod states;
mod watched;
mod workload;

use harness::Harness;
use oracle::Undisturbed;
use plan::{Fault, Plan};
use silvertine::scenarios::scenario::Scenario;
use silvertine_testkit::{proxy, redis_server};

/// Carries out a plan and checks that nothing but the plan shows.
fn carry_out(plan: Plan, scenario: &Scenario) -> Harness {
    let harness = Harness::new(plan);
    let ended = harness.supervise(scenario);
    oracle::assert_finished(&ended.report);
    oracle::assert_as_if_undisturbed(&harness, &Undisturbed::of(scenario), &ended);
    harness
}

/// Carries out a fault before each of four commits, one of which brings a snapshot.
fn strike(fault: Fault) -> Harness {
    let snapshot = workload::COMMITS_PER_SNAPSHOT;
    let plan = [2, 5, snapshot, snapshot + 5].map(|commit| (commit, fault));
    carry_out(Plan::from(plan), &workload::generated(1_000))
}
