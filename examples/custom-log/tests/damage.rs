//! What opening makes of a file that is not whole.

mod support;

use custom_log::FileLog;
use silvertine_engine::{
    executor::block_on,
    log::{EventLog, LogError, LogErrorKind, OwnerId},
};
use support::TempPath;

/// A file with two records: the first and the second owner.
fn with_two_owners() -> (TempPath, Vec<u8>) {
    let file = TempPath::new();
    let log = FileLog::open(file.path()).expect("opens");
    for owner in [1, 2] {
        block_on(log.acquire(OwnerId(owner), b"manifest")).expect("acquires");
    }
    drop(log);
    let bytes = std::fs::read(file.path()).expect("reads");
    (file, bytes)
}

/// The epoch that the owner after those in the file gets.
fn next_epoch(file: &TempPath) -> Result<u64, LogError> {
    let log = FileLog::open(file.path())?;
    Ok(block_on(log.acquire(OwnerId(9), b""))?.lease.epoch.0)
}

#[test]
fn an_unfinished_frame_at_the_end_is_cut_off() {
    let (file, bytes) = with_two_owners();
    for kept in [bytes.len() - 1, bytes.len() - 30] {
        std::fs::write(file.path(), &bytes[..kept]).expect("writes");
        assert_eq!(next_epoch(&file), Ok(2), "{kept} of {} bytes", bytes.len());
    }
    let zeros = [&bytes[..], &[0; 100]].concat();
    std::fs::write(file.path(), zeros).expect("writes");
    assert_eq!(next_epoch(&file), Ok(3));
}

#[test]
fn damage_before_the_end_is_told_and_nothing_is_cut() {
    let (file, bytes) = with_two_owners();
    let first = b"custom-log 1\n".len();
    for at in [first, first + 5, first + 10, first + 24] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(file.path(), &damaged).expect("writes");
        let error = next_epoch(&file).expect_err("is damaged");
        assert!(matches!(error.kind, LogErrorKind::Corrupt { .. }), "byte {at}: {error}");
        assert_eq!(std::fs::read(file.path()).expect("reads"), damaged);
    }
}

#[test]
fn files_of_others_are_left_alone() {
    let file = TempPath::new();
    std::fs::write(file.path(), "work of years").expect("writes");
    let error = next_epoch(&file).expect_err("is no log");
    assert!(matches!(error.kind, LogErrorKind::Foreign { .. }), "{error}");
    assert_eq!(std::fs::read(file.path()).expect("reads"), b"work of years");
}

#[test]
fn a_log_that_is_open_is_locked() {
    let file = TempPath::new();
    let first = FileLog::open(file.path()).expect("opens");
    let error = FileLog::open(file.path()).expect_err("is open");
    assert!(matches!(error.kind, LogErrorKind::Locked { .. }), "{error}");
    drop(first);
    FileLog::open(file.path()).expect("opens");
}
