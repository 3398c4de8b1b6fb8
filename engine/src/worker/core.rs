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

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Class, DeadLetter, DeadState, Delivery, Failure, GroupSpec, Member, Message, MessageId, Next,
    Polled, Publication, Reason, RetryPolicy, Settled, Settlement, Story, Tries, Verdict, Why,
    dead, message,
};
use crate::{
    bus::{Admission, Circuit, Transition},
    log::{Advice, LogError, LogErrorKind},
    span::Span,
    time::Nanos,
};

/// Starts on record after which a message is poison.
const STARTS_MAX: u32 = 3;
/// The most settlements of one step.
const SETTLE_MAX: usize = 256;
/// How long a poll waits at most: retries that others schedule meanwhile are seen so late.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// How often a busy member looks for retries that are due and members that died.
const TEND_EVERY: Duration = Duration::from_millis(100);
/// Every so many polls, the least urgent lane comes first, so that none starves.
const REVERSE_EVERY: u64 = 8;
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

fn name_of(key: Option<&str>, origin: &MessageId) -> String {
    key.map_or_else(|| origin.to_string(), str::to_owned)
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
    /// Messages and keys that were settled since the poll that is under way was sent.
    ended_meanwhile: BTreeSet<MessageId>,
    done_meanwhile: BTreeSet<Arc<str>>,
    draining: Option<Nanos>,
    left: bool,
    stopped: bool,
    stats: CoreStats,
}

#[derive(Debug)]
struct Held {
    message: Arc<Message>,
    key: Option<Arc<str>>,
    origin: MessageId,
    replays: u32,
    tries: Tries,
    deliveries: u64,
    /// The member did not get to it, or did not come to its end.
    given_back: bool,
    stage: Stage,
}

impl Held {
    /// The key under which the store is to remember it: its producer's, or where it was replayed from. Its own
    /// place needs no remembering, since what is settled never comes again from there.
    fn remembered_as(&self, id: &MessageId) -> Option<Arc<str>> {
        match &self.key {
            Some(key) => Some(Arc::clone(key)),
            None if self.origin == *id => None,
            None => Some(self.origin.to_string().into()),
        }
    }

    /// Gives a message back whose handler was stopped, or was about to start: nobody died of it.
    fn give_back(&mut self) -> Verdict {
        self.stage = Stage::Settling;
        self.given_back = true;
        if self.tries.starts == 0 {
            return Verdict::Release;
        }
        self.tries.starts -= 1;
        Verdict::Retry { tries: self.tries, after: Span::ZERO }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for the handler.
    Ready,
    /// Waits for the handler, alone.
    Suspect,
    /// Its start is being put on record.
    Beginning,
    /// The handler has it.
    Running,
    /// What became of it waits to be told to the store.
    Settling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnReason {
    Started,
    AnswerLost,
    /// To be sure: a poll that nobody waits for any more may have arrived late.
    Sure,
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

    /// Puts a suspect's start on record once nothing else runs.
    fn next_suspect(&mut self, now: Nanos) -> Option<Action> {
        if self.running > 0 || self.suspects.is_empty() {
            return None;
        }
        if self.circuit.admit(now) == Admission::Refuse {
            return None;
        }
        let id = self.suspects.pop_front()?;
        let held = self.held.get_mut(&id).expect("suspects are held");
        held.stage = Stage::Beginning;
        held.tries.starts += 1;
        let begin = Action::Begin(vec![(id, held.tries)]);
        // It counts as running: nothing else starts beside it.
        self.running += 1;
        self.command(begin, now)
    }

    fn next_work(&mut self, now: Nanos) -> Option<Action> {
        if self.ready.is_empty() || !self.suspects.is_empty() || self.is_beginning_or_alone() {
            return None;
        }
        if !self.is_fresh(self.sure, now) {
            return None;
        }
        if matches!(self.circuit, Circuit::HalfOpen) && self.running > 0 {
            return None;
        }
        if self.circuit.admit(now) == Admission::Refuse {
            return None;
        }
        let at = self.ready.iter().position(|id| !self.twin_is_busy(id))?;
        let id = self.ready.remove(at)?;
        Some(self.start(id))
    }

    /// Whether a suspect is being handled.
    fn is_beginning_or_alone(&self) -> bool {
        self.running == 1
            && self.held.values().any(|held| match held.stage {
                Stage::Beginning => true,
                Stage::Running => held.tries.starts > 0,
                _ => false,
            })
    }

    /// Whether another message with the same key is being handled or settled.
    fn twin_is_busy(&self, id: &MessageId) -> bool {
        let key =
            |held: &Held| held.key.as_ref().is_some_and(|key| self.busy_keys.contains_key(key));
        !self.busy_keys.is_empty() && self.held.get(id).is_some_and(key)
    }

    fn start(&mut self, id: MessageId) -> Action {
        let held = self.held.get_mut(&id).expect("what is started is held");
        held.stage = Stage::Running;
        self.running += 1;
        if let Some(key) = &held.key {
            self.busy_keys.insert(Arc::clone(key), id.clone());
        }
        Self::work(id, held)
    }

    /// Lets go of a message that was settled or lost.
    fn drop_held(&mut self, id: &MessageId) {
        if let Some(Held { key: Some(key), .. }) = self.held.remove(id)
            && self.busy_keys.get(&key) == Some(id)
        {
            self.busy_keys.remove(&key);
        }
    }

    fn work(id: MessageId, held: &Held) -> Action {
        Action::Handle(Work {
            id,
            message: Arc::clone(&held.message),
            origin: held.origin.clone(),
            key: held.key.clone(),
            attempt: held.tries.attempts + 1,
            replays: held.replays,
        })
    }

    fn next_poll(&mut self, now: Nanos) -> Option<Action> {
        if self.polling || self.draining.is_some() || !self.poll_trouble.over(now) {
            return None;
        }
        let limit = match self.circuit {
            Circuit::Open { until } if now < until => return None,
            // One message decides.
            Circuit::Open { .. } | Circuit::HalfOpen => 1_usize.saturating_sub(self.held.len()),
            Circuit::Closed { .. } => {
                let in_flight = self.config.group.in_flight;
                // The next messages come while the last are settled; a store that settles nothing ends that.
                let unsettled = in_flight.saturating_mul(2).saturating_sub(self.held.len());
                let free = in_flight.saturating_sub(self.unfinished()).min(unsettled);
                // Half of them come while the other half is handled, and many small polls would cost more than
                // they bring.
                if free >= in_flight.div_ceil(4) { free.min(in_flight.div_ceil(2)) } else { 0 }
            }
        };
        if limit == 0 {
            return None;
        }
        let reclaim_after = self.config.group.reclaim_after.duration();
        if self.own.is_none() && now >= self.owned.saturating_add(reclaim_after) {
            self.own = Some(OwnReason::Sure);
        }
        let own = self.own.is_some();
        let due = self.next_due.map(|at| at.since(now));
        // While a poll waits, nothing shows that this member is alive.
        let longest = WAIT_MAX.min(self.heartbeat());
        let wait = if own { Duration::ZERO } else { longest.min(due.unwrap_or(longest)) };
        let tend = own
            || self.found_nothing
            || self.tended.is_none_or(|at| now >= at.saturating_add(TEND_EVERY))
            || due == Some(Duration::ZERO);
        if tend {
            self.tended = Some(now);
        }
        self.polling = true;
        self.poll_sent = now;
        self.ended_meanwhile.clear();
        self.done_meanwhile.clear();
        self.polls = self.polls.wrapping_add(1);
        let reverse = self.polls.is_multiple_of(REVERSE_EVERY);
        Some(Action::Poll { limit, wait, own, tend, reverse })
    }

    /// Reports how a poll ended.
    pub fn polled(&mut self, result: Result<Polled, LogError>, now: Nanos) {
        self.polling = false;
        match result {
            Ok(polled) => {
                self.poll_trouble = Trouble::default();
                self.found_nothing = polled.deliveries.is_empty();
                self.heard(self.poll_sent, now);
                if !polled.deliveries.is_empty() && !self.is_fresh(self.poll_sent, now) {
                    // The answer took so long that what it brings may be somebody else's by now.
                    self.sure = self.sure.min(self.poll_sent);
                    self.unasked = true;
                }
                let reason = self.own.take();
                if reason.is_some() {
                    self.owned = self.poll_sent;
                }
                self.next_due = polled.next_due.map(|due| now.saturating_add(due.duration()));
                for delivery in polled.deliveries {
                    self.take(delivery, reason, now);
                }
            }
            Err(_) => {
                self.stats.store_errors += 1;
                self.poll_trouble.note(now);
                // Whatever the error says: asking once more for what is ours costs little, and a message handed
                // over unseen would wait until this member dies.
                self.own = self.own.or(Some(OwnReason::AnswerLost));
            }
        }
    }

    fn take(&mut self, delivery: Delivery, own: Option<OwnReason>, now: Nanos) {
        let Delivery { id, message, why, mut tries, deliveries, done } = delivery;
        // What this member settled since it asked is its own no more.
        if self.held.contains_key(&id) || why == Why::Own && self.ended_meanwhile.contains(&id) {
            return;
        }
        self.stats.delivered += 1;
        if self.held.is_empty() {
            // It was idle: the store knows of its life by the poll itself.
            self.extended = self.poll_sent;
        }
        if why == Why::Reclaimed {
            tries.reclaims = tries.reclaims.saturating_add(1);
        }
        let gone = message.is_none();
        let message = message.unwrap_or_default();
        let (message, origin, replays) =
            dead::replayed(&message).unwrap_or_else(|| (message, id.clone(), 0));
        let key: Option<Arc<str>> =
            message.text(message::KEY).filter(|key| !key.is_empty()).map(Into::into);
        let stage = match why {
            Why::Reclaimed => Stage::Suspect,
            Why::Own if own == Some(OwnReason::Started) => Stage::Suspect,
            // It was under suspicion before, and no handler has come to an end on it since.
            _ if tries.starts > 0 => Stage::Suspect,
            _ => Stage::Ready,
        };
        let done = done || key.as_ref().is_some_and(|key| self.done_meanwhile.contains(key));
        let message = Arc::new(message);
        let given_back = false;
        let held = Held { message, key, origin, replays, tries, deliveries, given_back, stage };
        let verdict = if gone {
            let text = "it was trimmed away or deleted before it was handled";
            let failure = Failure::new(Class::Poison, "trimmed", text);
            Some(self.give_up(&held, Reason::Trimmed, failure, now))
        } else if done {
            Some(Verdict::Done { key: held.remembered_as(&id), emit: Vec::new() })
        } else if held.tries.starts >= STARTS_MAX {
            let text = format!("{STARTS_MAX} processes died while they handled it");
            let failure = Failure::new(Class::Poison, "crashed", &text);
            Some(self.give_up(&held, Reason::Crashed, failure, now))
        } else if self.draining.is_some() || self.unfinished() >= self.config.group.in_flight {
            Some(Verdict::Release)
        } else {
            None
        };
        let stage = if verdict.is_some() { Stage::Settling } else { stage };
        self.held.insert(id.clone(), Held { stage, ..held });
        match verdict {
            Some(verdict) => self.outbox.push_back(Settlement { id, verdict }),
            None if stage == Stage::Suspect => self.suspects.push_back(id),
            None => self.ready.push_back(id),
        }
    }

    /// Reports whether starts were put on record. Returns the work that may now be done.
    #[must_use]
    pub fn began(
        &mut self,
        ids: &[MessageId],
        result: Result<Vec<bool>, LogError>,
        now: Nanos,
    ) -> Vec<Work> {
        self.commanding = false;
        let mut work = Vec::new();
        match result {
            Ok(ours) => {
                self.command_succeeded(now);
                let fresh = self.is_fresh(self.command_sent, now);
                for (id, ours) in ids.iter().zip(ours) {
                    let Some(held) = self.held.get_mut(id) else { continue };
                    if ours && !fresh && self.draining.is_none() {
                        self.running -= 1;
                        // The answer is too old to be relied upon; the next record says the same number.
                        held.tries.starts -= 1;
                        held.stage = Stage::Suspect;
                        self.suspects.push_front(id.clone());
                    } else if ours && self.draining.is_none() {
                        held.stage = Stage::Running;
                        if let Some(key) = &held.key {
                            self.busy_keys.insert(Arc::clone(key), id.clone());
                        }
                        let Action::Handle(one) = Self::work(id.clone(), held) else { continue };
                        work.push(one);
                    } else if ours {
                        self.running -= 1;
                        let (id, verdict) = (id.clone(), held.give_back());
                        self.outbox.push_back(Settlement { id, verdict });
                    } else {
                        self.running -= 1;
                        self.stats.lost += 1;
                        self.drop_held(id);
                    }
                }
            }
            Err(_) => {
                self.failed_command(now);
                for id in ids {
                    let Some(held) = self.held.get_mut(id) else { continue };
                    self.running -= 1;
                    // It may be on record all the same; the next record says the same number.
                    held.tries.starts -= 1;
                    held.stage = Stage::Suspect;
                    self.suspects.push_front(id.clone());
                }
                if let Some(deadline) = self.draining.take() {
                    self.drain(deadline);
                }
            }
        }
        work
    }

    /// Reports how a handler ended.
    pub fn handled(&mut self, id: &MessageId, outcome: Outcome, now: Nanos) {
        let Some(held) = self.held.get_mut(id) else { return };
        // One that was abandoned has been released; its end means nothing any more.
        if held.stage != Stage::Running {
            return;
        }
        held.stage = Stage::Settling;
        self.running -= 1;
        let verdict = match outcome {
            Outcome::Done(emit) => {
                if let Some(why) = emit.iter().find_map(|out| out.message.check().err()) {
                    let text = format!("the handler emitted what cannot be published: {why}");
                    let failure = Failure::new(Class::Permanent, "invalid_output", &text);
                    let verdict = self.fail(id, Outcome::Failed(failure), now);
                    self.outbox.push_back(Settlement { id: id.clone(), verdict });
                    return;
                }
                let key = held.remembered_as(id);
                self.succeed();
                Verdict::Done { key, emit }
            }
            outcome => self.fail(id, outcome, now),
        };
        self.outbox.push_back(Settlement { id: id.clone(), verdict });
    }

    fn succeed(&mut self) {
        if self.circuit.succeed() == Transition::Closed {
            self.stats.circuit_closed += 1;
        }
    }

    fn fail(&mut self, id: &MessageId, outcome: Outcome, now: Nanos) -> Verdict {
        let (reason, failure) = explain(outcome, self.config.group.handler_timeout);
        if failure.class == Class::Transient {
            if let Transition::Opened { .. } =
                self.circuit.fail(now, &self.config.group.circuit.config())
            {
                self.stats.circuit_opened += 1;
            }
        } else if matches!(self.circuit, Circuit::HalfOpen) {
            // The service answered, if only to refuse.
            self.succeed();
        }
        let held = self.held.get_mut(id).expect("what fails is held");
        held.tries.attempts = held.tries.attempts.saturating_add(1);
        // It came to an end, so it kills nobody.
        held.tries.starts = 0;
        held.tries.last_failed = now;
        if held.tries.first_failed == Nanos::ZERO {
            held.tries.first_failed = now;
        }
        let held = &self.held[id];
        if failure.class != Class::Transient {
            return self.give_up(held, reason, failure, now);
        }
        let published = Nanos::from_ms(held.origin.id.ms).unwrap_or_default();
        match self.config.retry.next(id, held.tries.attempts, published, now) {
            Next::Retry(pause) => {
                let after = failure.retry_after.map_or(pause, |asked| asked.max(pause));
                Verdict::Retry { tries: held.tries, after }
            }
            Next::Exhausted => self.give_up(held, Reason::MaxAttempts, failure, now),
            Next::Expired => self.give_up(held, Reason::Expired, failure, now),
        }
    }

    fn give_up(&self, held: &Held, reason: Reason, failure: Failure, now: Nanos) -> Verdict {
        let or_now = |at: Nanos| if at == Nanos::ZERO { now } else { at };
        let story = Story {
            origin: held.origin.clone(),
            group: self.config.member.group.clone(),
            key: name_of(held.key.as_deref(), &held.origin),
            published: Nanos::from_ms(held.origin.id.ms).unwrap_or_default(),
            first_failed: or_now(held.tries.first_failed),
            last_failed: or_now(held.tries.last_failed),
            attempts: held.tries.attempts,
            deliveries: held.deliveries,
            reclaims: held.tries.reclaims,
            reason,
            fingerprint: failure.fingerprint(&self.config.handler),
            failure,
            handler: self.config.handler.clone(),
            consumer: self.config.member.consumer.clone(),
            build: self.config.build.clone(),
            replays: held.replays,
        };
        let (message, state) = (Message::clone(&held.message), DeadState::default());
        Verdict::Dead(Box::new(DeadLetter { message, story, state }))
    }

    /// Reports what became of the settlements that were asked for.
    pub fn settled(
        &mut self,
        mut sent: Vec<Settlement>,
        result: Result<Vec<Settled>, LogError>,
        now: Nanos,
    ) {
        self.commanding = false;
        let settled = match result {
            Ok(settled) => settled,
            Err(error) => {
                self.failed_command(now);
                // Should the store never take one of them, it must not keep the others back. Nor may one whose
                // outputs have no room: it is perhaps the others that make it.
                if error.advice() == Advice::GiveUp
                    || matches!(error.kind, LogErrorKind::RefusesWrites { .. })
                {
                    if sent.len() == 1 {
                        self.outbox.extend(sent.drain(..));
                    }
                    self.settle_max = 1;
                }
                sent.into_iter().rev().for_each(|settlement| self.outbox.push_front(settlement));
                return;
            }
        };
        self.command_succeeded(now);
        self.settle_max = (self.settle_max * 2).min(SETTLE_MAX);
        for (settlement, settled) in sent.into_iter().zip(settled) {
            let held = self.held.get(&settlement.id);
            let given_back = held.is_some_and(|held| held.given_back);
            self.drop_held(&settlement.id);
            // Only a poll that asks for its own can bring it once more.
            if self.polling && self.own.is_some() {
                self.ended_meanwhile.insert(settlement.id.clone());
            }
            if let Verdict::Done { key: Some(key), .. } = &settlement.verdict
                && settled != Settled::Lost
            {
                self.settle_twins(key);
            }
            let counter = match (settled, settlement.verdict) {
                (Settled::Lost, _) => &mut self.stats.lost,
                (Settled::Duplicate, _) => &mut self.stats.duplicates,
                (Settled::Applied, Verdict::Done { .. }) => &mut self.stats.done,
                (Settled::Applied, Verdict::Retry { .. }) if given_back => continue,
                (Settled::Applied, Verdict::Retry { .. }) => {
                    // It may be due before the next look.
                    self.tended = None;
                    &mut self.stats.retried
                }
                (Settled::Applied, Verdict::Dead(_)) => &mut self.stats.dead,
                (Settled::Applied, Verdict::Release) => continue,
            };
            *counter += 1;
        }
    }

    /// Messages with the key of one that is done only need to be settled.
    fn settle_twins(&mut self, key: &Arc<str>) {
        if self.config.group.idempotency_window == Span::ZERO {
            return;
        }
        if self.polling {
            self.done_meanwhile.insert(Arc::clone(key));
        }
        let Self { held, ready, suspects, outbox, .. } = self;
        for queue in [ready, suspects] {
            queue.retain(|id| {
                let twin = held.get_mut(id).filter(|held| held.key.as_ref() == Some(key));
                let Some(twin) = twin else { return true };
                twin.stage = Stage::Settling;
                let verdict = Verdict::Done { key: Some(Arc::clone(key)), emit: Vec::new() };
                outbox.push_back(Settlement { id: id.clone(), verdict });
                false
            });
        }
    }

    /// Reports which messages the member no longer holds.
    pub fn extended(&mut self, result: Result<Vec<MessageId>, LogError>, now: Nanos) {
        self.commanding = false;
        match result {
            Ok(lost) => {
                self.command_succeeded(now);
                for id in lost {
                    self.forget(&id);
                }
                // All that is left was this member's when it asked.
                if !self.unasked {
                    self.sure = self.sure.max(self.command_sent);
                }
            }
            Err(_) => {
                self.failed_command(now);
                self.extended = Nanos::ZERO;
            }
        }
    }

    /// Somebody else has it. What runs comes to its end, and its settlement says that it was lost.
    fn forget(&mut self, id: &MessageId) {
        let waits = |held: &Held| matches!(held.stage, Stage::Ready | Stage::Suspect);
        if self.held.get(id).is_some_and(waits) {
            self.drop_held(id);
            self.ready.retain(|other| other != id);
            self.suspects.retain(|other| other != id);
            self.stats.lost += 1;
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

/// Why a handler failed, in the words of a dead letter.
fn explain(outcome: Outcome, timeout: Span) -> (Reason, Failure) {
    match outcome {
        Outcome::Failed(failure) => (Reason::Permanent, failure),
        Outcome::Undecodable(why) => {
            (Reason::Undecodable, Failure::new(Class::Poison, "undecodable", &why))
        }
        Outcome::Panicked(why) => {
            let text = format!("the handler panicked: {why}");
            (Reason::Panicked, Failure::new(Class::Poison, "panicked", &text))
        }
        Outcome::TimedOut => {
            let text = format!("the handler did not end within {timeout}");
            (Reason::MaxAttempts, Failure::new(Class::Transient, "timed_out", &text))
        }
        Outcome::Done(_) => unreachable!("a success is no failure"),
    }
}
