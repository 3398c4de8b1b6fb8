//! Disks that fail: a sync that says EIO, a disk that is full.

use silvertine_engine::log::{Advice, Applied, EventLog, LogError, LogErrorKind, OwnerId};
use silvertine_storage::redb::RedbLog;

use crate::{
    contents::{Contents, contents, now, readable},
    disk::{Disk, Op, apply},
    history::{HISTORY, assert_same, expected, finish, open, play},
    xorshift::Xorshift,
};

/// The log after so many steps, or after one more.
fn step_of(states: &[Contents], found: &Contents, acknowledged: usize, what: &str) -> usize {
    let mut possible = acknowledged..=(acknowledged + 1).min(HISTORY.len());
    let step = possible.find(|&step| states[step] == *found);
    step.unwrap_or_else(|| panic!("{what}: {:?}, {acknowledged} acknowledged", found.head))
}

/// A handle that has failed refuses everything, says why, and calls for no retry.
fn assert_refuses_everything(log: &RedbLog, first: &LogError) {
    let refused = |result: Result<(), LogError>, applied| {
        let error = result.expect_err("the handle has failed");
        let why = match &error.kind {
            LogErrorKind::NeedsReopen { why } => why.clone(),
            other => panic!("another kind: {other:?}"),
        };
        assert!(first.to_string().contains(&why), "{why:?} tells nothing of {first}");
        assert_eq!((error.advice(), error.applied), (Advice::GiveUp, applied), "{error}");
    };
    refused(readable(log).map(drop), Applied::No);
    refused(now(log.stats()).map(drop), Applied::No);
    refused(now(log.acquire(OwnerId(8), b"manifest")).map(drop), first.applied);
    refused(now(log.publish(&[])).map(drop), first.applied);
}

#[test]
fn a_sync_that_fails_once_leaves_all_or_nothing_and_a_handle_that_says_so() {
    let states = expected();
    let mut random = Xorshift::new(2);
    let (mut maybe, mut surely_not) = (0, 0);
    for after in 0.. {
        let what = format!("sync {after} failed");
        let disk = Disk::new();
        disk.fail_a_sync(after);
        let (acknowledged, error) = match open(&disk) {
            Err(error) => (0, Some(error)),
            Ok(log) => {
                let (acknowledged, result) = play(&log, 0);
                if let Err(error) = &result {
                    assert_refuses_everything(&log, error);
                }
                (acknowledged, result.err())
            }
        };
        if let Some(error) = &error {
            assert!(matches!(error.kind, LogErrorKind::Unavailable { .. }), "{error}");
            match error.applied {
                Applied::Maybe => maybe += 1,
                Applied::No => surely_not += 1,
                Applied::Yes => panic!("nobody can know that: {error}"),
            }
        }
        // What was not synced may be there, or gone, or there in part.
        let journal = disk.journal();
        let last_sync =
            journal.iter().rposition(|op| matches!(op, Op::Sync)).map_or(0, |at| at + 1);
        for choice in 0..10 {
            let mut image = Vec::new();
            for (at, op) in journal.iter().enumerate() {
                if at < last_sync || choice == 0 || choice > 1 && random.coin() {
                    apply(&mut image, op);
                }
            }
            let disk = Disk::with_image(image);
            let log = open(&disk).unwrap_or_else(|why| panic!("{what}: {why}"));
            let found = contents(&log).unwrap_or_else(|why| panic!("{what}: {why}"));
            let step = step_of(&states, &found, acknowledged, &what);
            let surely = error.as_ref().is_some_and(|error| error.applied == Applied::No);
            assert!(!surely || step == acknowledged, "{what}: it was said not to be there");
            finish(&disk, log, step, &states);
        }
        if acknowledged == HISTORY.len() && last_sync == journal.len() {
            println!("{after} syncs failed: {maybe} perhaps applied, {surely_not} not");
            assert!(maybe >= HISTORY.len(), "every step was failed at least once");
            return;
        }
    }
}

#[test]
fn a_full_disk_refuses_the_commit_whole_and_the_log_goes_on_once_there_is_room() {
    let states = expected();
    let (mut refused, mut readable_while_full) = (0, 0);
    let mut full_from = 0;
    loop {
        let what = format!("full from byte {full_from}");
        let disk = Disk::new();
        disk.set_full_from(Some(full_from));
        let (acknowledged, result) = match open(&disk) {
            Err(error) => (0, Err(error)),
            Ok(log) => {
                let (acknowledged, result) = play(&log, 0);
                if let Err(error) = &result {
                    assert_refuses_everything(&log, error);
                }
                (acknowledged, result)
            }
        };
        if let Err(error) = &result {
            refused += 1;
            assert!(matches!(error.kind, LogErrorKind::RefusesWrites { .. }), "{what}: {error}");
            assert_ne!(error.applied, Applied::Yes, "{what}");
        }
        // Opened again while there is still no room: all of what was acknowledged, or a plain refusal.
        match open(&disk) {
            Ok(log) => {
                readable_while_full += usize::from(acknowledged > 0);
                let found = contents(&log).unwrap_or_else(|why| panic!("{what}: {why}"));
                assert_same(&found, &states[acknowledged], &what);
            }
            Err(error) => {
                assert!(
                    matches!(error.kind, LogErrorKind::RefusesWrites { .. }),
                    "{what}: {error}"
                );
                assert_eq!(acknowledged, 0, "{what}: a log that has once been written can be read");
            }
        }
        disk.set_full_from(None);
        let log = open(&disk).unwrap_or_else(|why| panic!("{what}: {why}"));
        let found = contents(&log).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_same(&found, &states[acknowledged], &what);
        finish(&disk, log, acknowledged, &states);
        if result.is_ok() {
            println!("{refused} full disks, {readable_while_full} of them with a log to read");
            assert!(refused > 20 && readable_while_full > 10);
            return;
        }
        full_from += 16 * 1024;
    }
}
