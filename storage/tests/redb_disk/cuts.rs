//! Power cuts: after every single write, whatever part of what was not synced survives.
//!
//! Between two syncs a disk may keep any part of what was written, in any order. So after each write are tried:
//! all of it; the last write torn; random choices of what survives, with the last write whole and torn.
//! Every prefix is among them, as "all of it" at an earlier write. Each is held to what had been acknowledged
//! when the next sync began: nothing acknowledged may rest on writes that can still be lost. Writes to
//! the same place keep their order, as on any disk.

use std::collections::BTreeSet;

use silvertine_storage::redb::RedbLog;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    contents::{Contents, contents},
    disk::{Disk, Op, apply},
    history::{HISTORY, assert_same, expected, finish, open, take},
    xorshift::Xorshift,
};

/// Random choices after each write.
const CHOICES: usize = 8;
/// Up to this length a write is torn at every byte.
const TORN_AT_EVERY_BYTE: usize = 512;

/// The history on a disk: everything that was done to the disk, and when each step was acknowledged.
struct Recording {
    journal: Vec<Op>,
    /// For each step, how much had been done when it was acknowledged.
    acknowledged: Vec<usize>,
}

fn record() -> Recording {
    let disk = Disk::new();
    let log = open(&disk).expect("opens");
    let acknowledge = |step| {
        take(&log, step).expect("the disk is good");
        disk.journal_len()
    };
    let acknowledged = HISTORY.into_iter().map(acknowledge).collect();
    drop(log);
    Recording { journal: disk.journal(), acknowledged }
}

/// Tries disks, each once.
struct Trial {
    states: Vec<Contents>,
    seen: BTreeSet<(u128, usize)>,
    in_recovery: usize,
}

impl Trial {
    /// What a power cut left must be the log after `acknowledged` steps or after the one that was under way, and
    /// go on.
    fn check(&mut self, image: &[u8], acknowledged: usize, what: &str) {
        if !self.seen.insert((xxh3_128(image), acknowledged)) {
            return;
        }
        let disk = Disk::with_image(image.to_vec());
        let (log, step) = self.recover(&disk, acknowledged, what);
        if self.seen.len().is_multiple_of(16) {
            finish(&disk, log, step, &self.states);
        } else if let Some(&next) = HISTORY.get(step) {
            take(&log, next).expect("goes on");
            drop(log);
            let log = open(&disk).expect("opens again");
            let when = format!("after going on from step {step}, {what}");
            assert_same(&contents(&log).expect("reads"), &self.states[step + 1], &when);
        }
    }

    fn recover(&self, disk: &Disk, acknowledged: usize, what: &str) -> (RedbLog, usize) {
        let log = open(disk).unwrap_or_else(|why| panic!("{what}: {why}"));
        let found = contents(&log).unwrap_or_else(|why| panic!("{what}: {why}"));
        let possible = acknowledged..=(acknowledged + 1).min(HISTORY.len());
        let step = possible.clone().find(|&step| self.states[step] == found);
        let Some(step) = step else {
            let elsewhere = self.states.iter().position(|state| *state == found);
            panic!(
                "{what}: holds the log after step {elsewhere:?}, not after {possible:?}; head {:?}",
                found.head
            )
        };
        (log, step)
    }

    /// The power fails again while the log is being recovered.
    fn check_cut_recovery(&mut self, image: &[u8], acknowledged: usize, random: &mut Xorshift) {
        let disk = Disk::with_image(image.to_vec());
        let (log, step) = self.recover(&disk, acknowledged, "before the second cut");
        let journal = disk.journal();
        drop(log);
        for_each_cut(image.to_vec(), &journal, |safe, unsynced, at| {
            let all = replay(safe, unsynced, |_| true);
            let some = replay(safe, unsynced, |_| random.coin());
            for image in [all, some] {
                let what = format!("second cut after write {at}");
                let disk = Disk::with_image(image);
                let (_, again) = self.recover(&disk, acknowledged, &what);
                assert_eq!(again, step, "{what}: recovering once more gives the same");
                self.in_recovery += 1;
            }
        });
    }
}

/// Calls back after each write with what is safe by then, what is not, and the number of the write.
fn for_each_cut(base: Vec<u8>, journal: &[Op], mut cut: impl FnMut(&[u8], &[&Op], usize)) {
    let mut safe = base;
    let mut unsynced = Vec::new();
    for (at, op) in journal.iter().enumerate() {
        match op {
            Op::Sync => unsynced.drain(..).for_each(|op| apply(&mut safe, op)),
            _ => {
                unsynced.push(op);
                cut(&safe, &unsynced, at);
            }
        }
    }
}

fn replay(safe: &[u8], ops: &[&Op], mut survives: impl FnMut(usize) -> bool) -> Vec<u8> {
    let mut image = safe.to_vec();
    for (at, op) in ops.iter().enumerate() {
        if survives(at) {
            apply(&mut image, op);
        }
    }
    image
}

/// Where a write is torn: so many of its bytes survive.
fn tears(length: usize) -> Vec<usize> {
    if length <= TORN_AT_EVERY_BYTE {
        return (1..length).collect();
    }
    let ends = [1, 16, 511, 512, length / 4, length / 2, length / 4 * 3, length - 512, length - 1];
    ends.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn a_power_cut_after_any_write_loses_nothing_acknowledged_and_leaves_whole_commits() {
    let recording = record();
    let mut trial = Trial { states: expected(), seen: BTreeSet::new(), in_recovery: 0 };
    let mut random = Xorshift::new(1);
    let journal = &recording.journal;
    let mut writes = 0;
    for_each_cut(Vec::new(), journal, |safe, unsynced, at| {
        writes += 1;
        let sync = journal[at..].iter().position(|op| matches!(op, Op::Sync));
        let next_sync = sync.map_or(journal.len(), |distance| at + distance);
        let acknowledged = recording.acknowledged.iter().filter(|&&when| when <= next_sync).count();
        trial.check(safe, acknowledged, &format!("before write {at}, nothing survived"));
        let all = replay(safe, unsynced, |_| true);
        trial.check(&all, acknowledged, &format!("after write {at}, all survived"));
        trial.check_cut_recovery(&all, acknowledged, &mut random);
        for _ in 0..CHOICES {
            let some = replay(safe, unsynced, |_| random.coin());
            trial.check(&some, acknowledged, &format!("after write {at}, some survived"));
        }
        let Some((Op::Write { offset, data }, before)) = unsynced.split_last() else { return };
        for torn in tears(data.len()) {
            let last = Op::Write { offset: *offset, data: data[..torn].to_vec() };
            let what = format!("write {at} of {} bytes torn after {torn}", data.len());
            let choose_some = random.coin();
            for some in [false, choose_some] {
                let mut image = replay(safe, before, |_| !some || random.coin());
                apply(&mut image, &last);
                trial.check(&image, acknowledged, &what);
            }
        }
    });
    println!(
        "{writes} writes, {} syncs, {} different disks, {} cut again while recovering",
        journal.iter().filter(|op| matches!(op, Op::Sync)).count(),
        trial.seen.len(),
        trial.in_recovery
    );
    assert!(
        writes > 100 && trial.seen.len() > 1_000,
        "the history writes enough to prove something"
    );
}

#[test]
fn every_step_of_the_history_changes_what_the_log_holds() {
    let states = expected();
    for (step, pair) in states.windows(2).enumerate() {
        assert!(pair[0] != pair[1], "step {step} changes nothing, so losing it would not be seen");
    }
}
