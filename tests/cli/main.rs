//! The command line as users meet it: output, errors in one line, documented exit codes.

#![cfg(all(feature = "redb", feature = "sled", feature = "redis"))]

#[path = "../support/cli.rs"]
mod cli;
#[path = "../support/halting.rs"]
mod halting;

mod halts;
mod hostile_input;
mod hostile_logs;
mod output;
mod parks;
mod plane;

use cli::Finished;
use silvertine_testkit::redis_server;

/// One clear line on stderr, nothing on stdout, this exit code, no panic.
#[track_caller]
fn assert_refused(finished: &Finished, code: i32, says: &[&str]) {
    let line = finished.stderr.trim_end();
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert_eq!(line.lines().count(), 1, "one line: {finished:?}");
    assert!(line.starts_with("silvertine: "), "{finished:?}");
    assert!(!line.contains("panicked") && !line.contains("internal error"), "{finished:?}");
    assert!(finished.stdout.is_empty(), "{finished:?}");
    for word in says {
        assert!(line.contains(word), "{word:?} is missing in {line:?}");
    }
}
