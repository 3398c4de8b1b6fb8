//! Named streams with consumer groups: what a store must promise so that workers can promise the rest.
//!
//! # The law
//! - **L7** Every message of a group is settled or delivered again; a settled one never is.
//!
//! In detail, for one group of one stream, whatever fails or dies in between:
//! - A message is in exactly one of five places: not delivered yet, held by a member, waiting for a retry,
//!   done, dead. [`GroupStats`] counts them, and the counts add up to the messages added since the group began.
//! - A settlement takes effect as a whole or not at all: acknowledging, remembering the key, publishing what the
//!   handler emitted, scheduling the retry, writing the dead letter.
//! - What a member held when it died goes to another member once it has shown no sign of life for
//!   [`Poll::reclaim_after`]; what it releases, at once.
//! - A waiting retry stands in nobody's way and survives every restart.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Amendment, ConsumerName, DeadLetter, GroupName, Message, Publication, StreamName, Topology,
};
use silvertine_engine::{log::LogError, pos::Pos, span::Span, time::Nanos};

/// A store of named streams.
///
/// A handle is cheap to clone and may be shared. Futures of embedded stores are ready at once unless they are
/// asked to wait. `now` is the caller's time; a server that has a clock of its own uses that, because its
/// clients' clocks differ.
pub trait Streams: Clone + Send + Sync + 'static {
    /// The streams that this handle knows how to keep.
    fn topology(&self) -> &Topology;

    /// Creates the streams and groups of the topology that are missing. Doing it again changes nothing.
    ///
    /// # Errors
    /// Something else lies under a name, or the store cannot be reached; repeating is safe.
    fn declare(&self, now: Nanos) -> impl Future<Output = Result<(), LogError>> + Send;

    /// Appends messages, all or none, and trims the streams as the topology says. Returns their ids.
    ///
    /// # Errors
    /// [`LogErrorKind::RefusesWrites`](silvertine_engine::log::LogErrorKind::RefusesWrites) when a stream is full and set to refuse.
    /// After [`Applied::Maybe`](silvertine_engine::log::Applied::Maybe) publishing again may put a message on the stream twice;
    /// with a [key](super::message::KEY), its group still handles it once.
    fn publish(
        &self,
        publications: &[Publication],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<Pos>, LogError>> + Send;

    /// Appends messages under ids of the caller's. What stands at or below a stream's newest id is there
    /// already and is passed over, so repeating is safe. Returns how many were new.
    ///
    /// # Errors
    /// The store cannot be reached; some messages may be in.
    fn relay(
        &self,
        messages: &[(Pos, Publication)],
        now: Nanos,
    ) -> impl Future<Output = Result<u64, LogError>> + Send;

    /// Hands messages to a member: what it held before (if asked), then what members that died held, then
    /// retries that are due, then new ones, urgent lanes first.
    ///
    /// # Errors
    /// After [`Applied::Maybe`](silvertine_engine::log::Applied::Maybe) messages may have been handed over that nobody saw: poll
    /// again with [`Poll::own`].
    fn poll(&self, poll: &Poll<'_>) -> impl Future<Output = Result<Polled, LogError>> + Send;

    /// Completes when something may have arrived since this was called. A store whose polls wait by themselves
    /// never completes it; with one whose polls answer at once, it is what to wait for.
    fn arrival(&self) -> impl Future<Output = ()> + Send;

    /// Notes these tries of messages that the member holds, before it handles them. Returns whether it
    /// still holds each.
    ///
    /// # Errors
    /// The store cannot be reached; repeating is safe.
    fn begin(
        &self,
        member: &Member,
        tries: &[(MessageId, Tries)],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<bool>, LogError>> + Send;

    /// Ends the handling of messages, in one atomic step. Returns what became of each.
    ///
    /// # Errors
    /// After [`Applied::Maybe`](silvertine_engine::log::Applied::Maybe) settle again: what was settled is [`Settled::Lost`] or
    /// [`Settled::Duplicate`], and nothing is done twice.
    fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<Settled>, LogError>> + Send;

    /// Shows that the member is alive and still works on these. Returns those it no longer holds.
    ///
    /// # Errors
    /// The store cannot be reached; repeating is safe.
    fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<MessageId>, LogError>> + Send;

    /// Leaves the group: whatever the member still holds is due for others at once.
    ///
    /// # Errors
    /// The store cannot be reached; repeating is safe.
    fn leave(
        &self,
        member: &Member,
        now: Nanos,
    ) -> impl Future<Output = Result<(), LogError>> + Send;

    /// Messages of a stream after `after`, oldest first, at most `limit`. Changes nothing.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Pos, Message)>, LogError>> + Send;

    /// Lengths and counts of a stream and its groups; `None` where there is no such stream.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn stream_stats(
        &self,
        stream: &StreamName,
        now: Nanos,
    ) -> impl Future<Output = Result<Option<StreamStats>, LogError>> + Send;

    /// Dead letters of a stream after `after`, oldest first, at most `limit`, each with its own id.
    ///
    /// # Errors
    /// The store cannot be reached, or one does not decode.
    fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Pos, DeadLetter)>, LogError>> + Send;

    /// Puts dead letters on a stream's dead-letter queue, such as those of an import.
    ///
    /// # Errors
    /// After [`Applied::Maybe`](silvertine_engine::log::Applied::Maybe) they may be there; repeating would double them.
    fn bury(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<Pos>, LogError>> + Send;

    /// Changes dead letters and publishes `audit`, in one atomic step. Returns whether each was still as
    /// expected and so was changed; when none was, `audit` is not published.
    ///
    /// # Errors
    /// After [`Applied::Maybe`](silvertine_engine::log::Applied::Maybe) look before doing it again: what was changed is no longer
    /// as expected.
    fn amend(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<bool>, LogError>> + Send;

    /// A small record of this name, such as who drains a queue.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn record(
        &self,
        stream: &StreamName,
        name: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, LogError>> + Send;

    /// Replaces a small record where it is still `expected`. Returns whether it was.
    ///
    /// # Errors
    /// After [`Applied::Maybe`](silvertine_engine::log::Applied::Maybe) read it before doing it again.
    fn swap_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> impl Future<Output = Result<bool, LogError>> + Send;
}

/// A message's place: the stream it stands on and its id there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The stream, which may be an urgent lane or a group's replays.
    pub stream: StreamName,
    /// The id on that stream.
    pub id: Pos,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.id)
    }
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The stream that the group consumes, with its lanes.
    pub stream: StreamName,
    /// The group.
    pub group: GroupName,
    /// The member's name, which no two living members share and which a restarted one keeps.
    pub consumer: ConsumerName,
}

/// What a member asks for.
#[derive(Clone, Copy, Debug)]
pub struct Poll<'a> {
    /// Who asks.
    pub member: &'a Member,
    /// At most so many messages, at least one.
    pub limit: usize,
    /// How long to wait for the first one, where the store can wait.
    pub wait: Duration,
    /// First everything that this member was handed before and has not settled: after a start, and after a poll whose
    /// answer was lost. Beyond `limit`, if there is more; without waiting.
    pub own: bool,
    /// Also look for members that died and for retries that are due. Costs the store a little, so a busy
    /// member asks for it now and then, and one that waits, always.
    pub tend: bool,
    /// The least urgent lane first, so that none starves behind busier ones.
    pub reverse: bool,
    /// A member that has shown no sign of life for so long has died.
    pub reclaim_after: Span,
    /// The caller's time.
    pub now: Nanos,
}

/// What a member got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// The messages.
    pub deliveries: Vec<Delivery>,
    /// In how long the next waiting retry is due, as far as this poll has looked.
    pub next_due: Option<Span>,
    /// Groups that were gone and have been created again where they had been, with what was lost.
    pub regrouped: Vec<Regrouped>,
}

/// A group that somebody had removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regrouped {
    /// The stream.
    pub stream: StreamName,
    /// The id it was set to: everything behind it is delivered, perhaps again.
    pub at: Pos,
}

/// A message in a member's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it stands.
    pub id: MessageId,
    /// The message; `None` when it is gone from its stream although nobody had handled it.
    pub message: Option<Message>,
    /// Why it comes now.
    pub why: Why,
    /// What is on record about earlier tries.
    pub tries: Tries,
    /// How often it was handed to a member, this time included.
    pub deliveries: u64,
    /// A message with the same key is known to be done: it only needs to be settled.
    pub done: bool,
}

/// Why a message comes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// This member had it before and did not settle it.
    Own,
    /// The member that had it died.
    Reclaimed,
    /// Its retry is due, or somebody released it.
    Due,
    /// It is new.
    New,
}

/// What is on record about a message that was not handled at the first go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// How often a handler has failed on it.
    pub attempts: u32,
    /// How often a handler was started on it alone, since it came back from a member that died.
    pub starts: u32,
    /// How often it was taken from a member that had died.
    pub reclaims: u32,
    /// When a handler failed on it first; zero when none has.
    pub first_failed: Nanos,
    /// When a handler failed on it last; zero when none has.
    pub last_failed: Nanos,
}

/// How the handling of a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The message.
    pub id: MessageId,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done: never delivered again, its key remembered, and these messages published with it. Where a
    /// message of the same key was done before, nothing is published.
    Done {
        /// The key by which another message is recognised as this one; none for a message that is known by its place
        /// alone and never comes again.
        key: Option<Arc<str>>,
        /// What the handler emitted.
        emit: Vec<Publication>,
    },
    /// It is delivered again after a pause, to any member.
    Retry {
        /// What is on record from now on.
        tries: Tries,
        /// The pause.
        after: Span,
    },
    /// Nobody will handle it.
    Dead(Box<DeadLetter>),
    /// The member did not get to it: it is due for others at once.
    Release,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It took effect.
    Applied,
    /// A message with this key was done before: acknowledged, and nothing published.
    Duplicate,
    /// Nothing: the member no longer holds it, because it was settled, reclaimed or removed.
    Lost,
}

/// Length and counts of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamStats {
    /// Messages kept.
    pub length: u64,
    /// Messages ever added.
    pub added: u64,
    /// The newest id ever given.
    pub last: Pos,
    /// The oldest id kept.
    pub first: Option<Pos>,
    /// Unhandled messages that were cut off because the stream was full.
    pub cut: u64,
    /// Dead letters.
    pub dead: u64,
    /// Its groups.
    pub groups: Vec<GroupStats>,
}

/// Counts of a group on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupStats {
    /// Its name.
    pub group: GroupName,
    /// Messages not delivered yet.
    pub waiting: u64,
    /// Messages that members hold.
    pub held: u64,
    /// Messages waiting for a retry.
    pub retrying: u64,
    /// Messages waiting behind another with the same ordering key.
    pub parked: u64,
    /// Messages done.
    pub done: u64,
    /// Messages that came again after they were done.
    pub duplicates: u64,
    /// Messages given up.
    pub dead: u64,
    /// How long the oldest message that is not done or dead has waited, by its id.
    pub oldest: Option<Span>,
    /// Members that hold something or have asked lately.
    pub members: u64,
}

impl GroupStats {
    /// All messages that the group knows of, wherever they are.
    #[must_use]
    pub const fn accounted(&self) -> u64 {
        self.waiting
            + self.held
            + self.retrying
            + self.parked
            + self.done
            + self.duplicates
            + self.dead
    }
}
