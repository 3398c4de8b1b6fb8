//! One member of a group, as a state machine: told what happened, it says what to do next.
//!
//! It does no I/O and reads no clock. Its shell asks [`Core::next`] until there is nothing to do, carries the
//! actions out (polls, settlements and handlers side by side) and reports how each ended. A shell on a real
//! runtime and the simulator drive the same machine, so what is tested under faults is what runs.
//!
//! What it guards against, beside failures of the store:
//! - **A message that kills its process.** What comes back from a member that died is under suspicion: it is
//!   handled alone, and that is put on record first. After three such starts without an end it is poison. What was
//!   merely held by that member, unstarted, is never blamed.
//! - **A service that is down.** Transient failures in a row open the handler's circuit; messages then wait on
//!   their stream until one try has succeeded.
//! - **An answer that was lost.** What the store may have handed over unseen is asked for again; what may have
//!   been settled is settled again, which changes nothing twice. A request may also arrive long after everybody has
//!   given it up, so the member asks now and then what it holds.
//! - **Having been taken for dead.** A member that has stood still, or that the store has not heard for
//!   `reclaim_after`, starts nothing before it has asked what is still its own.
//! - **Answers that cross.** What was settled while a poll was under way may stand in that poll's answer: it is
//!   passed over.

mod handling;
mod held;
mod polling;
mod settling;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::held::{Held, OwnReason, Stage, name_of};
use super::{
    Failure, GroupSpec, Member, Message, MessageId, Publication, RetryPolicy, Settlement, Tries,
    Verdict,
};
use silvertine_engine::{circuit::Circuit, log::LogError, span::Span, time::Nanos};

/// The most settlements of one step.
const SETTLE_MAX: usize = 256;
/// How long a poll waits at most: retries that others schedule meanwhile are seen so late.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Pauses between attempts on a store that fails: doubling from the first to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LONGEST: Duration = Duration::from_millis(500);

/// Who the member is, and by which rules it works.
#[derive(Clone, Debug)]
pub struct CoreConfig {
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

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the store for messages; report with [`Core::polled`]. One at a time.
    Poll {
        /// At most so many.
        limit: usize,
        /// How long to wait for the first.
        wait: Duration,
        /// Also what the member holds already.
        own: bool,
        /// Also look after retries and dead members.
        tend: bool,
        /// The least urgent lane first.
        reverse: bool,
    },
    /// Put these tries on record; report with [`Core::began`].
    Begin(Vec<(MessageId, Tries)>),
    /// Start the handler; report with [`Core::handled`]. Any number side by side.
    Handle(Work),
    /// Settle; report with [`Core::settled`].
    Settle(Vec<Settlement>),
    /// Show that these are still worked on; report with [`Core::extended`].
    Extend(Vec<MessageId>),
    /// Cancel handlers that still run: their messages are about to be released.
    Abandon(Vec<MessageId>),
    /// Leave the group; report with [`Core::left`].
    Leave,
    /// All is done: stop.
    Stop,
}

/// A message for a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Where it stands.
    pub id: MessageId,
    /// The message, as its producer wrote it.
    pub message: Arc<Message>,
    /// Where it stood first: elsewhere, if it was replayed from the dead letters.
    pub origin: MessageId,
    /// Its producer's key.
    pub key: Option<Arc<str>>,
    /// Which attempt this is, from one.
    pub attempt: u32,
    /// How often it was replayed from the dead letters.
    pub replays: u32,
}

impl Work {
    /// Names the message for the outside world: the same at every delivery and replay.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(self.key.as_deref(), &self.origin)
    }
}

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work, and these messages are to be published with it.
    Done(Vec<Publication>),
    /// It failed.
    Failed(Failure),
    /// The payload does not decode.
    Undecodable(String),
    /// It panicked.
    Panicked(String),
    /// It did not end in time.
    TimedOut,
}

/// What a member has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreStats {
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

/// The state machine.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    held: BTreeMap<MessageId, Held>,
    /// Messages that wait for the handler, in the order they came.
    ready: VecDeque<MessageId>,
    /// Messages under suspicion, each handled alone.
    suspects: VecDeque<MessageId>,
    /// Settlements that are not sent yet.
    outbox: VecDeque<Settlement>,
    /// The most settlements of the next step.
    settle_max: usize,
    running: usize,
    /// Producers' keys of messages that are being handled or settled, and who has each.
    busy_keys: BTreeMap<Arc<str>, MessageId>,
    circuit: Circuit,
    polling: bool,
    /// A settlement, begin, extend or leave is under way.
    commanding: bool,
    /// What this member held when it started, or what a lost answer handed it, is still to be asked for.
    own: Option<OwnReason>,
    poll_trouble: Trouble,
    command_trouble: Trouble,
    tended: Option<Nanos>,
    /// Whether the last poll brought nothing: the next will wait, and should know for how long.
    found_nothing: bool,
    polls: u64,
    next_due: Option<Nanos>,
    extended: Nanos,
    /// When the poll, and the command, that are under way were sent.
    poll_sent: Nanos,
    command_sent: Nanos,
    /// Until `reclaim_after` behind this nobody can have taken what this member holds: the newest request that was
    /// answered, where no silence before it was so long.
    sure: Nanos,
    /// Messages came in an old answer since the extend that is under way was sent, so it does not ask for them.
    unasked: bool,
    /// When this member last learned what it holds.
    owned: Nanos,
    /// Messages and keys that were settled since the poll that is under way was sent, as far as its answer could bring
    /// them again.
    ended_meanwhile: BTreeSet<MessageId>,
    done_meanwhile: BTreeSet<Arc<str>>,
    draining: Option<Nanos>,
    left: bool,
    stopped: bool,
    stats: CoreStats,
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

impl Core {
    /// A member that starts at `now`.
    #[must_use]
    pub fn new(config: CoreConfig, now: Nanos) -> Self {
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
            polling: false,
            commanding: false,
            own: Some(OwnReason::Started),
            poll_trouble: Trouble::default(),
            command_trouble: Trouble::default(),
            tended: None,
            found_nothing: true,
            polls: 0,
            next_due: None,
            extended: now,
            poll_sent: now,
            command_sent: now,
            sure: now,
            unasked: false,
            owned: now,
            ended_meanwhile: BTreeSet::new(),
            done_meanwhile: BTreeSet::new(),
            draining: None,
            left: false,
            stopped: false,
            stats: CoreStats::default(),
        }
    }

    /// What to do at `now`; `None` when there is nothing before [`Core::wake_at`] or the next report.
    pub fn next(&mut self, now: Nanos) -> Option<Action> {
        if self.stopped {
            return None;
        }
        self.next_command(now).or_else(|| self.next_poll(now)).or_else(|| self.next_work(now))
    }

    /// When to ask again although nothing was reported.
    #[must_use]
    pub fn wake_at(&self, now: Nanos) -> Nanos {
        let mut wake = now.saturating_add(WAIT_MAX);
        // What was due before now waits for a report, not for time: waking for it would only burn the processor.
        let mut sooner = |at: Nanos| {
            if at > now {
                wake = wake.min(at);
            }
        };
        if !self.held.is_empty() {
            sooner(self.extended.saturating_add(self.heartbeat()));
        }
        if !self.poll_trouble.over(now) {
            sooner(self.poll_trouble.until);
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
                self.outbox.push_back(Settlement { id, verdict: Verdict::Release });
            }
        }
        for id in self.suspects.drain(..) {
            if let Some(held) = self.held.get_mut(&id) {
                held.stage = Stage::Settling;
                // A start whose record failed may be on record all the same, and nothing was started.
                let verdict = Verdict::Retry { tries: held.tries, after: Span::ZERO };
                self.outbox.push_back(Settlement { id, verdict });
            }
        }
    }

    /// What the member has done so far.
    #[must_use]
    pub const fn stats(&self) -> CoreStats {
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

    fn command(&mut self, action: Action, now: Nanos) -> Option<Action> {
        self.commanding = true;
        self.command_sent = now;
        Some(action)
    }

    /// Notes that the store has answered a request. What is held is still this member's unless it was silent for too
    /// long before.
    fn heard(&mut self, sent: Nanos, now: Nanos) {
        if self.held.is_empty() || self.is_fresh(self.sure, now) {
            self.sure = self.sure.max(sent);
        }
    }

    fn command_succeeded(&mut self, now: Nanos) {
        self.command_trouble = Trouble::default();
        self.heard(self.command_sent, now);
    }

    fn next_command(&mut self, now: Nanos) -> Option<Action> {
        if let Some(action) = self.past_the_deadline(now) {
            return Some(action);
        }
        if self.commanding {
            return None;
        }
        // Past the deadline nobody waits for a store that does not answer: what is left will be reclaimed.
        if self.command_trouble.failures > 0 && self.draining.is_some_and(|at| now >= at) {
            self.stopped = true;
            return Some(Action::Stop);
        }
        if !self.command_trouble.over(now) {
            return None;
        }
        if !self.outbox.is_empty() {
            let count = self.outbox.len().min(self.settle_max);
            let settlements = self.outbox.drain(..count).collect();
            return self.command(Action::Settle(settlements), now);
        }
        let in_doubt = !self.ready.is_empty() && !self.is_fresh(self.sure, now);
        if !self.held.is_empty()
            && (in_doubt || now >= self.extended.saturating_add(self.heartbeat()))
        {
            self.extended = now;
            self.unasked = false;
            let held = self.held.keys().cloned().collect();
            return self.command(Action::Extend(held), now);
        }
        if self.draining.is_some() && self.held.is_empty() && !self.polling {
            if self.left {
                self.stopped = true;
                return Some(Action::Stop);
            }
            return self.command(Action::Leave, now);
        }
        self.next_suspect(now)
    }

    /// Handlers that still run when a drain's time is over lose their messages.
    fn past_the_deadline(&mut self, now: Nanos) -> Option<Action> {
        if self.running == 0 || self.draining.is_none_or(|deadline| now < deadline) {
            return None;
        }
        let mut abandoned = Vec::new();
        for (id, held) in &mut self.held {
            if held.stage == Stage::Running {
                let verdict = held.give_back();
                self.outbox.push_back(Settlement { id: id.clone(), verdict });
                abandoned.push(id.clone());
            }
        }
        if abandoned.is_empty() {
            return None;
        }
        self.running -= abandoned.len();
        Some(Action::Abandon(abandoned))
    }

    /// Lets go of a message that was settled or lost.
    fn drop_held(&mut self, id: &MessageId) {
        if let Some(Held { key: Some(key), .. }) = self.held.remove(id)
            && self.busy_keys.get(&key) == Some(id)
        {
            self.busy_keys.remove(&key);
        }
    }

    /// Reports whether the member has left the group.
    pub fn left(&mut self, result: Result<(), LogError>, now: Nanos) {
        self.commanding = false;
        match result {
            Ok(()) => self.left = true,
            Err(_) => self.failed_command(now),
        }
    }

    fn failed_command(&mut self, now: Nanos) {
        self.stats.store_errors += 1;
        self.command_trouble.note(now);
    }
}
