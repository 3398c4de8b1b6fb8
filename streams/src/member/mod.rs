//! One member of a group, as a state machine: it is told what happened, and says what to do next.
//!
//! It does no I/O and reads no clock. Its shell asks [`MemberMachine::next`] until there is nothing to do, carries the
//! actions out (fetches, settlements and handlers side by side) and reports how each ended. A shell on a real
//! runtime and the simulator drive the same machine, so what is tested under faults is what runs.
//!
//! What it guards against, beside failures of the store:
//! - **A message that kills its process.** A message that comes back from a member that died is a *suspect*: it is
//!   handled alone, and the store records its start first. After three recorded starts without an end the message is
//!   poison. A message that the dead member held but had not started is never blamed.
//! - **A service that is down.** Transient failures in a row open the handler's circuit; messages then wait on
//!   their stream until one attempt has succeeded.
//! - **An answer that was lost.** The member asks again for messages that the store may have handed over, and settles
//!   again what may have been settled; a settlement takes effect once. A request may also reach the store long after its
//!   sender has given it up, so the member asks now and then for everything that it holds.
//! - **Being taken for dead.** A member that stood still, or was not heard by the store, for `reclaim_after` starts no
//!   handler before it has asked the store which messages it still holds.
//! - **Answers that cross.** A message that was settled while a fetch was under way may stand in the answer of that
//!   fetch: the member drops it.

mod action;
mod commands;
mod fetching;
mod handling;
mod held;
mod settling;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

pub use self::action::{Action, HandlerOutcome, Work};
use self::held::{Held, OwnReason, Stage};
use super::{Disposition, GroupSpec, Member, MessageId, RetryPolicy, Settlement};
use silvertine_engine::{circuit::Circuit, span::Span, time::Nanos};

/// The most settlements of one step.
const SETTLE_MAX: usize = 256;
/// How long a fetch waits at most. A retry that another member schedules meanwhile is seen that late.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Pauses between attempts on a store that fails: doubling from the first to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LONGEST: Duration = Duration::from_millis(500);

/// A member's state machine: [`next`](Self::next) says what to do, and the other methods report how it ended.
#[derive(Debug)]
pub struct MemberMachine {
    config: MemberConfig,
    held: BTreeMap<MessageId, Held>,
    /// Messages that wait for the handler, in the order they came.
    ready: VecDeque<MessageId>,
    /// Messages under suspicion, each handled alone.
    suspects: VecDeque<MessageId>,
    /// Settlements that are not sent yet.
    outbox: VecDeque<Settlement>,
    /// The most settlements of the next step.
    settle_max: usize,
    /// Messages that the handler has, and a suspect whose start is being recorded.
    running: usize,
    /// Producers' keys of messages that are being handled or settled, and who has each.
    busy_keys: BTreeMap<Arc<str>, MessageId>,
    circuit: Circuit,
    /// A fetch is under way.
    fetching: bool,
    /// A settlement, begin, extend or leave is under way.
    commanding: bool,
    /// Set while the member has to ask for everything that it holds.
    own: Option<OwnReason>,
    fetch_trouble: Trouble,
    command_trouble: Trouble,
    /// When it last asked for messages that have come back to the group.
    tended: Option<Nanos>,
    /// Whether the last fetch brought nothing. The next one then waits, and has to know when a retry is due.
    found_nothing: bool,
    fetches: u64,
    next_due: Option<Nanos>,
    /// When it last showed that it still works on what it holds.
    extended: Nanos,
    /// When the fetch, and the command, that are under way were sent.
    fetch_sent: Nanos,
    command_sent: Nanos,
    /// When the newest answered request was sent, unless the member was silent for `reclaim_after` before it: until
    /// `reclaim_after` after this time no other member can have taken what this one holds.
    lease_proven_at: Nanos,
    /// Messages came in an old answer after the extend that is under way was sent, so the extend does not cover them.
    unasked: bool,
    /// When this member last learned what it holds.
    owned: Nanos,
    /// Messages and keys that were settled since the fetch that is under way was sent, as far as its answer could bring
    /// them again.
    ended_meanwhile: BTreeSet<MessageId>,
    done_meanwhile: BTreeSet<Arc<str>>,
    /// The deadline of the drain that has begun.
    draining: Option<Nanos>,
    left: bool,
    stopped: bool,
    stats: MemberStats,
}

/// Failures in a row of one kind of operation.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    failures: u32,
    until: Nanos,
}

impl Trouble {
    fn note(&mut self, now: Nanos) {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.min(8)).min(PAUSE_LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.until = now.saturating_add(pause);
    }

    fn over(self, now: Nanos) -> bool {
        now >= self.until
    }
}

impl MemberMachine {
    /// A member that starts at `now`.
    #[must_use]
    pub fn new(config: MemberConfig, now: Nanos) -> Self {
        Self {
            config,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            suspects: VecDeque::new(),
            outbox: VecDeque::new(),
            settle_max: SETTLE_MAX,
            running: 0,
            busy_keys: BTreeMap::new(),
            circuit: Circuit::default(),
            fetching: false,
            commanding: false,
            own: Some(OwnReason::Started),
            fetch_trouble: Trouble::default(),
            command_trouble: Trouble::default(),
            tended: None,
            found_nothing: true,
            fetches: 0,
            next_due: None,
            extended: now,
            fetch_sent: now,
            command_sent: now,
            lease_proven_at: now,
            unasked: false,
            owned: now,
            ended_meanwhile: BTreeSet::new(),
            done_meanwhile: BTreeSet::new(),
            draining: None,
            left: false,
            stopped: false,
            stats: MemberStats::default(),
        }
    }

    /// What to do at `now`; `None` when there is nothing before [`MemberMachine::wake_at`] or the next report.
    pub fn next(&mut self, now: Nanos) -> Option<Action> {
        if self.stopped {
            return None;
        }
        self.next_command(now).or_else(|| self.next_fetch(now)).or_else(|| self.next_work(now))
    }

    /// When to ask again although nothing was reported.
    #[must_use]
    pub fn wake_at(&self, now: Nanos) -> Nanos {
        let mut wake = now.saturating_add(WAIT_MAX);
        // What was due before now waits for a report and not for time: waking for it would only spend processor time.
        let mut sooner = |at: Nanos| {
            if at > now {
                wake = wake.min(at);
            }
        };
        if !self.held.is_empty() {
            sooner(self.extended.saturating_add(self.heartbeat()));
        }
        if !self.fetch_trouble.over(now) {
            sooner(self.fetch_trouble.until);
        }
        if !self.command_trouble.over(now) {
            sooner(self.command_trouble.until);
        }
        if let Circuit::Open { until } = self.circuit {
            sooner(until);
        }
        if let Some(deadline) = self.draining {
            sooner(deadline);
        }
        wake
    }

    /// Stops taking messages. Handlers that run may end until `deadline`; everything else is released.
    pub fn drain(&mut self, deadline: Nanos) {
        if self.draining.is_some() {
            return;
        }
        self.draining = Some(deadline);
        for id in self.ready.drain(..) {
            if let Some(held) = self.held.get_mut(&id) {
                held.stage = Stage::Settling;
                self.outbox.push_back(Settlement { id, disposition: Disposition::Release });
            }
        }
        for id in self.suspects.drain(..) {
            if let Some(held) = self.held.get_mut(&id) {
                held.stage = Stage::Settling;
                // The record of its start may have reached the store although the answer was an error, and no handler started.
                let disposition = Disposition::Retry { tries: held.tries, after: Span::ZERO };
                self.outbox.push_back(Settlement { id, disposition });
            }
        }
    }

    /// What the member has done so far.
    #[must_use]
    pub const fn stats(&self) -> MemberStats {
        self.stats
    }

    /// Whether all is done after a drain.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// How many messages the member holds.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.held.len()
    }

    /// Whether the handler's circuit lets messages through.
    #[must_use]
    pub const fn circuit_is_closed(&self) -> bool {
        matches!(self.circuit, Circuit::Closed { .. })
    }

    /// Messages that the handler has, or has before it.
    fn unfinished(&self) -> usize {
        self.ready.len() + self.suspects.len() + self.running
    }

    fn heartbeat(&self) -> Duration {
        self.config.group.reclaim_after.duration() / 3
    }

    /// Whether nobody can have taken what a request of `sent` found this member to hold.
    fn is_fresh(&self, sent: Nanos, now: Nanos) -> bool {
        now < sent.saturating_add(self.config.group.reclaim_after.duration())
    }

    /// Notes that the store has answered a request. What is held is still this member's unless it was silent for too
    /// long before.
    pub(super) fn heard(&mut self, sent: Nanos, now: Nanos) {
        if self.held.is_empty() || self.is_fresh(self.lease_proven_at, now) {
            self.lease_proven_at = self.lease_proven_at.max(sent);
        }
    }

    /// Lets go of a message that was settled or lost.
    pub(super) fn drop_held(&mut self, id: &MessageId) {
        if let Some(Held { key: Some(key), .. }) = self.held.remove(id)
            && self.busy_keys.get(&key) == Some(id)
        {
            self.busy_keys.remove(&key);
        }
    }
}

/// Who the member is, and by which rules it works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberConfig {
    /// Its place in the group.
    pub member: Member,
    /// The group's rules.
    pub group: GroupSpec,
    /// When failed messages are tried again.
    pub retry: RetryPolicy,
    /// The handler's name, for dead letters.
    pub handler: String,
    /// The handler's version, for dead letters.
    pub build: String,
}

impl MemberConfig {
    /// A member of a group with these rules; `retry` is the group's policy, or its stream's where it has none.
    #[must_use]
    pub const fn new(member: Member, group: GroupSpec, retry: RetryPolicy) -> Self {
        Self { member, group, retry, handler: String::new(), build: String::new() }
    }

    /// The same member with a handler of this name and version, by which dead letters call it.
    #[must_use]
    pub fn with_handler(self, handler: &str, build: &str) -> Self {
        Self { handler: handler.to_owned(), build: build.to_owned(), ..self }
    }
}

/// What a member has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStats {
    /// Messages that it was handed.
    pub delivered: u64,
    /// Messages done.
    pub done: u64,
    /// Messages that had been done before.
    pub duplicates: u64,
    /// Failures that will be tried again.
    pub retried: u64,
    /// Messages given up.
    pub dead: u64,
    /// Settlements that came too late: somebody else had the message by then.
    pub lost: u64,
    /// Times the circuit opened.
    pub circuit_opened: u64,
    /// Times it closed again, because one try had succeeded.
    pub circuit_closed: u64,
    /// Operations on the store that failed.
    pub store_errors: u64,
}
