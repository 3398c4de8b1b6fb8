//! Named streams with consumer groups: what a store must promise so that workers can promise the rest.
//!
//! # The law
//! - **L7** Every message of a group is settled or delivered again; a settled one never is.
//!
//! In detail, for one group of one stream, whatever fails or dies in between:
//! - A message is in exactly one of six places: not delivered yet, held by a member, waiting for a retry, blocked
//!   behind another with the same ordering key, done, dead. [`GroupStats`] counts them, and the counts add up to the
//!   messages added since the group began.
//! - A settlement takes effect as a whole or not at all: acknowledging, remembering the key, publishing what the
//!   handler emitted, scheduling the retry, writing the dead letter.
//! - What a member held when it died goes to another member once the dead one has shown no sign of life for
//!   [`Fetch::reclaim_after`]; what a member releases goes to another at once.
//! - A waiting retry blocks no other message and survives every restart.

mod error;
mod fetch;
mod settle;
mod stats;

use std::{fmt, future::Future};

use serde::{Deserialize, Serialize};

use super::{
    Amendment, ConsumerName, DeadLetter, GroupName, Message, Publication, StreamName, Topology,
};
use silvertine_engine::{pos::Pos, time::Nanos};

pub use silvertine_engine::log::Applied;

pub use self::{
    error::{StoreError, StoreErrorKind},
    fetch::{Delivery, Fetch, FetchScope, Fetched, LaneOrder, Regrouped, Tries, Why},
    settle::{Disposition, Settled, Settlement},
    stats::{GroupStats, StreamStats},
};

/// A store of named streams.
///
/// A handle is cheap to clone and may be shared. Futures of embedded stores are ready at once unless they are
/// asked to wait. `now` is the caller's time; a server that has a clock of its own uses that, because its
/// clients' clocks differ.
///
/// ```
/// use silvertine_engine::{executor::block_on, span::Span, time::Nanos};
/// use silvertine_storage::streams::MemoryStreams;
/// use silvertine_streams::{
///     Disposition, Fetch, FetchScope, GroupSpec, LaneOrder, Member, Message, Publication, Settlement, StreamSpec,
///     Streams, Topology,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # block_on(async {
/// let commands: silvertine_streams::StreamName = "mgmt:trading:commands".parse()?;
/// let spec = StreamSpec::new(commands.clone()).with_group(GroupSpec::new("traders".parse()?));
/// let streams = MemoryStreams::in_memory(Topology::new(vec![spec]));
/// let now = Nanos(1_700_000_000_000_000_000);
/// streams.declare(now).await?;
/// let message = Message::json("start")?.with_key("command-1");
/// streams.publish(&[Publication::new(commands.clone(), message)], now).await?;
///
/// // A member of the group is handed the message, and settles it.
/// let member = Member { stream: commands, group: "traders".parse()?, consumer: "a".parse()? };
/// let fetch = Fetch {
///     member: &member,
///     limit: 10,
///     wait: std::time::Duration::ZERO,
///     scope: FetchScope::WithReturned,
///     lanes: LaneOrder::UrgentFirst,
///     reclaim_after: Span::from_secs(30),
///     now,
/// };
/// let delivery = streams.fetch(&fetch).await?.deliveries.remove(0);
/// let disposition = Disposition::Done { key: Some("command-1".into()), emit: Vec::new() };
/// streams.settle(&member, &[Settlement { id: delivery.id, disposition }], now).await?;
///
/// // What is settled never comes again.
/// assert!(streams.fetch(&fetch).await?.deliveries.is_empty());
/// # Ok(())
/// # })
/// # }
/// ```
pub trait Streams: Clone + Send + Sync + 'static {
    /// The streams that this handle knows how to keep.
    fn topology(&self) -> &Topology;

    /// Creates the streams and groups of the topology that are missing. Doing it again changes nothing.
    ///
    /// # Errors
    /// Something else lies under a name, or the store cannot be reached; repeating is safe.
    fn declare(&self, now: Nanos) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Appends messages, all or none, and trims the streams as the topology says. Returns their ids.
    ///
    /// # Errors
    /// [`StoreErrorKind::RefusesWrites`] when a stream is full and set to refuse.
    /// After [`Applied::Maybe`] publishing again may put a message on the stream twice;
    /// with a [key](super::message::KEY), its group still handles it once.
    fn publish(
        &self,
        publications: &[Publication],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<Pos>, StoreError>> + Send;

    /// Appends messages under ids of the caller's. What stands at or below a stream's newest id is there
    /// already and is passed over, so repeating is safe. Returns how many were new.
    ///
    /// # Errors
    /// The store cannot be reached; some messages may be in.
    fn relay(
        &self,
        messages: &[(Pos, Publication)],
        now: Nanos,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Hands messages to a member: what it held before, then what members that died held, then retries that are
    /// due, then new ones, urgent lanes first; as far as [`Fetch::scope`] asks for them.
    ///
    /// # Errors
    /// After [`Applied::Maybe`] messages may have been handed over that nobody saw:
    /// fetch again with [`FetchScope::WithOwn`].
    fn fetch(&self, fetch: &Fetch<'_>) -> impl Future<Output = Result<Fetched, StoreError>> + Send;

    /// Completes when something may have arrived since this was called. A store whose fetches wait by themselves
    /// never completes it; with one whose fetches answer at once, it is what to wait for.
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
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// Ends the handling of messages, in one atomic step. Returns what became of each.
    ///
    /// # Errors
    /// After [`Applied::Maybe`] settle again: what was settled is [`Settled::Lost`] or
    /// [`Settled::Duplicate`], and nothing is done twice.
    fn settle(
        &self,
        member: &Member,
        settlements: &[Settlement],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<Settled>, StoreError>> + Send;

    /// Shows that the member is alive and still works on these. Returns those it no longer holds.
    ///
    /// # Errors
    /// The store cannot be reached; repeating is safe.
    fn extend(
        &self,
        member: &Member,
        held: &[MessageId],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<MessageId>, StoreError>> + Send;

    /// Leaves the group: whatever the member still holds is due for others at once.
    ///
    /// # Errors
    /// The store cannot be reached; repeating is safe.
    fn leave(
        &self,
        member: &Member,
        now: Nanos,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Messages of a stream after `after`, oldest first, at most `limit`. Changes nothing.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn read(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Pos, Message)>, StoreError>> + Send;

    /// Lengths and counts of a stream and its groups; `None` where there is no such stream.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn stream_stats(
        &self,
        stream: &StreamName,
        now: Nanos,
    ) -> impl Future<Output = Result<Option<StreamStats>, StoreError>> + Send;

    /// Dead letters of a stream after `after`, oldest first, at most `limit`, each with its own id.
    ///
    /// # Errors
    /// The store cannot be reached, or one does not decode.
    fn dead_letters(
        &self,
        stream: &StreamName,
        after: Pos,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Pos, DeadLetter)>, StoreError>> + Send;

    /// Puts dead letters on a stream's dead-letter queue, such as those of an import.
    ///
    /// # Errors
    /// After [`Applied::Maybe`] they may be there; repeating would double them.
    fn bury(
        &self,
        stream: &StreamName,
        letters: &[DeadLetter],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<Pos>, StoreError>> + Send;

    /// Changes dead letters and publishes `audit`, in one atomic step. Returns whether each was still as
    /// expected and so was changed; when none was, `audit` is not published.
    ///
    /// # Errors
    /// After [`Applied::Maybe`] look before doing it again: what was changed is no longer
    /// as expected.
    fn amend(
        &self,
        stream: &StreamName,
        amendments: &[Amendment],
        audit: &[Publication],
        now: Nanos,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// A small record of this name, such as who redrives the dead letters.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn record(
        &self,
        stream: &StreamName,
        name: &str,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Replaces a small record where it is still `expected`. Returns whether it was.
    ///
    /// # Errors
    /// After [`Applied::Maybe`] read it before doing it again.
    fn swap_record(
        &self,
        stream: &StreamName,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

/// A message's place: the stream it stands on and its id there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The stream, which may be an urgent lane or a group's redriven dead letters.
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
