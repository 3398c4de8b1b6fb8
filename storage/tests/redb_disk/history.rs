//! The history that is played on every disk, and what must be there after each of its steps.

use silvertine_engine::{
    codec::Codec,
    digest::Digest,
    event::{Event, EventId, Header, Origin, System},
    log::{
        Batch, Commit, CommitId, EventLog, IngressCursor, IngressMessage, LogError, OwnerId,
        Snapshot,
    },
    pos::Pos,
    text::Name,
    time::Nanos,
};
use silvertine_storage::{
    memory::MemoryLog,
    redb::{RedbLog, RedbOptions},
};

use crate::{
    contents::{Contents, contents, now},
    disk::Disk,
};

pub const OWNER: OwnerId = OwnerId(7);

/// One operation that writes.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Acquire,
    /// Messages, by producer and number.
    Publish(&'static [(&'static str, u64)]),
    Commit {
        entries: u64,
        snapshot_bytes: Option<usize>,
        /// The snapshot before which older ones go, counted from the newest kept one.
        keep: usize,
        consumed: &'static [(&'static str, u64)],
    },
    /// Up to the oldest snapshot but one.
    Trim,
}

/// Everything that writes in some way of its own is in here: a first commit, one of several frames, one whose
/// snapshot makes the file grow, one without entries, snapshots that replace others, messages that are
/// consumed, trimming.
pub const HISTORY: [Step; 12] = [
    Step::Acquire,
    Step::Publish(&[("p", 1), ("p", 2), ("q", 1)]),
    Step::Commit { entries: 5, snapshot_bytes: Some(40), keep: 9, consumed: &[] },
    Step::Commit { entries: 12, snapshot_bytes: None, keep: 9, consumed: &[("p", 1)] },
    Step::Commit { entries: 1_500, snapshot_bytes: Some(9_000), keep: 9, consumed: &[] },
    Step::Trim,
    Step::Commit { entries: 3, snapshot_bytes: Some(700_000), keep: 9, consumed: &[] },
    Step::Publish(&[("q", 2), ("q", 2), ("p", 5)]),
    Step::Commit {
        entries: 1,
        snapshot_bytes: Some(40),
        keep: 0,
        consumed: &[("p", 4), ("q", 2), ("r", 9)],
    },
    Step::Commit { entries: 0, snapshot_bytes: None, keep: 9, consumed: &[] },
    Step::Trim,
    Step::Commit { entries: 4, snapshot_bytes: Some(100), keep: 0, consumed: &[("p", 5)] },
];

fn name(text: &str) -> Name {
    Name::new(text).expect("a short name")
}

/// Entries after `expected`, and the digest behind them.
fn entries(expected: Pos, count: u64, digest: Digest) -> (Batch, Digest) {
    let mut batch = Batch::default();
    let mut digest = digest;
    for seq in expected.seq + 1..=expected.seq + count {
        let id = EventId(seq.into());
        let pos = Pos { ms: seq / 3, seq };
        let time = Nanos::from_ms(pos.ms).expect("in range");
        let header = Header {
            id,
            event_time: time,
            recv_time: time,
            source: name("fixture"),
            source_seq: seq,
            correlation: id,
            causation: None,
        };
        let body = System::CircuitClosed { handler: name("h") }.into();
        digest =
            digest.chain(batch.push(&Event { pos, time, origin: Origin::Input, header, body }));
    }
    (batch, digest)
}

/// The cursor that a list of numbers means.
fn cursor(consumed: &[(&str, u64)]) -> IngressCursor {
    consumed.iter().map(|&(producer, seq)| (name(producer), seq)).collect()
}

/// Does one step on top of whatever the log holds, as the owner of the history.
pub fn take(log: &impl EventLog, step: Step) -> Result<(), LogError> {
    if let Step::Publish(messages) = step {
        let message = |&(producer, seq): &(&str, u64)| {
            let payload = format!("{producer} says {seq}").into_bytes();
            IngressMessage { producer: name(producer), seq, codec: Codec::Json, payload }
        };
        let messages: Vec<_> = messages.iter().map(message).collect();
        return now(log.publish(&messages)).map(drop);
    }
    let acquired = now(log.acquire(OWNER, b"manifest"))?;
    let (lease, head, kept) = (acquired.lease, acquired.head, acquired.snapshots);
    match step {
        Step::Acquire | Step::Publish(_) => Ok(()),
        Step::Trim => {
            let at = *kept.get(1).or(kept.last()).expect("the history took a snapshot");
            now(log.trim(&lease, at)).map(drop)
        }
        Step::Commit { entries: count, snapshot_bytes, keep, consumed } => {
            let (batch, digest) = entries(head.pos, count, head.digest);
            let end = batch.last_pos().unwrap_or(head.pos);
            let state: Vec<u8> =
                (0..snapshot_bytes.unwrap_or(0)).map(|at| (at as u64 ^ end.seq) as u8).collect();
            let keep_from = kept.iter().rev().nth(keep).copied().unwrap_or(Pos::ZERO);
            let checkpoint = format!("checkpoint at {end}").into_bytes();
            let consumed = cursor(consumed);
            let commit = Commit {
                id: CommitId::derive(&lease, head.pos, digest),
                expected: head.pos,
                entries: &batch,
                digest,
                checkpoint: &checkpoint,
                snapshot: snapshot_bytes.map(|_| Snapshot { bytes: &state, keep_from }),
                ingress_done: Some(&consumed),
            };
            now(log.commit(&lease, &commit)).map(drop)
        }
    }
}

/// What a log holds before the history and after each of its steps.
pub fn expected() -> Vec<Contents> {
    let log = MemoryLog::new();
    let mut states = vec![contents(&log).expect("memory never fails")];
    for step in HISTORY {
        take(&log, step).expect("memory never fails");
        states.push(contents(&log).expect("memory never fails"));
    }
    states
}

/// Opens the log on a disk.
pub fn open(disk: &Disk) -> Result<RedbLog, LogError> {
    let options = RedbOptions::default().with_cache_bytes(1 << 20);
    RedbLog::with_backend(disk.clone(), "simulated", &options)
}

/// Plays the history from step `from` on until something fails; answers how many steps are acknowledged.
pub fn play(log: &RedbLog, from: usize) -> (usize, Result<(), LogError>) {
    for (at, step) in HISTORY.into_iter().enumerate().skip(from) {
        if let Err(error) = take(log, step) {
            return (at, Err(error));
        }
    }
    (HISTORY.len(), Ok(()))
}

/// Goes on to the end of the history from whatever step a log was left at, and compares again.
pub fn finish(disk: &Disk, log: RedbLog, from: usize, states: &[Contents]) {
    let (reached, result) = play(&log, from);
    assert_eq!((reached, result), (HISTORY.len(), Ok(())), "it goes on from step {from}");
    drop(log);
    let log = open(disk).expect("opens again");
    assert_same(&contents(&log).expect("reads"), &states[HISTORY.len()], "at the end");
}

/// Compares without printing a megabyte when it differs.
pub fn assert_same(found: &Contents, wanted: &Contents, when: &str) {
    assert_eq!(found.head, wanted.head, "head {when}");
    let snapshots = |c: &Contents| c.snapshots.iter().map(|(pos, _)| *pos).collect::<Vec<_>>();
    assert_eq!(snapshots(found), snapshots(wanted), "snapshots {when}");
    assert_eq!(found.messages, wanted.messages, "messages {when}");
    assert_eq!(found.acquired, wanted.acquired, "checkpoint and lease {when}");
    assert!(found == wanted, "entries, snapshots or manifest differ {when}");
}
