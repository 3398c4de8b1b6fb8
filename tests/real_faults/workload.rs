//! What is run: generated quotes through a whole chain of handlers, and the shipped recording.

use std::path::{Path, PathBuf};

use silvertine::scenarios::scenario::Scenario;

/// A snapshot is due before every so many commits of [`generated`].
pub const COMMITS_PER_SNAPSHOT: u64 = 10;

const CHAIN: &str = r#"
[[handler]]
kind = "risk-limits"
params = { max_position = "5", max_orders_per_second = 50 }
[[handler]]
kind = "target-position"
params = { unit_qty = "1" }
[[handler]]
kind = "sim-venue"
params = { latency_us = 2500, taker_fee = "0.0001" }
[[handler]]
kind = "ema-cross"
params = { symbol = "A", fast = 5, slow = 20 }
[[handler]]
kind = "portfolio"
"#;

/// Generated quotes, through risk, execution, a venue, a strategy and a portfolio.
pub fn generated(events: u64) -> Scenario {
    let text = format!(
        r#"
name = "generated"
seed = 9
[run]
batch_entries = 32
snapshot_entries = 300
[[source]]
kind = "generator"
name = "generated"
symbols = ["A", "B"]
events = {events}
interval_ns = 1000000
{CHAIN}"#
    );
    parse(&text)
}

/// The same with only the newest entries kept.
pub fn trimming(events: u64) -> Scenario {
    let mut scenario = generated(events);
    scenario.run.retention_entries = Some(500);
    scenario
}

/// The same chain over what producers publish.
pub fn live() -> Scenario {
    let text = format!(
        r#"
name = "live"
seed = 9
clock = "wall"
[run]
batch_entries = 32
snapshot_entries = 300
[[source]]
kind = "ingress"
name = "ingress"
{CHAIN}"#
    );
    parse(&text)
}

/// The shipped recording in commits small enough to strike between.
pub fn shipped() -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/ema-cross.toml");
    let mut scenario = Scenario::read(&path).expect("the shipped scenario");
    scenario.run.batch_entries = 80;
    scenario.run.snapshot_entries = 900;
    scenario
}

fn parse(text: &str) -> Scenario {
    Scenario::parse(text, "workload", PathBuf::new()).expect("a good scenario")
}
