//! A process: an owner of the partition or a producer of messages.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use silvertine_engine::{
    log::{IngressCursor, Lease, LogError, LogErrorKind},
    pos::Pos,
    stop::StopFlag,
};

use crate::log::coverage::Phase;
use crate::log::op::{Answer, Request};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Owner,
    Producer { number: usize },
}

/// What the world knows of a process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) phase: Phase,
    /// It died or ended; nothing reaches it any more.
    pub(crate) dead: bool,
    /// It does not run, and what arrives waits.
    pub(crate) frozen: bool,
    /// It has been frozen.
    pub(crate) was_frozen: bool,
    pub(crate) stop: StopFlag,
    pub(crate) restart_after: u64,
    /// The lease that it holds, or held.
    pub(crate) lease: Option<Lease>,
    /// The newest head that it was told is committed.
    pub(crate) acknowledged: Pos,
    /// How far it has read the ingress.
    pub(crate) read: Option<IngressCursor>,
    /// Something that it was told is committed has been lost.
    pub(crate) lost: bool,
    /// The head that the log last showed it, when it looked or with a refusal.
    pub(crate) looked: Option<Pos>,
    /// Its last look at the head failed, so it cannot know what is lost.
    pub(crate) blind: bool,
    /// Virtual time it waited before further attempts, by operation, since that one last succeeded.
    pub(crate) waited_ns: BTreeMap<&'static str, u64>,
    /// The operation that it is about to wait for.
    pub(crate) resting_for: Option<&'static str>,
    pub(crate) failures: VecDeque<u64>,
}

impl Process {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            phase: Phase::Handling,
            dead: false,
            frozen: false,
            was_frozen: false,
            stop: StopFlag::default(),
            restart_after: 1_000_000_000,
            lease: None,
            acknowledged: Pos::ZERO,
            read: None,
            lost: false,
            looked: None,
            blind: false,
            waited_ns: BTreeMap::new(),
            resting_for: None,
            failures: VecDeque::new(),
        }
    }

    /// Notes that it sleeps. Before a further attempt of an operation, returns which one, and how long that one will have
    /// waited by then. Counted is what it sleeps, not what it says.
    pub(super) fn add_pause(&mut self, pause_ns: u64) -> Option<(&'static str, Duration)> {
        let operation = self.resting_for.take()?;
        let waited_ns = self.waited_ns.entry(operation).or_default();
        *waited_ns += pause_ns;
        Some((operation, Duration::from_nanos(*waited_ns)))
    }

    pub(super) fn begin(&mut self, request: &Request) {
        if let Request::Ingress { cursor, .. } = request {
            self.read = Some(cursor.clone());
        }
        self.phase = match request {
            Request::Acquire { .. } => Phase::Acquiring,
            Request::Commit { commit, .. } if commit.snapshot.is_some() => Phase::Snapshotting,
            Request::Commit { .. } => Phase::Committing,
            Request::Trim { .. } => Phase::Trimming,
            Request::Ingress { .. } => Phase::Polling,
            _ => Phase::Recovering,
        };
    }

    pub(super) fn end(&mut self, operation: &'static str, answer: &Result<Answer, LogError>) {
        match answer {
            Ok(Answer::Acquired(acquired)) => {
                self.acknowledged = acquired.head.pos;
                self.lease = Some(acquired.lease);
                self.phase = Phase::Recovering;
            }
            Ok(Answer::Committed(committed)) => {
                self.acknowledged = self.acknowledged.max(committed.head);
                self.phase = Phase::Handling;
            }
            Ok(Answer::Head(head)) => self.looked = head.map(|head| head.pos),
            Ok(Answer::Page(_) | Answer::Bytes(_)) => {}
            Ok(_) => self.phase = Phase::Handling,
            Err(LogError { kind: LogErrorKind::Conflict { head, .. }, .. }) => {
                self.looked = Some(*head);
            }
            Err(_) => {}
        }
        if answer.is_ok() {
            self.waited_ns.remove(operation);
        }
    }
}
