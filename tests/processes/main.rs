//! Whole processes on real files and real servers: killed, restarted, fenced, stopped.

#![cfg(all(feature = "redb", feature = "sled", feature = "redis"))]

#[path = "../support/cli.rs"]
mod cli;
#[path = "../support/halting.rs"]
mod halting;

mod digests;
mod kills;
mod live;
mod owners;
mod python;
mod stops;
mod workers;

use silvertine_testkit::redis_server;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A scenario of generated quotes that takes a while.
fn long_scenario(folder: &Path, events: u64) -> PathBuf {
    let path = folder.join("long.toml");
    let text = format!(
        r#"
name = "long"
seed = 9
[run]
batch_entries = 32
snapshot_entries = 5000
[[source]]
kind = "generator"
name = "generated"
symbols = ["A", "B"]
events = {events}
interval_ns = 1000000
[[handler]]
kind = "risk-limits"
params = {{ max_position = "5", max_orders_per_second = 50 }}
[[handler]]
kind = "target-position"
params = {{ unit_qty = "1" }}
[[handler]]
kind = "sim-venue"
params = {{ latency_us = 2500, taker_fee = "0.0001" }}
[[handler]]
kind = "ema-cross"
params = {{ symbol = "A", fast = 5, slow = 20 }}
[[handler]]
kind = "portfolio"
"#
    );
    std::fs::write(&path, text).expect("a scenario can be written");
    path
}

/// A folder for a test's files.
fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Numbers that look random and are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
