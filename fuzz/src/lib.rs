//! What must hold for any bytes at every door of Silvertine, one function per door.
//!
//! libFuzzer calls them with bytes it has bred (`fuzz_targets/`), and an ordinary test on stable calls them with every
//! file of `corpus/` and `crashes/` (`tests/fuzz_corpus/` of the root package, which includes this file). Each asserts
//! more than the absence of a panic: what is accepted comes back the same, what is refused is refused in one line.

mod checkpoint;
mod entry;
mod files;
mod manifest;
mod message;
mod names;
mod numbers;
mod records;
mod rows;
mod scenario;
mod snapshot;

use std::fmt;

use silvertine_engine::event::validate;

pub use self::{
    checkpoint::checkpoint,
    entry::entry,
    files::files,
    manifest::manifest,
    message::message,
    names::names,
    numbers::numbers,
    records::records,
    rows::rows,
    scenario::scenario,
    snapshot::{STANDARD, alarm_engine, input, snapshot},
};

/// What must hold for any bytes; panics where it does not.
pub type Promise = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Promise); 11] = [
    ("entry", entry),
    ("message", message),
    ("scenario", scenario),
    ("manifest", manifest),
    ("rows", rows),
    ("files", files),
    ("records", records),
    ("names", names),
    ("numbers", numbers),
    ("snapshot", snapshot),
    ("checkpoint", checkpoint),
];

/// What is said to people and written into logs is one line, and nothing in it steers a terminal.
fn assert_one_line(said: &impl fmt::Display) {
    let said = said.to_string();
    assert!(!said.is_empty() && !said.contains(char::is_control), "not one plain line: {said:?}");
}

fn refused_in_one_line(body: &silvertine_engine::event::Body) {
    if let Err(invalid) = validate(body) {
        assert_one_line(&invalid);
    }
}
